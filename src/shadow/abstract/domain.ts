/**
 * The threads (and loop rounds) that an evaluation speaks of: bounded symbols, called atoms, and linear constraints between
 * them. Narrowed by guards, copied where an evaluation forks.
 *
 * Soundness. Every thread that can be on the present path satisfies the domain; what cannot be expressed is left out, which
 * only adds threads, and `inexact` says so. `range` never excludes a value that some member of the domain has.
 */
import {
  addForms,
  coefficientOf,
  contentOf,
  coversAll,
  exactOrLess,
  type Form,
  LIMIT,
  leastSum,
  ratioOf,
  sameTerms,
  scaleForm,
  termsOf,
} from './form.js';

/** Sums with bounds of one domain at most; every question looks at all of them. Beyond, only their atoms are narrowed. */
const MAX_GROUPS = 48;

/** A sum of several atoms with its bounds. */
export interface Group {
  /** Terms only, first coefficient positive, no common divisor. */
  readonly form: Form;
  readonly lo: number;
  readonly hi: number;
}

/** `terms = divisor · quotient + remainder + offset`, where the terms take every value of their range. */
export interface Relation {
  readonly terms: Form;
  readonly replacement: Form;
}

export class Domain {
  /** Bounds of each atom, both included. */
  lo: number[];
  hi: number[];
  /** Atoms that stand for something the launch does not determine: a superset of what occurs. */
  isData: boolean[];
  /** Atoms replaced by others. */
  substitutes: (Form | undefined)[];
  groups: Group[];
  relations: Relation[];
  /** Atoms in the terms of a relation: narrowing one says something of its replacement that is not expressed. */
  isRelated: boolean[];
  /** Lists are shared with copies until one of both changes: bounds and groups, and what changes rarely. */
  #ownsBounds: boolean;
  #owned: boolean;
  /** The form that was last asked about, and what {@link canonical} answered. */
  #asked: Form | undefined = undefined;
  #answered: Form | undefined = undefined;
  hasSubstitutes: boolean;
  /** Something was left out: results are supersets. */
  inexact: boolean;

  constructor(from?: Domain) {
    this.lo = from ? from.lo : emptyDoubles();
    this.hi = from ? from.hi : emptyDoubles();
    this.groups = from ? from.groups : [];
    this.isData = from ? from.isData : [];
    this.substitutes = from ? from.substitutes : [];
    this.relations = from ? from.relations : [];
    this.isRelated = from ? from.isRelated : [];
    this.hasSubstitutes = from ? from.hasSubstitutes : false;
    this.inexact = from ? from.inexact : false;
    this.#owned = from === undefined;
    this.#ownsBounds = from === undefined;
    if (!from) return;
    from.#owned = false;
    from.#ownsBounds = false;
  }

  #ownBounds(): void {
    if (this.#ownsBounds) return;
    this.lo = this.lo.slice();
    this.hi = this.hi.slice();
    this.groups = this.groups.slice();
    this.#ownsBounds = true;
  }

  #own(): void {
    if (this.#owned) return;
    this.isData = this.isData.slice();
    this.substitutes = this.substitutes.slice();
    this.relations = this.relations.slice();
    this.isRelated = this.isRelated.slice();
    this.#owned = true;
  }

  /** A new atom with `lo ≤ atom ≤ hi`. */
  atom(lo: number, hi: number, isData = false): number {
    this.#own();
    this.#ownBounds();
    this.lo.push(lo);
    this.hi.push(hi);
    this.isData.push(isData);
    this.substitutes.push(undefined);
    return this.lo.length - 1;
  }

  substitute(atom: number, form: Form): void {
    this.#own();
    this.#ownBounds();
    this.#asked = undefined;
    this.substitutes[atom] = form;
    this.hasSubstitutes = true;
    for (let index = this.groups.length - 1; index >= 0; index--) {
      const group = this.groups[index]!;
      if (coefficientOf(group.form, atom) === 0) continue;
      this.groups.splice(index, 1);
      const replaced = this.canonical(group.form);
      if (replaced) {
        const holds =
          this.#bound(replaced, 1, replaced.constant - group.lo) &&
          this.#bound(replaced, -1, group.hi - replaced.constant);
        // That there are no members is not said here.
        if (!holds) this.inexact = true;
      } else this.inexact = true;
    }
  }

  /** States that `terms` equals `replacement`; the caller has made sure that the terms are dense and free of other constraints. */
  relate(terms: Form, replacement: Form): void {
    this.#own();
    this.#asked = undefined;
    this.relations.push({ terms, replacement });
    for (const atom of terms.atoms) this.isRelated[atom] = true;
  }

