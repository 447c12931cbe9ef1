/**
 * The number that a form stands for: which of the values congruent modulo 2^width an operation sees that looks at the number itself,
 * and forms as plain numbers.
 *
 * Soundness. A window holds for all threads of the domain; where it does not, the evaluation forks, or takes any value of the type.
 */
import {
  addForms,
  addNumber,
  atomForm,
  constantBits,
  constantForm,
  type Form,
  isConstant,
  isNumber,
  LIMIT,
  scaleForm,
  withBig,
  withConstant,
  withTerms,
} from './form.js';
import { Leaves } from './leaves.js';

/** Values that a form is split into one by one at most. */
const MAX_CASES = 64;
/** Windows of 2^width that a value is cut along at most. */
const MAX_WINDOWS = 8;

export abstract class Windows extends Leaves {
  /**
   * The form whose value is the number itself, in `[0, 2^width)` or the signed range: shifted by a multiple of 2^width where all
   * values lie in one window, forking where they lie in several.
   */
  window(form: Form, width: number, signed: boolean): Form {
    const plain = this.plain(form, width);
    if (plain.isLarge) return this.#bigWindow(plain, width, signed);
    const { domain } = this.state;
    const low = domain.low(plain);
    const high = domain.high(plain);
    if (width >= 64) return this.#window64(plain, low, high, signed);
    const size = width === 32 ? 4294967296 : 2 ** width;
    const start = signed ? -size / 2 : 0;
    if (!Number.isFinite(low) || !Number.isFinite(high)) return this.#promised(plain, width, start, size);
    const first = Math.floor((low - start) / size);
    const last = Math.floor((high - start) / size);
    if (first === last)
      return first === 0 ? plain : (addNumber(plain, -first * size) ?? this.between(start, start + size - 1));
    if (last - first > MAX_WINDOWS) {
      domain.inexact = true;
      return this.between(start, start + size - 1);
    }
    const bound = start + (first + 1) * size;
    const below = scaleForm(plain, -1, 64);
    const belowBound = below && addNumber(below, bound - 1);
    const above = addNumber(plain, -bound);
    if (!belowBound || !above) return this.between(start, start + size - 1);
    this.state.fork(
      () => this.state.domain.assumeNonNegative(belowBound),
      () => this.state.domain.assumeNonNegative(above),
    );
  }

  #window64(form: Form, low: number, high: number, signed: boolean): Form {
    if (low >= -LIMIT && high <= LIMIT) {
      if (signed || low >= 0) return form;
      if (high < 0) return bigShift(form);
      this.state.fork(
        () => this.state.domain.assumeNonNegative(form),
        () => this.state.domain.assumeNonNegative(withConstant(scaleForm(form, -1, 64)!, -form.constant - 1)),
      );
    }
    // One unknown number is in the window that it is looked at in.
    if (
      form.atoms.length === 1 &&
      form.coefs[0] === 1 &&
      form.constant === 0 &&
      this.state.domain.isData[form.atoms[0]!]
    ) {
      if (signed || low >= 0) return form;
      if (high < 0) return bigShift(form);
      this.state.fork(
        () => this.state.domain.assumeNonNegative(form),
        () => this.state.domain.assumeNonNegative(withConstant(scaleForm(form, -1, 64)!, -1)),
      );
    }
    if (this.bounding) return this.#promised(form, 64, signed ? -(2 ** 63) : 0, 2 ** 64);
    this.state.domain.inexact = true;
    return this.unknown(64);
  }

  /** Numbers beyond the exact range: constants only. */
  #bigWindow(form: Form, width: number, signed: boolean): Form {
    if (isConstant(form)) {
      const bits = constantBits(form, width);
      const value = signed ? BigInt.asIntN(width, bits) : bits;
      if (value >= -BigInt(LIMIT) && value <= BigInt(LIMIT)) return constantForm(Number(value));
      return withBig(withConstant(form, 0), value);
    }
    this.state.domain.inexact = true;
    return this.unknown(width);
  }

  /** While a loop's end is looked for: right if the first round's window holds for all, which is checked afterwards. */
  #promised(form: Form, width: number, start: number, size: number): Form {
    const { bounding } = this;
    const { domain } = this.state;
    if (bounding) {
      const index = form.atoms.indexOf(bounding.atom);
      if (index >= 0) {
        const atoms = form.atoms.filter((_, i) => i !== index);
        const first: Form = withTerms(
          form,
          atoms,
          form.coefs.filter((_, i) => i !== index),
        );
        const low = domain.low(first);
        const high = domain.high(first);
        const window = Math.floor((low - start) / size);
        if (Number.isFinite(low) && Number.isFinite(high) && window === Math.floor((high - start) / size)) {
          const shifted = window === 0 ? form : addNumber(form, -window * size);
          if (shifted) {
            bounding.promises.push({ form: shifted, low: start, high: start + size - 1 });
            return shifted;
          }
        }
      }
    }
    domain.inexact = true;
    return width >= 64 ? this.unknown(64) : this.between(start, start + size - 1);
  }

  /** The form as a plain number, forking over its values; undefined when they are too many or the form is data. */
  settled(form: Form): Form | undefined {
    const plain = this.plain(form);
    if (isNumber(plain)) return plain;
    const { domain } = this.state;
    const canonical = !plain.isLarge ? domain.canonical(plain) : undefined;
    if (!canonical) return undefined;
    const low = domain.low(canonical);
    if (low === domain.high(canonical)) return constantForm(low);
    let cases = 1;
    let widest = -1;
    for (const atom of canonical.atoms) {
      const span = domain.hi[atom]! - domain.lo[atom]!;
      cases *= span + 1;
      if (span > 0 && (widest < 0 || span > domain.hi[widest]! - domain.lo[widest]!)) widest = atom;
    }
    if (cases > MAX_CASES || widest < 0 || this.state.probing > 0) return undefined;
    const middle = Math.floor((domain.lo[widest]! + domain.hi[widest]!) / 2);
    this.state.fork(
      () => this.state.domain.assumeNonNegative(addForms(constantForm(middle), atomForm(widest), -1, 64)!),
      () => this.state.domain.assumeNonNegative(addNumber(atomForm(widest), -middle - 1)!),
    );
  }
}

/** A negative number as the large unsigned one that it is congruent to. */
function bigShift(form: Form): Form {
  return withBig(form, 1n << 64n);
}
