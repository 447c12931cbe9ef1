/**
 * What the instruction table says about a mnemonic. The table (`instruction-table.ts`) is data in the manual's own terms;
 * this file is its type. An opcode, or a modifier of a known opcode, that the table does not list makes the mnemonic
 * unknown: a modifier we have never seen may change what an instruction writes.
 */

/**
 * What happens at one operand, once it is known which position of its form the operand stands at:
 * - `d` register(s) written (a vector or a pair counts as one operand; `_` is a destination that is thrown away)
 * - `s` read: register, immediate, variable address, special register
 * - `x` read and written
 * - `a` an address in brackets that is read, written or both, as the form's meaning says
 * - `l` label, branch target list, call target, function, prototype
 */
export type AssignedRole = 'd' | 's' | 'x' | 'a' | 'l';

/**
 * Role of an operand position: one of the above, or
 * - `m` a matrix operand: a descriptor in a register (`s`), or an address in brackets (`a`)
 * - `(d)`, `(s)` a list in parentheses: return values and arguments of a call
 *
 * A trailing `?` makes the position optional, `*` lets it repeat. Which of several optional positions an operand takes
 * is told by its shape (brackets, parentheses, neither); see `assignOperandRoles`.
 */
export type OperandRole = AssignedRole | 'm' | '(d)' | '(s)' | 'd?' | 's?' | 'a?' | 'l?' | '(d)?' | '(s)?' | 's*';

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
  /** PTX ISA section, e.g. `9.7.9.11`; several, separated by spaces, where the manual spreads one opcode over chapters. */
  readonly section: string;
}
