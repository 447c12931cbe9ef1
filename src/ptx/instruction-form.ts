/**
 * What the instruction table says about a mnemonic. The table (`instruction-table.ts`) is data in the manual's own terms;
 * this file is its type. An opcode, or a modifier of a known opcode, that the table does not list makes the mnemonic
 * unknown: a modifier we have never seen may change what an instruction writes.
 */

/**
 * Role of an operand position:
 * - `d` register(s) written (a vector or a pair counts as one operand)
 * - `s` read: register, immediate, variable address, special register
 * - `x` read and written
 * - `a` an address in brackets that is read, written or both, as the form's meaning says
 * - `l` label, branch target list, call target, function, prototype
 * A trailing `?` makes the position optional, `*` lets it repeat.
 */
export type OperandRole = 'd' | 's' | 'x' | 'a' | 'l' | 'd?' | 's?' | 'a?' | 'l?' | 's*';

/** One form of an instruction: an opcode, and the modifiers that tell this form from others of the same opcode. */
export interface InstructionForm {
  /** Canonical name: opcode and selecting modifiers, e.g. `st`, `st.async`, `cp.async.bulk.tensor`. Unique in the table. */
  readonly name: string;
  readonly opcode: string;
  /** Modifiers that must all be present, in any order, for this form to be meant; the longest match wins. */
  readonly selectors: readonly string[];
  /** All other modifiers that may appear, without dots. */
  readonly modifiers: ReadonlySet<string>;
  /** Operand roles, in order. */
  readonly operands: readonly OperandRole[];
  /** PTX ISA section, e.g. `9.7.9.11`. */
  readonly section: string;
}
