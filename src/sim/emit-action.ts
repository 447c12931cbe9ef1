/**
 * Actions as JavaScript. What needs other threads leaves its operands in the thread (`T.k` the site, `T.m` the lanes,
 * `T.o` the operands' words) and yields; the scheduler leaves results in `T.r0` and up. Everything else is a call.
 */
import type { ActionKind, ValueId } from '../ir/form.js';
import type { AccessEmitter } from './emit-access.js';
import type { Names } from './names.js';

/** Kinds for which a thread waits, or may have to. */
export const WAITING: ReadonlySet<ActionKind> = new Set<ActionKind>([
  'shuffle',
  'vote',
  'match',
  'reduce',
  'activeMask',
  'elect',
  'warpBarrier',
  'barrier',
  'clusterArrive',
  'clusterWait',
  'matrixLoad',
  'matrixStore',
]);

function words(n: Names, ids: readonly ValueId[]): string[] {
  return ids.flatMap((id) => (n.width(id) === 64 ? [n.low(id), n.high(id)] : [n.word(id)]));
}

/** The statement of an `action` or `exchange`. */
export function actionStatement(e: AccessEmitter, id: ValueId): string {
  const { n } = e;
  const value = n.value(id);
  const action = value.action!;
  const site = e.sites.of.get(id)!;
  const results = [...(value.op === 'exchange' ? [[0, id] as const] : []), ...(e.sites.parts.get(id) ?? [])];
  const operands = words(n, [...(value.op === 'exchange' ? value.args : []), ...action.operands]);
  let text: string;
  if (WAITING.has(action.kind)) {
    const members = action.members === undefined ? '' : `T.m=${n.word(action.members)};`;
    const count = action.count === undefined ? '' : `T.count=${n.unsigned(action.count)};`;
    const take = results.map(([index, result]) => `v${result}=T.r${index};`).join('');
    text = `T.k=${site};${members}${count}T.o=[${operands.join()}];yield;${take}`;
  } else {
    const [, result] = results[0] ?? [];
    const call = `M.act(${site},T,[${operands.join()}])`;
    if (result === undefined) text = `${call};`;
    else if (n.width(result) === 64) text = `l${result}=${call};h${result}=X.h;`;
    else text = `v${result}=${call};`;
  }
  const floats = results
    .filter(([, result]) => e.demand.float[result])
    .map(([, result]) => `f${result}=X.single(v${result});`)
    .join('');
  return action.guard === undefined ? text + floats : `if(${n.word(action.guard)}){${text}${floats}}`;
}
