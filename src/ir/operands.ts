/** The operands that accesses and actions have beside `Value.args`: one list, so that no pass forgets one. */
import type { Access, Action, Transfer, ValueId } from './program.js';

/** Values an access uses beside the address. */
export function accessOperands(access: Access): ValueId[] {
  const operands: ValueId[] = [];
  if (access.length !== undefined) operands.push(access.length);
  if (access.guard !== undefined) operands.push(access.guard);
  if (access.rows) operands.push(access.rows.stride);
  if (access.coordinates) operands.push(...access.coordinates);
  if (access.values) operands.push(...access.values);
  const { transfer } = access;
  for (const operand of [transfer?.address, transfer?.length, transfer?.ignore, transfer?.mask, transfer?.signal]) {
    if (operand !== undefined) operands.push(operand);
  }
  return operands;
}

/** Values an action uses. */
export function actionOperands(action: Action): ValueId[] {
  const { operands, members, count, guard } = action;
  return [...operands, ...[members, count, guard].filter((operand) => operand !== undefined)];
}

/** An action with its operands numbered anew. */
export function renumberAction(action: Action, renumber: (id: ValueId) => ValueId): Action {
  const { members, count, guard } = action;
  return {
    ...action,
    operands: action.operands.map(renumber),
    ...(members !== undefined && { members: renumber(members) }),
    ...(count !== undefined && { count: renumber(count) }),
    ...(guard !== undefined && { guard: renumber(guard) }),
  };
}

function renumberTransfer(transfer: Transfer, renumber: (id: ValueId) => ValueId): Transfer {
  const { address, length, ignore, mask, signal } = transfer;
  return {
    ...transfer,
    ...(address !== undefined && { address: renumber(address) }),
    ...(length !== undefined && { length: renumber(length) }),
    ...(ignore !== undefined && { ignore: renumber(ignore) }),
    ...(mask !== undefined && { mask: renumber(mask) }),
    ...(signal !== undefined && { signal: renumber(signal) }),
  };
}

/** An access with its operands numbered anew. */
export function renumberAccess(access: Access, renumber: (id: ValueId) => ValueId): Access {
  return {
    ...access,
    ...(access.length !== undefined && { length: renumber(access.length) }),
    ...(access.guard !== undefined && { guard: renumber(access.guard) }),
    ...(access.rows && { rows: { count: access.rows.count, stride: renumber(access.rows.stride) } }),
    ...(access.coordinates && { coordinates: access.coordinates.map(renumber) }),
    ...(access.values && { values: access.values.map(renumber) }),
    ...(access.transfer && { transfer: renumberTransfer(access.transfer, renumber) }),
  };
}
