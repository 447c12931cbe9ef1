/**
 * The addresses that a form takes over a domain, as access descriptors relative to the form's root. Constraints between atoms
 * are resolved: a sum that is bounded as a whole and stands in the address as a whole becomes one atom; every other
 * constraint is cut along its largest coefficient into boxes.
 *
 * Soundness. Each step keeps every member of the domain. `exact` stays true only while each step also adds none: atoms of a
 * box are independent, each takes all values between its bounds, and a replaced sum is dense (takes every value between its
 * bounds).
 */
import type { Dimension } from '../descriptor.js';
import { type Constraints, constraintsOn, NO_CONSTRAINTS } from './constraints.js';
import type { Domain, Group } from './domain.js';
import { coefficientOf, coversAll, type Form, leastSum } from './form.js';

/** Bytes `[start, start + width)`, repeated `count` times `stride` apart for each dimension; `start` relative to a root. */
export interface RelativeDescriptor {
  readonly start: number;
  readonly width: number;
  /** Strides positive, counts above one. */
  readonly dimensions: readonly Dimension[];
}

export interface BoxResult {
  readonly descriptors: RelativeDescriptor[];
  readonly exact: boolean;
  /** Some bound is infinite: nothing finite describes the place. */
  readonly unbounded: boolean;
}

/** Terms being resolved: parallel arrays, bounds included. */
interface Box {
  constant: number;
  coefs: number[];
  lo: number[];
  hi: number[];
  /** Atom numbers; -1 for a sum that became one. */
  atoms: number[];
  groups: readonly Group[];
}

/** Boxes of one address at most; beyond, all its constraints are dropped. */
const MAX_BOXES = 4096;
/** The same where the answer is a superset anyway. */
const MAX_VAGUE_BOXES = 16;
/** Thrown by identity when an address has more. */
const TOO_MANY = { name: 'too many boxes' };

/** Boxes that may still be made, for all addresses of a launch. */
export interface BoxBudget {
  boxes: number;
}
/** Values of an atom, at each end, that a cut may treat one by one. */
const MAX_PARTIAL = 1024;
/** The same where the answer is a superset anyway. */
const MAX_VAGUE_PARTIAL = 2;
const EXACT_LIMIT = 2 ** 53;
const NO_DIMENSIONS: readonly Dimension[] = [];

class Resolution {
  readonly descriptors: RelativeDescriptor[] = [];
  exact = true;
  unbounded = false;
  #boxes = 0;

  constructor(
    readonly domain: Domain,
    readonly width: number,
    readonly budget: BoxBudget,
  ) {}

  #count(): void {
    if (++this.#boxes > (this.exact ? MAX_BOXES : MAX_VAGUE_BOXES) || --this.budget.boxes < 0) throw TOO_MANY;
  }

  resolve(box: Box): void {
    if (!this.#simplify(box)) return;
    const cut = box.groups[0];
    if (cut) this.#cut(box, cut);
    else this.#emit(box);
  }

  /** Removes constraints that say nothing more, and whole sums; false when the box is empty. */
  #simplify(box: Box): boolean {
    for (let again = true; again; ) {
      again = false;
      for (const group of box.groups) {
        const { coefs, lo, hi, places } = this.#members(box, group);
        const low = leastSum(0, coefs, undefined, lo, hi, 1);
        const high = -leastSum(0, coefs, undefined, lo, hi, -1);
        if (low > group.hi || high < group.lo) return false;
        if (low >= group.lo && high <= group.hi) {
          box.groups = box.groups.filter((other) => other !== group);
          again = true;
          break;
        }
        if (this.#isShared(box, group)) continue;
        // A constraint on atoms that the address does not have: its members exist or they do not.
        if (places.every((place) => place < 0)) {
          if (!coversAll(coefs, lo, hi)) this.exact = false;
          box.groups = box.groups.filter((other) => other !== group);
          again = true;
          break;
        }
        if (places.some((place) => place < 0)) continue;
        const ratio = box.coefs[places[0]!]! / coefs[0]!;
        if (!Number.isInteger(ratio) || !places.every((place, i) => box.coefs[place] === ratio * coefs[i]!)) continue;
        if (!coversAll(coefs, lo, hi)) continue;
        this.#merge(box, group, places, ratio, Math.max(low, group.lo), Math.min(high, group.hi));
        again = true;
        break;
      }
    }
    return true;
  }

  /** Atoms of a group with their bounds in the box; atoms not in the address keep those of the domain. */
  #members(box: Box, group: Group) {
    const { atoms, coefs } = group.form;
    const places = atoms.map((atom) => box.atoms.indexOf(atom));
    const lo = places.map((place, i) => (place < 0 ? this.domain.lo[atoms[i]!]! : box.lo[place]!));
    const hi = places.map((place, i) => (place < 0 ? this.domain.hi[atoms[i]!]! : box.hi[place]!));
    return { coefs, lo, hi, places };
  }

