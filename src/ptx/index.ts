/**
 * PTX text: parser, syntax tree, printer, and the table of instructions. Imports nothing but diagnostics; relied on by
 * `src/ir`, and usable on its own as the `./ptx` entry point of the package.
 */
export { SourceText } from '../diagnostics/index.js';
export type * from './ast.js';
export type { AssignedRole, InstructionForm, OperandRole } from './instruction-form.js';
export { INSTRUCTION_TABLE } from './instruction-table.js';
export { internMnemonic } from './mnemonic.js';
export { type Outline, type OutlineProblem, outline, type Piece, type PieceKind } from './outline.js';
export { type Parsed, type ParseOptions, parse, parseBody } from './parse.js';
export { print, printStatement } from './print.js';
export { assignOperandRoles, resolveInstruction } from './resolve-instruction.js';
