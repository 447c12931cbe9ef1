/**
 * Matrix instructions: warp level (PTX ISA 9.7.14), warpgroup level (9.7.15), fifth-generation tensor cores (9.7.16).
 * Only `wmma.store` writes global memory. Addresses of `tcgen05` are of tensor memory, except where a row says otherwise.
 */

import type { InstructionForm } from './instruction-form.js';
import { form, forms, ROUNDING, range, SHARED, shapes } from './instruction-table-notation.js';

const LAYOUTS = '.row .col';
const WMMA_SHAPES = '.m16n16k16 .m8n32k16 .m32n8k16 .m16n16k8 .m8n8k4 .m8n8k32 .m8n8k128';
const WMMA_TYPES = '.f16 .bf16 .tf32 .f32 .f64 .s8 .u8 .s4 .u4 .b1 .s32';
const WMMA_MOVE = `.sync .aligned ${LAYOUTS} ${WMMA_SHAPES} .global ${SHARED} ${WMMA_TYPES}`;

const NARROW = '.e4m3 .e5m2 .e3m2 .e2m3 .e2m1';
const MMA_SHAPES = `.m8n8k4 .m8n8k16 .m8n8k32 .m8n8k128 ${shapes(16, [8], [4, 8, 16, 32, 64, 128, 256])}`;
const MMA =
  `.sync .aligned ${MMA_SHAPES} ${LAYOUTS} .satfinite ${ROUNDING} ` +
  `.f16 .bf16 .tf32 .f32 .f64 .s32 .u8 .s8 .u4 .s4 .b1 ${NARROW} .xor .and .popc .kind::f8f6f4`;
const MMA_SCALED =
  `.sync .aligned ${MMA_SHAPES} ${LAYOUTS} .f32 ${NARROW} .ue8m0 .ue4m3 ` +
  '.kind::mxf4 .kind::mxf4nvf4 .kind::mxf8f6f4 .scale_vec::1X .scale_vec::2X .scale_vec::4X';

const WGMMA =
  `.sync .aligned ${shapes(64, range(8, 256, 8), [8, 16, 32, 64])} ${shapes(64, [8, 24, ...range(16, 256, 16)], [256])} ` +
  '.f16 .bf16 .tf32 .f32 .e4m3 .e5m2 .s8 .u8 .b1 .s32 .satfinite .and .popc';

const CTA_GROUP = '.cta_group::1 .cta_group::2';
const TMEM_SHAPES = '.16x64b .16x128b .16x256b .32x32b .16x32bx2';
const TMEM_COUNTS = '.x1 .x2 .x4 .x8 .x16 .x32 .x64 .x128';
const TMEM_KINDS = '.kind::f16 .kind::tf32 .kind::f8f6f4 .kind::i8';
const TMEM_SCALED_KINDS = '.kind::mxf8f6f4 .kind::mxf4 .kind::mxf4nvf4';
const SCALE_VECTORS = '.scale_vec::1X .scale_vec::2X .scale_vec::4X .block16 .block32';
const COLLECTOR_A = collector(['a']);
const COLLECTOR_B = collector(['b0', 'b1', 'b2', 'b3']);

function collector(buffers: readonly string[]): string {
  const operations = ['fill', 'use', 'lastuse', 'discard'];
  return buffers.flatMap((buffer) => operations.map((operation) => `.collector::${buffer}::${operation}`)).join(' ');
}

