/**
 * Texture and surface instructions (PTX ISA 9.7.10, 9.7.11). The bracketed operand names texture, sampler and coordinates
 * together. `sust` and `sured` write memory that no pointer in the kernel shows: the surface is opaque.
 */

import type { InstructionForm } from './instruction-form.js';
import { form } from './instruction-table-notation.js';

const CLAMP = '.trap .clamp .zero';
const BYTES = '.b8 .b16 .b32 .b64';

export const TEXTURE_FORMS: readonly InstructionForm[] = [
  // After the coordinates: level of detail or gradients, offsets, comparison value.
  form(
    'tex',
    'd a s? s? s? s?',
    '.base .level .grad .1d .2d .3d .a1d .a2d .cube .acube .2dms .a2dms .v2 .v4 .u32 .s32 .f16 .f16x2 .f32',
    '9.7.10.3',
  ),
  form('tld4', 'd a s? s?', '.r .g .b .a .2d .a2d .cube .acube .v4 .u32 .s32 .f32', '9.7.10.4'),
  form(
    'txq',
    'd a s?',
    `.level .width .height .depth .channel_data_type .channel_order .normalized_coords .array_size .num_mipmap_levels
    .num_samples .force_unnormalized_coords .filter_mode .addr_mode_0 .addr_mode_1 .addr_mode_2 .b32`,
    '9.7.10.5',
  ),
  form('istypep', 'd s', '.texref .samplerref .surfref', '9.7.10.6'),

  form('suld.b', 'd a', `.1d .2d .3d .a1d .a2d .ca .cg .cs .cv .v2 .v4 ${BYTES} ${CLAMP}`, '9.7.11.1'),
  form('sust.b', 'a s', `.1d .2d .3d .a1d .a2d .wb .cg .cs .wt .v2 .v4 ${BYTES} ${CLAMP}`, '9.7.11.2'),
  form('sust.p', 'a s', `.1d .2d .3d .v2 .v4 .b32 ${CLAMP}`, '9.7.11.2'),
  form('sured.b', 'a s', `.add .min .max .and .or .1d .2d .3d .u32 .u64 .s32 .b32 .s64 ${CLAMP}`, '9.7.11.3'),
  form('sured.p', 'a s', `.add .min .max .and .or .1d .2d .3d .b32 .b64 ${CLAMP}`, '9.7.11.3'),
  form(
    'suq',
    'd a',
    '.width .height .depth .channel_data_type .channel_order .array_size .memory_layout .b32',
    '9.7.11.4',
  ),
];
