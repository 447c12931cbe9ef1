/**
 * Every instruction of PTX ISA 1.0 to 9.1, and what is known for certain of 9.2, as data. The rows are in the chapter
 * files, in the order of the manual. Instructions of later versions are absent on purpose: they stay unknown until
 * somebody has read what they write. `resolve-instruction.ts` is the reader.
 */

import type { InstructionForm } from './instruction-form.js';
import { ARITHMETIC_FORMS } from './instruction-table-arithmetic.js';
import { CONTROL_FORMS } from './instruction-table-control.js';
import { LOGIC_FORMS } from './instruction-table-logic.js';
import { MATRIX_FORMS } from './instruction-table-matrix.js';
import { MEMORY_FORMS } from './instruction-table-memory.js';
import { TEXTURE_FORMS } from './instruction-table-texture.js';

export const INSTRUCTION_TABLE: readonly InstructionForm[] = Object.freeze([
  ...ARITHMETIC_FORMS,
  ...LOGIC_FORMS,
  ...MEMORY_FORMS,
  ...TEXTURE_FORMS,
  ...CONTROL_FORMS,
  ...MATRIX_FORMS,
]);
