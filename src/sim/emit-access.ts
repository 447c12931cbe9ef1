/**
 * Loads, stores and atomics as JavaScript. Each access finds its bytes by itself: it keeps the region where it was last
 * (`r5`) and asks `M` when the address is elsewhere, so an access that walks through one array looks it up once.
 * Afterwards `g` is the region and `o` the offset in it.
 */
import type { Access, ElementType, MemorySpace, ValueId } from '../ir/form.js';
import type { Demand } from './demand.js';
import { assignBig, type Names } from './names.js';
import type { SiteTable } from './sites.js';

export interface AccessEmitter {
  readonly n: Names;
  readonly sites: SiteTable;
  readonly demand: Demand;
  /** Whether what is written is marked. */
  readonly recorded: boolean;
}

/** Kinds that generated code performs itself, and those that `M` performs; all others are refused. */
const INLINE: ReadonlySet<string> = new Set(['store', 'asyncStore', 'atomic', 'reduction', 'asyncReduction']);
const CALLED: ReadonlySet<string> = new Set([
  'bulkStore',
  'discard',
  'bulkCopy',
  'bulkReduction',
  'matrixStore',
  'tensorMapUpdate',
]);
const CALLED_READS: ReadonlySet<string> = new Set(['asyncLoad', 'bulkLoad', 'matrixLoad']);

function isRecorded(space: MemorySpace): boolean {
  return space === 'global' || space === 'generic' || space === 'constant';
}

/** Finds the bytes of an access. */
function place(e: AccessEmitter, site: number, space: MemorySpace, address: ValueId, bytes: number, write: boolean) {
  const l = e.n.low(address);
  const h = e.n.high(address);
  const global =
    `t=(${h}>>>0)*4294967296+(${l}>>>0);g=r${site};if(!(t>=g.base&&t+${bytes}<=g.end))` +
    `{g=M.find(${site},${l},${h},${bytes},${write});if(g.keep)r${site}=g;}o=t-g.base;`;
  const other = `M.other(${site},T,'${space}',${l},${h},${bytes},${write});o=M.o;`;
  switch (space) {
    case 'global':
    case 'constant':
      return global;
    case 'generic':
      return `if((${h}>>>20)===10){g=M.other(${site},T,'generic',${l},${h},${bytes},${write});o=M.o;}else{${global}}`;
    case 'shared':
      return `g=S;o=${l}>>>0;if(o+${bytes}>g.end){g=${other}}`;
    default:
      return `g=${other}`;
  }
}

function mark(space: MemorySpace, bytes: number): string {
  if (!isRecorded(space)) return '';
  const parts: string[] = [];
  let at = 0;
  for (; at + 4 <= bytes; at += 4) parts.push(`g.mark.setInt32(o+${at},16843009,true);`);
  for (; at < bytes; at++) parts.push(`g.mark.setInt8(o+${at},1);`);
  return parts.join('');
}

/** Reads one element into a value, in the forms that are needed. */
function read(e: AccessEmitter, id: ValueId, at: number): string {
  const { width } = e.n.value(id);
  const bits = e.demand.bits[id] === 1;
  const float = e.demand.float[id] === 1;
  const o = at === 0 ? 'o' : `o+${at}`;
  switch (width) {
    case 8:
      return `v${id}=g.view.getUint8(${o});`;
    case 16:
      return `v${id}=g.view.getUint16(${o},true);`;
    case 32:
      if (float && !bits) return `f${id}=g.view.getFloat32(${o},true);`;
      return `v${id}=g.view.getInt32(${o},true);${float ? `f${id}=X.single(v${id});` : ''}`;
    case 64: {
      if (float && !bits) return `f${id}=g.view.getFloat64(${o},true);`;
      const pair = `l${id}=g.view.getInt32(${o},true);h${id}=g.view.getInt32(${o}+4,true);`;
      return `${pair}${float ? `f${id}=X.double(l${id},h${id});` : ''}`;
    }
    default:
      return assignBig(id, width, `M.readBig(g.view,${o},${width / 8})`);
  }
}

function write(n: Names, id: ValueId, at: number): string {
  const width = n.width(id);
  const o = at === 0 ? 'o' : `o+${at}`;
  switch (width) {
    case 8:
      return `g.view.setInt8(${o},${n.word(id)});`;
    case 16:
      return `g.view.setInt16(${o},${n.word(id)},true);`;
    case 32:
      return `g.view.setInt32(${o},${n.word(id)},true);`;
    case 64:
      return `g.view.setInt32(${o},${n.low(id)},true);g.view.setInt32(${o}+4,${n.high(id)},true);`;
    default:
      return `M.writeBig(g.view,${o},${width / 8},${n.big(id)});`;
  }
}

/** The new value of a 32-bit integer at `x`. */
function wordFunction(atomic: string | undefined, signed: boolean, values: readonly string[]): string | undefined {
  const [a, b] = values;
  switch (atomic) {
    case 'add':
      return `x+${a}|0`;
    case 'and':
      return `x&${a}`;
    case 'or':
      return `x|${a}`;
    case 'xor':
      return `x^${a}`;
    case 'exch':
      return `${a}`;
    case 'cas':
      return `x===${a}?${b}:x`;
    case 'min':
      return signed ? `x<${a}?x:${a}` : `(x>>>0)<(${a}>>>0)?x:${a}`;
    case 'max':
      return signed ? `x>${a}?x:${a}` : `(x>>>0)>(${a}>>>0)?x:${a}`;
    case 'inc':
      return `(x>>>0)>=(${a}>>>0)?0:x+1|0`;
    case 'dec':
      return `x===0||(x>>>0)>(${a}>>>0)?${a}:x-1|0`;
    default:
      return undefined;
  }
}

