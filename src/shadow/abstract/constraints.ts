/**
 * Which constraints of a domain concern an address: those on its atoms, directly or through others. What the rest says is only whether
 * there are members at all.
 *
 * Soundness. Every constraint that is answered holds for all members. `isAll` is true only if, conversely, each choice of the address's
 * atoms within the constraints answered belongs to a member. Two things may stand against that: constraints apart that leave no member,
 * and relations. A relation ties a sum of old atoms, its terms, to new ones, their digits, and what is asked of one side bounds the
 * other. When it was stated, the sum took every value of its range, and each value was one choice of digits; later constraints that
 * are on the sum as a whole are kept on the digits. So
 *
 * - an address over the old atoms has all members if the digits still give every value of a range, which is then a bound of the sum;
 * - one over the digits has them if nothing was asked of the old atoms since, apart from the sum: bounds that were, said so themselves
 *   (`Domain.isRelated`);
 * - one over both would take what is the same number as two.
 */
import type { Domain, Group, Relation } from './domain.js';
import { coversAll, type Form, leastSum, sameTerms, withConstant } from './form.js';

export interface Constraints {
  /** Those that share atoms with the address, or with one another on the way to it. */
  readonly connected: readonly Group[];
  /** Nothing else keeps a choice of the address's atoms from being that of a member. */
  readonly isAll: boolean;
}

export const NO_CONSTRAINTS: Constraints = { connected: [], isAll: true };

/** @param address canonical */
export function constraintsOn(domain: Domain, address: Form): Constraints {
  if (domain.groups.length === 0 && domain.relations.length === 0) return NO_CONSTRAINTS;
  const groups = canonicalGroups(domain);
  if (!groups) return { connected: [], isAll: false };
  if (domain.relations.length > 0) return throughRelations(domain, groups, address);
  const { connected, apart } = divideGroups(groups, address);
  return { connected, isAll: haveMembers(domain, apart) };
}

/** Whether constraints that are apart certainly have members: no two on one atom, each on a sum that takes the values it wants. */
function haveMembers(domain: Domain, groups: readonly Group[]): boolean {
  return groups.every((group) => {
    const { atoms, coefs } = group.form;
    if (groups.some((other) => other !== group && areOn(other, atoms))) return false;
    const [low, high] = ownRange(domain, group.form);
    if (!(low <= group.hi && high >= group.lo)) return false;
    const lo = atoms.map((atom) => domain.lo[atom]!);
    const hi = atoms.map((atom) => domain.hi[atom]!);
    return coversAll(coefs, lo, hi);
  });
}

function areOn(group: Group, atoms: readonly number[]): boolean {
  return group.form.atoms.some((atom) => atoms.includes(atom));
}

/** Bounds of a sum by its atoms alone. */
function ownRange({ lo, hi }: Domain, { atoms, coefs }: Form): readonly [low: number, high: number] {
  return [leastSum(0, coefs, atoms, lo, hi, 1), -leastSum(0, coefs, atoms, lo, hi, -1)];
}

/** Constraints that share atoms with an address, directly or through others, and the rest. */
function divideGroups(groups: readonly Group[], address: Form): { connected: Group[]; apart: Group[] } {
  if (groups.length === 1) {
    return areOn(groups[0]!, address.atoms)
      ? { connected: [groups[0]!], apart: [] }
      : { connected: [], apart: [groups[0]!] };
  }
  let apart = [...groups];
  const connected: Group[] = [];
  const reached = new Set(address.atoms);
  for (let again = true; again && apart.length > 0; ) {
    again = false;
    const rest: Group[] = [];
    for (const group of apart) {
      if (group.form.atoms.some((atom) => reached.has(atom))) {
        connected.push(group);
        for (const atom of group.form.atoms) reached.add(atom);
        again = true;
      } else rest.push(group);
    }
    apart = rest;
  }
  return { connected, apart };
}

/** The domain's constraints over atoms that are not replaced, one for each sum; undefined when numbers grow too large. */
function canonicalGroups(domain: Domain): readonly Group[] | undefined {
  if (!domain.hasSubstitutes && domain.relations.length === 0) return domain.groups;
  const groups: Group[] = [];
  for (const group of domain.groups) {
    const canonical = domain.canonical(group.form);
    if (!canonical) return undefined;
    const form = withConstant(canonical, 0);
    const lo = group.lo - canonical.constant;
    const hi = group.hi - canonical.constant;
    const at = groups.findIndex((other) => sameTerms(other.form, form));
    if (at < 0) groups.push({ form, lo, hi });
    else groups[at] = { form, lo: Math.max(lo, groups[at]!.lo), hi: Math.min(hi, groups[at]!.hi) };
  }
  return groups;
}

/** {@link constraintsOn} where sums were replaced as a whole. */
function throughRelations(domain: Domain, groups: readonly Group[], address: Form): Constraints {
  const relations = domain.relations.map((relation) => new Side(domain, relation, groups));
  let known = groups;
  let isAll = true;
  for (;;) {
    const { connected, apart } = divideGroups(known, address);
    const used = new Set(address.atoms);
    for (const { form } of connected) for (const atom of form.atoms) used.add(atom);
    const next = relations.find((side) => !side.isStated && side.usesTerms(used));
    if (next) {
      next.isStated = true;
      if (next.saysNothing) continue;
      known = [...known, next.bound];
      continue;
    }
    for (const side of relations) {
      if (side.usesTerms(used)) isAll &&= side.isDense && !side.usesDigits(used);
      else if (known.some((group) => areOn(group, side.terms.atoms)))
        isAll &&= side.isDense && side.saysNothing && !side.usesDigits(used);
    }
    return { connected, isAll: isAll && haveMembers(domain, apart) };
  }
}

/** A relation as what its digits say of its terms. */
class Side {
  readonly terms: Form;
  /** The range of the terms, as the digits stand now. */
  readonly bound: Group;
  /** The digits give every value of that range, and nothing else is known of them. */
  readonly isDense: boolean;
  /** The terms are in that range by themselves. */
  readonly saysNothing: boolean;
  readonly #digits: readonly number[] | undefined;
  /** Whether the bound was looked at. */
  isStated = false;

  constructor(domain: Domain, { terms, replacement }: Relation, groups: readonly Group[]) {
    const digits = domain.canonical(replacement);
    const lo = digits ? domain.low(digits) : Number.NEGATIVE_INFINITY;
    const hi = digits ? domain.high(digits) : Number.POSITIVE_INFINITY;
    const [low, high] = ownRange(domain, terms);
    this.terms = terms;
    this.bound = { form: terms, lo, hi };
    this.isDense = digits !== undefined && domain.isDense(digits, groups);
    this.saysNothing = lo <= low && high <= hi;
    this.#digits = digits?.atoms;
  }

  usesTerms(used: ReadonlySet<number>): boolean {
    return this.terms.atoms.some((atom) => used.has(atom));
  }

  usesDigits(used: ReadonlySet<number>): boolean {
    return this.#digits === undefined || this.#digits.some((atom) => used.has(atom));
  }
}