export const MATRIX_FORMS: readonly InstructionForm[] = [
  ...forms('wmma.load.a wmma.load.b wmma.load.c', 'd a s?', WMMA_MOVE, '9.7.14.4.3'),
  form('wmma.store.d', 'a s s?', WMMA_MOVE, '9.7.14.4.4'),
  form(
    'wmma.mma',
    'd s s s',
    `.sync .aligned ${LAYOUTS} ${WMMA_SHAPES} ${WMMA_TYPES} .satfinite ${ROUNDING} .xor .and .popc`,
    '9.7.14.4.5',
  ),
  form('mma', 'd s s s', MMA, '9.7.14.5.14'),
  // Each scale factor comes with a pair that selects byte and thread.
  form('mma.block_scale', 'd s s s s s s s', MMA_SCALED, '9.7.14.5.14'),
  form(
    'ldmatrix',
    'd a',
    `.sync .aligned .m8n8 .m8n16 .m16n16 .x1 .x2 .x4 .trans .shared .shared::cta .b16 .b8 .b8x16 .b6x16_p32 .b4x16_p64`,
    '9.7.14.5.15',
  ),
  form(
    'stmatrix',
    'a s',
    '.sync .aligned .m8n8 .m16n8 .x1 .x2 .x4 .trans .shared .shared::cta .b16 .b8',
    '9.7.14.5.16',
  ),
  form('movmatrix', 'd s', '.sync .aligned .m8n8 .trans .b16', '9.7.14.5.17'),
  ...forms('mma.sp mma.sp::ordered_metadata', 'd s s s s s', MMA, '9.7.14.6.3'),
  form('mma.sp::ordered_metadata.block_scale', 'd s s s s s s s s s', MMA_SCALED, '9.7.14.6.3'),

  // Accumulator, A (registers or descriptor), B descriptor, whether to accumulate, then scales and transpositions.
  form('wgmma.mma_async', 'x s s s s? s? s? s?', WGMMA, '9.7.15.5.2'),
  form('wgmma.mma_async.sp', 'x s s s s s s? s? s? s?', WGMMA, '9.7.15.6.4'),
  form('wgmma.fence', '', '.sync .aligned', '9.7.15.7.1'),
  form('wgmma.commit_group', '', '.sync .aligned', '9.7.15.7.2'),
  form('wgmma.wait_group', 's', '.sync .aligned', '9.7.15.7.3'),

  // `alloc` writes the address of what it allocated to shared memory.
  form('tcgen05.alloc', 'a s', `${CTA_GROUP} .sync .aligned .shared::cta .b32`, '9.7.16.7.1'),
  form('tcgen05.dealloc', 's s', `${CTA_GROUP} .sync .aligned .b32`, '9.7.16.7.1'),
  form('tcgen05.relinquish_alloc_permit', '', `${CTA_GROUP} .sync .aligned`, '9.7.16.7.1'),
  form('tcgen05.ld', 'd a s?', `.sync .aligned ${TMEM_SHAPES} ${TMEM_COUNTS} .pack::16b .b32`, '9.7.16.8.1'),
  form(
    'tcgen05.ld.red',
    'd d a s?',
    `.sync .aligned ${TMEM_SHAPES} ${TMEM_COUNTS} .min .max .abs .NaN .f32 .u32 .s32`,
    '9.7.16.8.1',
  ),
  form('tcgen05.st', 'a s? s', `.sync .aligned ${TMEM_SHAPES} ${TMEM_COUNTS} .unpack::16b .b32`, '9.7.16.8.2'),
  ...forms('tcgen05.wait::ld tcgen05.wait::st', '', '.sync .aligned', '9.7.16.8.3'),
  form(
    'tcgen05.cp',
    'a s',
    `${CTA_GROUP} .128x256b .4x256b .128x128b .64x128b .32x128b .warpx2::02_13 .warpx2::01_23 .warpx4
    .b8x16 .b6x16_p32 .b4x16_p64`,
    '9.7.16.9.1',
  ),
  form('tcgen05.shift', 'a', `${CTA_GROUP} .down`, '9.7.16.9.2'),
  // D, A (descriptor or tensor memory), B descriptor, [sparsity metadata,] instruction descriptor, then either the lanes
  // to leave out, or the two scale matrices in brackets; whether to accumulate; the scale of D.
  form('tcgen05.mma', 'a m s s s? s s?', `${CTA_GROUP} ${TMEM_KINDS} .ashift ${COLLECTOR_A}`, '9.7.16.10.9.1'),
  form(
    'tcgen05.mma.block_scale',
    'a m s s a a s',
    `${CTA_GROUP} ${TMEM_SCALED_KINDS} ${SCALE_VECTORS} ${COLLECTOR_A}`,
    '9.7.16.10.9.1',
  ),
  form('tcgen05.mma.sp', 'a m s a s s? s s?', `${CTA_GROUP} ${TMEM_KINDS} .ashift ${COLLECTOR_A}`, '9.7.16.10.9.2'),
  form(
    'tcgen05.mma.sp.block_scale',
    'a m s a s a a s',
    `${CTA_GROUP} ${TMEM_SCALED_KINDS} ${SCALE_VECTORS} ${COLLECTOR_A}`,
    '9.7.16.10.9.2',
  ),
  form('tcgen05.mma.ws', 'a m s s s s?', `.cta_group::1 ${TMEM_KINDS} ${COLLECTOR_B}`, '9.7.16.10.9.3'),
  form('tcgen05.mma.ws.sp', 'a m s a s s s?', `.cta_group::1 ${TMEM_KINDS} ${COLLECTOR_B}`, '9.7.16.10.9.4'),
  ...forms('tcgen05.fence::before_thread_sync tcgen05.fence::after_thread_sync', '', '', '9.7.16.11.1'),
  // Arrives at a barrier in shared memory.
  form(
    'tcgen05.commit',
    'a s?',
    `${CTA_GROUP} .mbarrier::arrive::one .shared::cluster .multicast::cluster .b64`,
    '9.7.16.12.1',
  ),
];