/** One element of an atomic: `result` gets what was there. */
function atomicElement(
  n: Names,
  site: number,
  access: Access,
  values: readonly ValueId[],
  at: number,
  result: ValueId | undefined,
): string {
  const width = n.width(values[0]!);
  const type: ElementType = access.elementType ?? {};
  const o = at === 0 ? 'o' : `o+${at}`;
  if (width === 32) {
    const words = values.map((value) => n.word(value));
    let next: string | undefined;
    if (!type.float || access.atomic === 'exch' || access.atomic === 'cas') {
      next = wordFunction(access.atomic, type.signed === true, words);
    } else if (access.atomic === 'add' && !type.lanes && type.float === 'ieee') {
      next = `X.singleBits(Math.fround(X.single(x)+X.single(${words[0]})))`;
    }
    if (next !== undefined) {
      const keep = result === undefined ? '' : `v${result}=x;`;
      return `x=g.view.getInt32(${o},true);g.view.setInt32(${o},${next},true);${keep}`;
    }
  }
  const call = `M.atomic(${site},g.view,${o},${width},[${values.map((value) => n.big(value)).join()}])`;
  return result === undefined ? `${call};` : assignBig(result, n.width(result), call);
}

function elementParts(e: AccessEmitter, id: ValueId, count: number): (ValueId | undefined)[] {
  if (count === 1 && e.n.value(id).op === 'load') return [id];
  const parts: (ValueId | undefined)[] = new Array(count).fill(undefined);
  for (const [index, part] of e.sites.parts.get(id) ?? []) parts[index] = part;
  return parts;
}

function floatsOf(e: AccessEmitter, ids: readonly (ValueId | undefined)[]): string {
  return ids
    .map((id) => {
      if (id === undefined || !e.demand.float[id]) return '';
      return e.n.width(id) === 32 ? `f${id}=X.single(v${id});` : `f${id}=X.double(l${id},h${id});`;
    })
    .join('');
}

/** The statement of a `load` or `access`. */
export function accessStatement(e: AccessEmitter, id: ValueId): string {
  const { n } = e;
  const access = n.value(id).access!;
  const site = e.sites.of.get(id)!;
  const text = perform(e, id, access, site);
  return access.guard === undefined ? text : `if(${n.word(access.guard)}){${text}}`;
}

function perform(e: AccessEmitter, id: ValueId, access: Access, site: number): string {
  const { n } = e;
  const [address] = n.value(id).args;
  const { writes, reads, space, transfer } = access;
  const count = access.elements ?? 1;
  if (writes === undefined && reads === 'load' && address !== undefined) {
    const parts = elementParts(e, id, count);
    const size = access.bytes / count;
    const loads = parts.map((part, index) => (part === undefined ? '' : read(e, part, index * size)));
    return `${place(e, site, space, address, access.bytes, false)}${loads.join('')}`;
  }
  // What it writes is not memory of the application; the action beside it says what it gives.
  if (writes === 'runtimeMemory') return '';
  const values = access.values ?? [];
  if (writes !== undefined && INLINE.has(writes) && address !== undefined && values.length > 0) {
    const body = writes === 'store' || writes === 'asyncStore' ? stores(n, access) : atomics(e, id, access, site);
    const signal = transfer?.signal;
    const tell = signal === undefined ? '' : `M.signal(${site},T,${n.low(signal)},${n.high(signal)},${access.bytes});`;
    return `${place(e, site, space, address, access.bytes, true)}${body}${e.recorded ? mark(space, access.bytes) : ''}${tell}`;
  }
  const called =
    (writes !== undefined && CALLED.has(writes)) || (writes === undefined && reads && CALLED_READS.has(reads));
  if (!called || address === undefined) return `M.refuse(${site});`;
  return `M.perform(${site},T,${callOperands(n, access, address)});`;
}

function stores(n: Names, access: Access): string {
  const values = access.values!;
  const size = access.bytes / Math.max(access.elements ?? 1, values.length);
  return values.map((value, index) => write(n, value, index * size)).join('');
}

function atomics(e: AccessEmitter, id: ValueId, access: Access, site: number): string {
  const values = access.values!;
  const count = access.elements ?? 1;
  const results = access.reads ? elementParts(e, id, count) : new Array<undefined>(count).fill(undefined);
  const perElement = values.length / count;
  const size = access.bytes / count;
  const text = results.map((result, index) => {
    const own = count === 1 ? values : [values[index]!];
    return atomicElement(e.n, site, access, own, index * size, result);
  });
  if (count > 1 && perElement !== 1) return `M.refuse(${site});`;
  return `${text.join('')}${floatsOf(e, results)}`;
}

/** `low, high` of the place; then bigints of everything else by name. */
function callOperands(n: Names, access: Access, address: ValueId): string {
  const { transfer } = access;
  const named: [string, ValueId | undefined][] = [
    ['length', access.length],
    ['stride', access.rows?.stride],
    ['other', transfer?.address],
    ['otherLength', transfer?.length],
    ['ignore', transfer?.ignore],
    ['mask', transfer?.mask],
    ['signal', transfer?.signal],
  ];
  const fields = named.filter(([, id]) => id !== undefined).map(([name, id]) => `${name}:${n.big(id!)}`);
  const values = access.writes === 'bulkStore' ? (access.values ?? []).map((value) => n.big(value)) : [];
  return `${n.low(address)},${n.high(address)},{${[...fields, `values:[${values.join()}]`].join()}}`;
}
