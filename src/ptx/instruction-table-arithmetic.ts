/**
 * Arithmetic: integer, extended precision, floating point, half and mixed precision (PTX ISA 9.7.1 to 9.7.5). One row an
 * opcode, whatever its types: none of these touches memory, so the types tell nothing about what is written.
 * `.u8x4`, `.s8x4` and their saturation are of ISA 9.2.
 */

import type { InstructionForm } from './instruction-form.js';
import { FLOATS, form, forms, HALVES, INTEGERS, ROUNDING, SIGNED } from './instruction-table-notation.js';

const PACKED_INTEGERS = '.u16x2 .s16x2 .u8x4 .s8x4';
const ALL_FLOATS = `${FLOATS} .f32x2 ${HALVES}`;
const WORDS = '.u32 .s32 .u64 .s64';
const MINIMUM = `${INTEGERS} ${PACKED_INTEGERS} ${FLOATS} ${HALVES} .relu .ftz .NaN .xorsign .abs`;
const FUNCTION = `.approx ${ROUNDING} .ftz ${FLOATS}`;

export const ARITHMETIC_FORMS: readonly InstructionForm[] = [
  form(
    'add',
    'd s s',
    `${ROUNDING} .ftz .sat ${INTEGERS} ${PACKED_INTEGERS} ${ALL_FLOATS}`,
    '9.7.1.1 9.7.3.3 9.7.4.1 9.7.5.1',
  ),
  form(
    'sub',
    'd s s',
    `${ROUNDING} .ftz .sat ${INTEGERS} ${PACKED_INTEGERS} ${ALL_FLOATS}`,
    '9.7.1.2 9.7.3.4 9.7.4.2 9.7.5.2',
  ),
  form('mul', 'd s s', `.hi .lo .wide ${ROUNDING} .ftz .sat ${INTEGERS} ${ALL_FLOATS}`, '9.7.1.3 9.7.3.5 9.7.4.3'),
  form('mad', 'd s s s', `.hi .lo .wide ${ROUNDING} .ftz .sat ${INTEGERS} ${FLOATS}`, '9.7.1.4 9.7.3.7'),
  form('mul24', 'd s s', '.hi .lo .u32 .s32', '9.7.1.5'),
  form('mad24', 'd s s s', '.hi .lo .sat .u32 .s32', '9.7.1.6'),
  form('sad', 'd s s s', INTEGERS, '9.7.1.7'),
  form('div', 'd s s', `.approx .full ${ROUNDING} .ftz ${INTEGERS} ${FLOATS}`, '9.7.1.8 9.7.3.8'),
  form('rem', 'd s s', INTEGERS, '9.7.1.9'),
  form('abs', 'd s', `.ftz ${SIGNED} ${FLOATS} ${HALVES}`, '9.7.1.10 9.7.3.9 9.7.4.6'),
  form('neg', 'd s', `.ftz ${SIGNED} .s8x4 .u8x4 ${FLOATS} ${HALVES}`, '9.7.1.11 9.7.3.10 9.7.4.5'),
  form('min', 'd s s s?', MINIMUM, '9.7.1.12 9.7.3.11 9.7.4.7'),
  form('max', 'd s s s?', MINIMUM, '9.7.1.13 9.7.3.12 9.7.4.8'),
  form('popc', 'd s', '.b32 .b64', '9.7.1.14'),
  form('clz', 'd s', '.b32 .b64', '9.7.1.15'),
  form('bfind', 'd s', `.shiftamt ${WORDS}`, '9.7.1.16'),
  form('fns', 'd s s s', '.b32', '9.7.1.17'),
  form('brev', 'd s', '.b32 .b64', '9.7.1.18'),
  form('bfe', 'd s s s', WORDS, '9.7.1.19'),
  form('bfi', 'd s s s s', '.b32 .b64', '9.7.1.20'),
  form('szext', 'd s s', '.clamp .wrap .u32 .s32', '9.7.1.21'),
  form('bmsk', 'd s s', '.clamp .wrap .b32', '9.7.1.22'),
  form('dp4a', 'd s s s', '.u32 .s32', '9.7.1.23'),
  form('dp2a', 'd s s s', '.lo .hi .u32 .s32', '9.7.1.24'),

  // The carry flag is a register of its own that only this chapter reads and writes.
  form('add.cc', 'd s s', WORDS, '9.7.2.1'),
  form('addc', 'd s s', `.cc ${WORDS}`, '9.7.2.2'),
  form('sub.cc', 'd s s', WORDS, '9.7.2.3'),
  form('subc', 'd s s', `.cc ${WORDS}`, '9.7.2.4'),
  form('mad.cc', 'd s s s', `.hi .lo ${WORDS}`, '9.7.2.5'),
  form('madc', 'd s s s', `.hi .lo .cc ${WORDS}`, '9.7.2.6'),

  form('testp', 'd s', `.finite .infinite .number .notanumber .normal .subnormal ${FLOATS}`, '9.7.3.1'),
  form('copysign', 'd s s', FLOATS, '9.7.3.2'),
  form('fma', 'd s s s', `${ROUNDING} .ftz .sat .relu .oob ${ALL_FLOATS}`, '9.7.3.6 9.7.4.4 9.7.5.3'),
  form('rcp', 'd s', FUNCTION, '9.7.3.13 9.7.3.14'),
  form('sqrt', 'd s', FUNCTION, '9.7.3.15'),
  form('rsqrt', 'd s', `.approx .ftz ${FLOATS}`, '9.7.3.16 9.7.3.17'),
  ...forms('sin cos', 'd s', '.approx .ftz .f32', '9.7.3.18 9.7.3.19'),
  form('lg2', 'd s', '.approx .ftz .f32', '9.7.3.20'),
  form('ex2', 'd s', `.approx .ftz .f32 ${HALVES}`, '9.7.3.21 9.7.4.10'),
  form('tanh', 'd s', `.approx .f32 ${HALVES}`, '9.7.3.22 9.7.4.9'),
];
