/**
 * From a mnemonic to its row of the instruction table, and from an instruction's operands to their roles. Guarantees: a
 * mnemonic resolves only if every modifier it bears is known to its form, and operands get roles only if their number
 * and shapes fit the form. Everything else is `undefined`, and whoever asks must widen: the lowering in `src/ir` does.
 */

import type { Mnemonic, Operand } from './ast.js';
import type { AssignedRole, InstructionForm, OperandRole } from './instruction-form.js';
import { INSTRUCTION_TABLE } from './instruction-table.js';

/** Forms of an opcode, the ones with most selectors first. */
const formsByOpcode = new Map<string, InstructionForm[]>();
for (const form of INSTRUCTION_TABLE) {
  const sameOpcode = formsByOpcode.get(form.opcode);
  if (sameOpcode === undefined) formsByOpcode.set(form.opcode, [form]);
  else sameOpcode.push(form);
}
for (const sameOpcode of formsByOpcode.values()) sameOpcode.sort((a, b) => b.selectors.length - a.selectors.length);

const cache = new WeakMap<Mnemonic, InstructionForm | null>();

/**
 * The form that a mnemonic means: of the forms whose selectors are all present, in any order, the one with most
 * selectors. There is no falling back to a shorter one: `st.async` with a modifier that `st.async` does not know is not
 * an `st`.
 *
 * @returns undefined for an unknown opcode, for a modifier that the form does not list, and when the modifiers select two
 *   forms at once (`match.any.all.sync`).
 */
export function resolveInstruction(mnemonic: Mnemonic): InstructionForm | undefined {
  let form = cache.get(mnemonic);
  if (form === undefined) {
    form = lookUp(mnemonic) ?? null;
    cache.set(mnemonic, form);
  }
  return form ?? undefined;
}

function lookUp(mnemonic: Mnemonic): InstructionForm | undefined {
  const present = new Set(mnemonic.modifiers);
  const selected = (formsByOpcode.get(mnemonic.opcode) ?? []).filter((form) =>
    form.selectors.every((selector) => present.has(selector)),
  );
  const [longest, next] = selected;
  if (longest === undefined || next?.selectors.length === longest.selectors.length) return undefined;
  const known = (modifier: string) => longest.modifiers.has(modifier) || longest.selectors.includes(modifier);
  return mnemonic.modifiers.every(known) ? longest : undefined;
}

/** Roles that an operand of each shape can take, as the letter that a position of the form has. */
type Shape = 'address' | 'element' | 'list' | 'plain';

const ROLES_OF_SHAPE: Readonly<Record<Shape, Readonly<Record<string, AssignedRole>>>> = {
  address: { a: 'a', m: 'a' },
  // `g[%r2]` names memory without outer brackets (PTX ISA 6.4.1), or an element of an array of references.
  element: { a: 'a', s: 's', m: 's' },
  list: { '(d)': 'd', '(s)': 's' },
  plain: { d: 'd', s: 's', x: 'x', l: 'l', m: 's' },
};

/**
 * Which role each operand of an instruction has. Optional positions are filled from the left by the first operand whose
 * shape fits, as long as the rest still fits (`bar.red d, a{, b}, c` with three operands leaves out `b`).
 *
 * @returns one role an operand, in their order; undefined when number or shapes do not fit the form.
 */
export function assignOperandRoles(
  form: InstructionForm,
  operands: readonly Pick<Operand, 'kind'>[],
): readonly AssignedRole[] | undefined {
  const shapes = operands.map(shapeOf);
  const roles: AssignedRole[] = [];
  return placeOperands(form.operands, 0, shapes, roles) ? roles : undefined;
}

function shapeOf(operand: Pick<Operand, 'kind'>): Shape {
  const { kind } = operand;
  return kind === 'address' || kind === 'element' || kind === 'list' ? kind : 'plain';
}

/** Fits the operands from `roles.length` on to the positions from `position` on, appending to `roles`. */
function placeOperands(
  positions: readonly OperandRole[],
  position: number,
  shapes: readonly Shape[],
  roles: AssignedRole[],
): boolean {
  const written = positions[position];
  if (written === undefined) return roles.length === shapes.length;
  const optional = written.endsWith('?');
  const repeats = written.endsWith('*');
  const shape = shapes[roles.length];
  const role = shape && ROLES_OF_SHAPE[shape][optional || repeats ? written.slice(0, -1) : written];
  if (role !== undefined) {
    roles.push(role);
    if (placeOperands(positions, repeats ? position : position + 1, shapes, roles)) return true;
    roles.pop();
  }
  return (optional || repeats) && placeOperands(positions, position + 1, shapes, roles);
}