  #isShared(box: Box, group: Group): boolean {
    return box.groups.some(
      (other) => other !== group && other.form.atoms.some((atom) => coefficientOf(group.form, atom) !== 0),
    );
  }

  #merge(box: Box, group: Group, places: readonly number[], ratio: number, lo: number, hi: number): void {
    let kept = 0;
    for (let index = 0; index < box.atoms.length; index++) {
      if (places.includes(index)) continue;
      box.coefs[kept] = box.coefs[index]!;
      box.lo[kept] = box.lo[index]!;
      box.hi[kept] = box.hi[index]!;
      box.atoms[kept++] = box.atoms[index]!;
    }
    box.coefs[kept] = ratio;
    box.lo[kept] = lo;
    box.hi[kept] = hi;
    box.atoms[kept++] = -1;
    // Quicker than setting lengths.
    while (box.coefs.length > kept) {
      box.coefs.pop();
      box.lo.pop();
      box.hi.pop();
      box.atoms.pop();
    }
    box.groups = box.groups.filter((other) => other !== group);
  }

  /** Cuts a box along the atom of a constraint with the largest coefficient. */
  #cut(box: Box, group: Group): void {
    const { coefs, lo, hi } = this.#members(box, group);
    let main = -1;
    for (let i = 0; i < coefs.length; i++) {
      if (hi[i]! > lo[i]! && (main < 0 || Math.abs(coefs[i]!) > Math.abs(coefs[main]!))) main = i;
    }
    const low = leastSum(0, coefs, undefined, lo, hi, 1, main);
    const high = -leastSum(0, coefs, undefined, lo, hi, -1, main);
    const c = main < 0 ? 0 : coefs[main]!;
    const drop = () => {
      this.exact = false;
      this.resolve({ ...box, groups: box.groups.filter((other) => other !== group) });
    };
    const isRounded = (end: number) => Number.isFinite(end) && !Number.isSafeInteger(end);
    const ends = [group.lo - low, group.lo - high, group.hi - low, group.hi - high];
    if (main < 0 || !Number.isFinite(low) || !Number.isFinite(high) || ends.some(isRounded)) return drop();
    // All of them satisfied: c·s + low ≥ group.lo and c·s + high ≤ group.hi; some: c·s + high ≥ group.lo and c·s + low ≤ group.hi.
    const solve = (least: number, most: number): [number, number] => {
      const from = c > 0 ? Math.ceil(least / c) : Math.ceil(most / c);
      const to = c > 0 ? Math.floor(most / c) : Math.floor(least / c);
      return [Math.max(from, lo[main]!), Math.min(to, hi[main]!)];
    };
    const [someFrom, someTo] = solve(group.lo - high, group.hi - low);
    if (someFrom > someTo) return;
    let [allFrom, allTo] = solve(group.lo - low, group.hi - high);
    if (allFrom > allTo) {
      allFrom = someTo + 1;
      allTo = someTo;
    }
    const most = this.exact ? MAX_PARTIAL : MAX_VAGUE_PARTIAL;
    if (!(allFrom - someFrom <= most && someTo - allTo <= most)) return drop();
    if (allFrom <= allTo) {
      this.#count();
      this.resolve(this.#restrict(box, group, main, allFrom, allTo, true));
    }
    for (let value = someFrom; value <= someTo; value++) {
      if (value === allFrom && allFrom <= allTo) {
        value = allTo;
        continue;
      }
      this.#count();
      this.resolve(this.#restrict(box, group, main, value, value, false));
    }
  }

  /** The part of a box where an atom lies in a range; atoms of the constraint that the address lacks come in with coefficient 0. */
  #restrict(box: Box, group: Group, main: number, from: number, to: number, satisfied: boolean): Box {
    const atom = group.form.atoms[main]!;
    const copy: Box = {
      constant: box.constant,
      coefs: box.coefs.slice(),
      lo: box.lo.slice(),
      hi: box.hi.slice(),
      atoms: box.atoms.slice(),
      groups: satisfied ? box.groups.filter((other) => other !== group) : box.groups,
    };
    let place = copy.atoms.indexOf(atom);
    if (place < 0) {
      place = copy.atoms.length;
      copy.atoms.push(atom);
      copy.coefs.push(0);
      copy.lo.push(this.domain.lo[atom]!);
      copy.hi.push(this.domain.hi[atom]!);
    }
    copy.lo[place] = from;
    copy.hi[place] = to;
    return copy;
  }

  #emit({ constant, coefs, lo, hi }: Box): void {
    const descriptor = describe(constant, coefs, undefined, lo, hi, this.width);
    if (descriptor) this.descriptors.push(descriptor);
    else this.unbounded = true;
  }
}