  /** The form over atoms that are not replaced; undefined when numbers grow too large. */
  canonical(form: Form): Form | undefined {
    if (!this.hasSubstitutes && this.relations.length === 0) return form;
    if (form !== this.#asked) {
      this.#answered = this.#canonical(form);
      this.#asked = form;
    }
    return this.#answered;
  }

  #canonical(form: Form): Form | undefined {
    let result: Form | undefined = form;
    for (let again = true, rounds = 0; again && rounds < 64; rounds++) {
      again = false;
      if (this.hasSubstitutes) {
        for (let i = 0; i < result.atoms.length; i++) {
          const atom = result.atoms[i]!;
          const substitute = this.substitutes[atom];
          if (!substitute) continue;
          result = this.#replace(result, termsOf([atom], [1]), substitute, result.coefs[i]!);
          if (!result) return undefined;
          again = true;
          break;
        }
        if (again) continue;
      }
      for (const { terms, replacement } of this.relations) {
        const ratio = ratioOf(result, terms);
        if (ratio === 0) continue;
        result = this.#replace(result, terms, replacement, ratio);
        if (!result) return undefined;
        again = true;
        break;
      }
    }
    return result;
  }

  #replace(form: Form, terms: Form, replacement: Form, ratio: number): Form | undefined {
    const without = addForms(form, terms, -ratio, 64);
    return without && addForms(without, replacement, ratio, 64);
  }

  /** Least value of a form's terms and constant, root and large part left out. */
  low(form: Form): number {
    if (form.atoms.length === 0) return form.constant;
    return this.#extreme(form, 1);
  }

  /** Greatest value. */
  high(form: Form): number {
    if (form.atoms.length === 0) return form.constant;
    return -this.#extreme(form, -1);
  }

  /** Least value of `sign · form`. */
  #extreme(form: Form, sign: 1 | -1): number {
    const current = this.canonical(form);
    if (!current) return Number.NEGATIVE_INFINITY;
    if (this.groups.length === 0 || current.atoms.length < 2) return this.#boxExtreme(current, sign);
    // Sums that are bounded as a whole give better bounds than their atoms; which ones to use is a matter of choice.
    if (this.groups.length === 1) return this.#groupExtreme(current, sign, 1);
    return Math.max(this.#groupExtreme(current, sign, -1), this.#groupExtreme(current, sign, 1));
  }

  #boxExtreme({ constant, atoms, coefs }: Form, sign: 1 | -1): number {
    return leastSum(sign * constant, coefs, atoms, this.lo, this.hi, sign);
  }

  /** With groups taken in the given order, newest first for −1. */
  #groupExtreme(form: Form, sign: 1 | -1, order: 1 | -1): number {
    const { groups } = this;
    let rest = form;
    let total = 0;
    for (let at = 0; at < groups.length; at++) {
      const group = groups[order > 0 ? at : groups.length - 1 - at]!;
      const ratio = ratioOf(rest, group.form);
      if (ratio === 0) continue;
      const c = sign * ratio;
      const inBox = c > 0 ? c * this.#boxExtreme(group.form, 1) : -c * this.#boxExtreme(group.form, -1);
      total += Math.max(exactOrLess(inBox), exactOrLess(c > 0 ? c * group.lo : c * group.hi));
      const without = addForms(rest, group.form, -ratio, 64);
      if (!without) return Number.NEGATIVE_INFINITY;
      rest = without;
    }
    return exactOrLess(exactOrLess(total) + this.#boxExtreme(rest, sign));
  }

  /** Whether any atom of the form is not determined by the launch. */
  isDataForm(form: Form): boolean {
    for (const atom of form.atoms) if (this.isData[atom]) return true;
    return false;
  }

  /**
   * Whether a sum takes every value between its bounds: it covers all of them, and no constraint but its own bounds touches its atoms.
   *
   * @param groups the constraints
   */
  isDense({ atoms, coefs }: Form, groups: readonly Group[] = this.groups): boolean {
    for (const { form } of groups) {
      if (!form.atoms.some((atom) => atoms.includes(atom))) continue;
      if (form.atoms.length !== atoms.length) return false;
      for (let i = 0; i < atoms.length; i++) if (form.atoms[i] !== atoms[i] || form.coefs[i] !== coefs[i]) return false;
    }
    for (const atom of atoms) if (this.isRelated[atom]) return false;
    return coversAll(
      coefs,
      atoms.map((atom) => this.lo[atom]!),
      atoms.map((atom) => this.hi[atom]!),
    );
  }

  /** Narrows to members with `form ≥ 0`; false when there are none. */
  assumeNonNegative(form: Form): boolean {
    if (this.low(form) >= 0) return true;
    if (this.high(form) < 0) return false;
    return this.narrow(form);
  }

  /** {@link assumeNonNegative} of a form that is negative for some members and not for others, as its bounds go. */
  narrow(form: Form): boolean {
    if (this.isDataForm(form)) this.inexact = true;
    const canonical = this.canonical(form);
    if (!canonical) {
      this.inexact = true;
      return true;
    }
    return this.#bound(canonical, 1, canonical.constant);
  }

  /** Narrows to members with `form = 0`; false when there are none. */
  assumeZero(form: Form): boolean {
    const negative = scaleForm(form, -1, 64);
    if (!negative) {
      this.inexact = true;
      return true;
    }
    return this.assumeNonNegative(form) && this.assumeNonNegative(negative) && this.#divides(form);
  }

  #divides(form: Form): boolean {
    const divisor = contentOf(form.coefs);
    return divisor === 0 ? form.constant === 0 : form.constant % divisor === 0;
  }

  /** `sign · terms(form) + constant ≥ 0`. */
  #bound(form: Form, sign: 1 | -1, constant: number): boolean {
    const { atoms, coefs } = form;
    if (Number.isFinite(constant) && !Number.isSafeInteger(constant)) {
      this.inexact = true;
      return true;
    }
    if (atoms.length === 0) return constant >= 0;
    const divisor = contentOf(coefs);
    // sign · Σ (c/divisor)·atom ≥ −constant/divisor
    const least = Math.ceil(-constant / divisor);
    if (atoms.length === 1) {
      const c = (sign * coefs[0]!) / divisor;
      return c > 0 ? this.#raise(atoms[0]!, least) : this.#lower(atoms[0]!, -least);
    }
    const flip = coefs[0]! > 0 ? sign : -sign;
    const unit = coefs[0]! > 0 ? divisor : -divisor;
    const terms = termsOf(atoms, unit === 1 ? coefs : coefs.map((c) => c / unit));
    const index = this.#groupOf(terms);
    const known = index < 0 ? { form: terms, lo: this.low(terms), hi: this.high(terms) } : this.groups[index]!;
    const group: Group = {
      form: terms,
      lo: flip > 0 ? Math.max(known.lo, least) : known.lo,
      hi: flip < 0 ? Math.min(known.hi, -least) : known.hi,
    };
    if (group.lo > group.hi) return false;
    this.#ownBounds();
    if (index >= 0) this.groups[index] = group;
    else if (this.groups.length < MAX_GROUPS) this.groups.push(group);
    else this.inexact = true;
    return this.#propagate(group);
  }

  #groupOf(terms: Form): number {
    for (let at = 0; at < this.groups.length; at++) if (sameTerms(this.groups[at]!.form, terms)) return at;
    return -1;
  }

  /** Bounds of a sum bound its atoms. */
  #propagate({ form, lo, hi }: Group): boolean {
    for (let i = 0; i < form.atoms.length; i++) {
      const atom = form.atoms[i]!;
      const c = form.coefs[i]!;
      const low = leastSum(0, form.coefs, form.atoms, this.lo, this.hi, 1, i);
      const high = -leastSum(0, form.coefs, form.atoms, this.lo, this.hi, -1, i);
      const toLo = exactOrNothing(lo - high);
      const toHi = exactOrNothing(hi - low);
      const least = Math.ceil((c > 0 ? toLo : toHi) / c);
      const most = Math.floor((c > 0 ? toHi : toLo) / c);
      // Numbers beyond what is exact bound nothing, and neither does what is not a number.
      if (least >= -LIMIT && least <= LIMIT && !this.#raise(atom, least)) return false;
      if (most >= -LIMIT && most <= LIMIT && !this.#lower(atom, most)) return false;
    }
    return true;
  }

  #raise(atom: number, least: number): boolean {
    if (least > this.lo[atom]!) {
      this.#ownBounds();
      this.lo[atom] = least;
      if (this.isRelated[atom]) this.inexact = true;
    }
    return this.lo[atom]! <= this.hi[atom]!;
  }

  #lower(atom: number, most: number): boolean {
    if (most < this.hi[atom]!) {
      this.#ownBounds();
      this.hi[atom] = most;
      if (this.isRelated[atom]) this.inexact = true;
    }
    return this.lo[atom]! <= this.hi[atom]!;
  }

  /** Narrows one atom, which nothing else is known of, to `[least, most]`. */
  confine(atom: number, least: number, most: number): void {
    this.#ownBounds();
    this.lo[atom] = least;
    this.hi[atom] = most;
  }
}

/** An empty list that is laid out for fractions from the start, so that infinite bounds do not change its layout. */
function emptyDoubles(): number[] {
  const list = [0.5];
  list.pop();
  return list;
}

/** A number that is certainly exact, or none: comparisons with it fail. */
function exactOrNothing(value: number): number {
  return Number.isSafeInteger(value) ? value : Number.NaN;
}
