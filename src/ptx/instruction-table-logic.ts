/**
 * Comparison, selection, logic, shifts (PTX ISA 9.7.6 to 9.7.8) and the video instructions (9.7.18), which are their
 * packed relatives. None touches memory. The byte and half-word selectors of video operands (`%r1.b0`, `%r2.h10`) belong
 * to the operand, not to the mnemonic.
 */

import type { InstructionForm } from './instruction-form.js';
import { BITS, BOOLEAN, COMPARISONS, form, forms, HALVES, INTEGERS, SCALARS } from './instruction-table-notation.js';

const VIDEO_TYPES = '.u32 .s32';
const VIDEO_COMPARISONS = '.eq .ne .lt .le .gt .ge';
/** Secondary operation of a scalar video instruction. */
const SECONDARY = '.add .min .max';

export const LOGIC_FORMS: readonly InstructionForm[] = [
  form('set', 'd s s s?', `${COMPARISONS} ${BOOLEAN} .ftz ${SCALARS} ${HALVES}`, '9.7.6.1 9.7.7.1'),
  form('setp', 'd s s s?', `${COMPARISONS} ${BOOLEAN} .ftz ${SCALARS} ${HALVES}`, '9.7.6.2 9.7.7.2'),
  form('selp', 'd s s s', SCALARS, '9.7.6.3'),
  form('slct', 'd s s s', `.ftz ${SCALARS}`, '9.7.6.4'),

  ...forms('and or xor', 'd s s', `.pred ${BITS}`, '9.7.8.1 9.7.8.2 9.7.8.3'),
  form('not', 'd s', `.pred ${BITS}`, '9.7.8.4'),
  form('cnot', 'd s', BITS, '9.7.8.5'),
  form('lop3', 'd s s s s s?', '.and .or .b32', '9.7.8.6'),
  form('shf', 'd s s s', '.l .r .clamp .wrap .b32', '9.7.8.7'),
  form('shl', 'd s s', BITS, '9.7.8.8'),
  form('shr', 'd s s', `${BITS} ${INTEGERS}`, '9.7.8.9'),

  ...forms('vadd vsub vabsdiff vmin vmax', 'd s s s?', `${VIDEO_TYPES} .sat ${SECONDARY}`, '9.7.18.1'),
  ...forms('vshl vshr', 'd s s s?', `${VIDEO_TYPES} .sat .clamp .wrap ${SECONDARY}`, '9.7.18.1'),
  form('vmad', 'd s s s', `${VIDEO_TYPES} .sat .po .shr7 .shr15`, '9.7.18.1'),
  form('vset', 'd s s s?', `${VIDEO_TYPES} ${VIDEO_COMPARISONS} ${SECONDARY}`, '9.7.18.1'),
  ...forms('vadd2 vsub2 vavrg2 vabsdiff2 vmin2 vmax2', 'd s s s', `${VIDEO_TYPES} .sat .add`, '9.7.18.2'),
  form('vset2', 'd s s s', `${VIDEO_TYPES} ${VIDEO_COMPARISONS} .add`, '9.7.18.2'),
  ...forms('vadd4 vsub4 vavrg4 vabsdiff4 vmin4 vmax4', 'd s s s', `${VIDEO_TYPES} .sat .add`, '9.7.18.2'),
  form('vset4', 'd s s s', `${VIDEO_TYPES} ${VIDEO_COMPARISONS} .add`, '9.7.18.2'),
];
