/** Accesses and actions of a program by number: generated code names them by it, and errors find their instruction. */
import type { Access, Action, KernelProgram, Origin, ValueId } from '../ir/form.js';

export interface CodeSite {
  readonly id: ValueId;
  readonly origin: Origin;
  readonly access?: Access;
  readonly action?: Action;
}

export interface SiteTable {
  readonly list: readonly CodeSite[];
  /** Site of a value that has one. */
  readonly of: ReadonlyMap<ValueId, number>;
  /** Results of an action or elements of a load: index and value. */
  readonly parts: ReadonlyMap<ValueId, readonly (readonly [index: number, id: ValueId])[]>;
}

export function collectSites(program: KernelProgram): SiteTable {
  const list: CodeSite[] = [];
  const of = new Map<ValueId, number>();
  const parts = new Map<ValueId, [number, ValueId][]>();
  for (const [id, { op, args, immediate, access, action, origin }] of program.values.entries()) {
    const place = access?.origin ?? action?.origin ?? origin;
    if (place && op !== 'result') {
      of.set(id, list.length);
      list.push({ id, origin: place, ...(access && { access }), ...(action && { action }) });
    }
    if (op !== 'element' && op !== 'result') continue;
    const of_ = parts.get(args[0]!);
    if (of_) of_.push([Number(immediate), id]);
    else parts.set(args[0]!, [[Number(immediate), id]]);
  }
  return { list, of, parts };
}