/**
 * Independent atoms as a descriptor; undefined when numbers grow too large.
 *
 * @param places where each coefficient's bounds are in `lo` and `hi`; one after the other when undefined
 */
function describe(
  constant: number,
  coefs: readonly number[],
  places: readonly number[] | undefined,
  lo: readonly number[],
  hi: readonly number[],
  bytes: number,
): RelativeDescriptor | undefined {
  const start = leastSum(constant, coefs, places, lo, hi, 1);
  let reach = Math.abs(start) + bytes;
  let all: { stride: number; count: number }[] | undefined;
  for (let i = 0; i < coefs.length; i++) {
    const stride = Math.abs(coefs[i]!);
    const place = places === undefined ? i : places[i]!;
    const count = hi[place]! - lo[place]! + 1;
    if (stride === 0 || count === 1) continue;
    reach += stride * count;
    const dimension = { stride, count };
    if (all === undefined) {
      all = [dimension];
      continue;
    }
    // In order of strides: there are few.
    let at = all.length;
    for (; at > 0 && all[at - 1]!.stride > stride; at--) all[at] = all[at - 1]!;
    all[at] = dimension;
  }
  if (!(reach < EXACT_LIMIT)) return undefined;
  if (all === undefined) return { start, width: bytes, dimensions: NO_DIMENSIONS };
  let width = bytes;
  let kept = 0;
  for (const dimension of all) {
    const last = kept > 0 ? all[kept - 1]! : undefined;
    if (!last && dimension.stride <= width) width += dimension.stride * (dimension.count - 1);
    else if (last && dimension.stride === last.stride * last.count) last.count *= dimension.count;
    else all[kept++] = dimension;
  }
  if (kept < all.length) all = kept === 0 ? undefined : all.slice(0, kept);
  return { start, width, dimensions: all ?? NO_DIMENSIONS };
}

/**
 * Where an access of `width` bytes at `address` goes, over all members of `domain`. The address is canonical, its root and
 * large constant left aside.
 */
export function resolveAddresses(domain: Domain, address: Form, width: number, budget: BoxBudget): BoxResult {
  const constraints = constraintsOn(domain, address);
  try {
    return resolveUnder(domain, address, width, budget, constraints);
  } catch (error) {
    if (error !== TOO_MANY) throw error;
    return { ...resolveUnder(domain, address, width, budget, NO_CONSTRAINTS), exact: false };
  }
}

function resolveUnder(
  domain: Domain,
  address: Form,
  width: number,
  budget: BoxBudget,
  { connected, isAll }: Constraints,
): BoxResult {
  let exact = isAll && !domain.inexact && !domain.isDataForm(address);
  for (const { form } of connected) if (domain.isDataForm(form)) exact = false;
  if (connected.length === 0) {
    // Nothing relates the atoms: the usual case.
    const { constant, coefs, atoms } = address;
    const descriptor = describe(constant, coefs, atoms, domain.lo, domain.hi, width);
    return { descriptors: descriptor ? [descriptor] : [], exact, unbounded: descriptor === undefined };
  }
  const resolution = new Resolution(domain, width, budget);
  resolution.exact = exact;
  resolution.resolve({
    constant: address.constant,
    coefs: address.coefs.slice(),
    lo: address.atoms.map((atom) => domain.lo[atom]!),
    hi: address.atoms.map((atom) => domain.hi[atom]!),
    atoms: address.atoms.slice(),
    groups: connected,
  });
  return { descriptors: resolution.descriptors, exact: resolution.exact, unbounded: resolution.unbounded };
}
