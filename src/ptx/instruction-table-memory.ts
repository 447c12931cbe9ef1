/**
 * Data movement and conversion (PTX ISA 9.7.9), atomics and reductions in memory (9.7.13.5 to 9.7.13.7). Which of the
 * bracketed operands is written is the form's meaning, given by the lowering: for the bulk copies it also depends on the
 * completion mechanism (`.bulk_group` writes global memory, `.mbarrier::complete_tx::bytes` shared memory).
 */

import type { InstructionForm } from './instruction-form.js';
import {
  CACHE_HINT,
  COMPLETE_TX,
  EVICTION_PRIORITIES,
  FLOATS,
  form,
  HALVES,
  INTEGERS,
  LOAD_CACHE_OPERATORS,
  MOVABLE,
  PARAM,
  PREFETCH_SIZES,
  REDUCTIONS,
  ROUNDING,
  SCALARS,
  SCOPES,
  SHARED,
  STORE_CACHE_OPERATORS,
  VECTORS,
} from './instruction-table-notation.js';

const NARROW_FLOATS =
  '.e4m3x2 .e5m2x2 .e2m1x2 .e2m3x2 .e3m2x2 .s2f6x2 .ue8m0x2 .e4m3x4 .e5m2x4 .e2m1x4 .e2m3x4 .e3m2x4';
const TENSOR_DIMENSIONS = '.1d .2d .3d .4d .5d';
const TENSOR_LOADS = '.tile .tile::gather4 .im2col .im2col::w .im2col::w::128';
const TENSOR_STORES = '.tile .tile::scatter4 .im2col_no_offs';
const BULK_REDUCED = '.noftz .f16 .bf16 .b32 .u32 .s32 .b64 .u64 .s64 .f32 .f64';
const ATOMIC_TYPES = `.noftz .b16 .b32 .b64 .b128 .u32 .u64 .s32 .s64 ${FLOATS} ${HALVES} ${VECTORS}`;
const MULTIMEM_TYPES =
  `.b32 .b64 .u32 .u64 .s32 .s64 ${FLOATS} ${HALVES} ${VECTORS} ` +
  '.e5m2 .e5m2x2 .e5m2x4 .e4m3 .e4m3x2 .e4m3x4 .acc::f32 .acc::f16';

export const MEMORY_FORMS: readonly InstructionForm[] = [
  form('mov', 'd s', `.pred ${SCALARS} .b128`, '9.7.9.3 9.7.9.4'),
  form('shfl', 'd s s s', '.up .down .bfly .idx .b32', '9.7.9.5'),
  form('shfl.sync', 'd s s s s', '.up .down .bfly .idx .b32', '9.7.9.6'),
  form('prmt', 'd s s s', '.b32 .f4e .b4e .rc8 .ecl .ecr .rc16', '9.7.9.7'),

  form(
    'ld',
    'd a s?',
    `.weak .volatile .relaxed .acquire .mmio ${SCOPES} .const .global .local ${PARAM} ${SHARED} ${LOAD_CACHE_OPERATORS}
    ${EVICTION_PRIORITIES} ${CACHE_HINT} ${PREFETCH_SIZES} ${VECTORS} ${MOVABLE}`,
    '9.7.9.8',
  ),
  form(
    'ld.global.nc',
    'd a s?',
    `.ca .cg .cs ${EVICTION_PRIORITIES} ${CACHE_HINT} ${PREFETCH_SIZES} ${VECTORS} ${MOVABLE}`,
    '9.7.9.9',
  ),
  form('ldu', 'd a', `.global .v2 .v4 ${MOVABLE}`, '9.7.9.10'),
  form(
    'st',
    'a s s?',
    `.weak .volatile .relaxed .release .mmio ${SCOPES} .global .local .param .param::func ${SHARED}
    ${STORE_CACHE_OPERATORS} ${EVICTION_PRIORITIES} ${CACHE_HINT} ${VECTORS} ${MOVABLE}`,
    '9.7.9.11',
  ),
  // With `.mbarrier::complete_tx::bytes` into shared memory of the cluster; with `.release` into global memory.
  form(
    'st.async',
    'a s a?',
    `.weak .mmio .release ${SCOPES} .shared::cluster .global ${COMPLETE_TX} .v2 .v4 ${MOVABLE}`,
    '9.7.9.12',
  ),
  form('st.bulk', 'a s s', '.weak .shared::cta', '9.7.9.13'),
  form(
    'multimem.ld_reduce',
    'd a',
    `.weak .relaxed .acquire ${SCOPES} .global ${REDUCTIONS} ${MULTIMEM_TYPES}`,
    '9.7.9.14',
  ),
  form('multimem.st', 'a s', `.weak .relaxed .release ${SCOPES} .global ${MULTIMEM_TYPES}`, '9.7.9.14'),
  form('multimem.red', 'a s', `.relaxed .release ${SCOPES} .global ${REDUCTIONS} ${MULTIMEM_TYPES}`, '9.7.9.14'),

  form(
    'prefetch',
    'a',
    '.global .local .const .param .L1 .L2 .L2::evict_last .L2::evict_normal .tensormap',
    '9.7.9.15',
  ),
  form('prefetchu', 'a', '.L1', '9.7.9.15'),
  form('applypriority', 'a s', '.global .L2::evict_normal', '9.7.9.16'),
  form('discard', 'a s', '.global .L2', '9.7.9.17'),
  form('createpolicy.range', 'd a s s', `.global ${EVICTION_PRIORITIES} .L2::evict_unchanged .b64`, '9.7.9.18'),
  form('createpolicy.fractional', 'd s?', `${EVICTION_PRIORITIES} .L2::evict_unchanged .b64`, '9.7.9.18'),
  form('createpolicy.cvt', 'd s', '.L2 .b64', '9.7.9.18'),

  form('isspacep', 'd s', `.const .global .local ${SHARED} .param .param::entry`, '9.7.9.19'),
  form('cvta', 'd s', `.const .global .local ${SHARED} .param .param::entry .u32 .u64`, '9.7.9.20'),
  form('cvta.to', 'd s', `.const .global .local ${SHARED} .param .param::entry .u32 .u64`, '9.7.9.20'),
  form(
    'cvt',
    'd s s? s?',
    `.rni .rzi .rmi .rpi ${ROUNDING} .rna .rs .ftz .sat .relu .satfinite .scaled::n2::ue8m0
    .u8 .s8 ${INTEGERS} ${FLOATS} ${HALVES} .tf32 ${NARROW_FLOATS}`,
    '9.7.9.21',
  ),
  form('cvt.pack', 'd s s s?', '.sat .u16 .s16 .u2 .s2 .u4 .s4 .u8 .s8 .s32 .b32', '9.7.9.22'),
  form('mapa', 'd s s', '.shared::cluster .u32 .u64', '9.7.9.23'),
  form('getctarank', 'd s', '.shared::cluster .u32 .u64', '9.7.9.24'),

  form(
    'cp.async',
    'a a s s? s?',
    `.ca .cg .shared .shared::cta .global ${CACHE_HINT} ${PREFETCH_SIZES}`,
    '9.7.9.25.3.1',
  ),
  form('cp.async.commit_group', '', '', '9.7.9.25.3.2'),
  form('cp.async.wait_group', 's', '', '9.7.9.25.3.3'),
  form('cp.async.wait_all', '', '', '9.7.9.25.3.3'),
  // Operands: destination, source, size, then for loads the barrier, for masked stores the mask; `.ignore_oob` (ISA 9.2)
  // puts the bytes to leave out at either end between size and barrier.
  form(
    'cp.async.bulk',
    'a a s s? s? a? s? s?',
    `.shared::cta .shared::cluster .global ${COMPLETE_TX} .bulk_group .multicast::cluster ${CACHE_HINT} .cp_mask .ignore_oob`,
    '9.7.9.25.4.1',
  ),
  form(
    'cp.reduce.async.bulk',
    'a a s a? s?',
    `.shared::cta .shared::cluster .global ${COMPLETE_TX} .bulk_group ${CACHE_HINT} ${REDUCTIONS} ${BULK_REDUCED}`,
    '9.7.9.25.4.2',
  ),
  form('cp.async.bulk.prefetch', 'a s s?', `.L2 .global ${CACHE_HINT}`, '9.7.9.25.4.3'),
  // A load has destination, tensor and barrier; a store has tensor and source. Tensor and coordinates are one operand.
  form(
    'cp.async.bulk.tensor',
    'a a a? s? s? s?',
    `${TENSOR_DIMENSIONS} .shared::cta .shared::cluster .global ${TENSOR_LOADS} ${TENSOR_STORES} ${COMPLETE_TX}
    .bulk_group .multicast::cluster .cta_group::1 .cta_group::2 ${CACHE_HINT}`,
    '9.7.9.25.5.2',
  ),
  form(
    'cp.reduce.async.bulk.tensor',
    'a a s?',
    `${TENSOR_DIMENSIONS} .global .shared::cta .tile .im2col_no_offs .bulk_group ${CACHE_HINT} ${REDUCTIONS}`,
    '9.7.9.25.5.3',
  ),
  form(
    'cp.async.bulk.prefetch.tensor',
    'a s? s?',
    `${TENSOR_DIMENSIONS} .L2 .global ${TENSOR_LOADS} ${CACHE_HINT}`,
    '9.7.9.25.5.4',
  ),
  form('cp.async.bulk.commit_group', '', '', '9.7.9.25.6.2.1'),
  form('cp.async.bulk.wait_group', 's', '.read', '9.7.9.25.6.2.2'),
  form('multimem.cp.async.bulk', 'a a s s?', '.global .shared::cta .bulk_group .cp_mask', '9.7.9.26'),
  form(
    'multimem.cp.reduce.async.bulk',
    'a a s',
    `.global .shared::cta .bulk_group ${REDUCTIONS} ${BULK_REDUCED}`,
    '9.7.9.27',
  ),
  // Fields with an ordinal number (`.box_dim`) have it before the new value.
  form(
    'tensormap.replace',
    'a s s?',
    `.tile .global_address .rank .box_dim .global_dim .global_stride .element_stride .elemtype .interleave_layout
    .swizzle_mode .swizzle_atomicity .fill_mode .global .shared::cta .b1024 .b32 .b64`,
    '9.7.9.28',
  ),
  form(
    'tensormap.cp_fenceproxy',
    'a a s',
    `.global .shared::cta .tensormap::generic .release ${SCOPES} .sync .aligned`,
    '9.7.13.16',
  ),

  // One source, or two for `.cas`; then the cache policy.
  form(
    'atom',
    'd a s s? s?',
    `.relaxed .acquire .release .acq_rel ${SCOPES} .global ${SHARED} ${REDUCTIONS} .cas .exch ${CACHE_HINT} ${ATOMIC_TYPES}`,
    '9.7.13.5',
  ),
  form(
    'red',
    'a s s?',
    `.relaxed .release ${SCOPES} .global ${SHARED} ${REDUCTIONS} ${CACHE_HINT} ${ATOMIC_TYPES}`,
    '9.7.13.6',
  ),
  form(
    'red.async',
    'a s a?',
    `.relaxed .release .mmio ${SCOPES} .shared::cluster .global ${COMPLETE_TX} ${REDUCTIONS} .b32 .u32 .s32 .u64 .s64`,
    '9.7.13.7',
  ),
];
