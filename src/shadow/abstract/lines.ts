/**
 * Values that are linear in one parameter word: `base + n · slope` with forms that hold for all threads, whatever the word's number
 * `n` within a range. From one launch to the next mostly one length changes; what is made of it is then one sum, not a chain of
 * operations.
 *
 * Soundness. A line is congruent to the value's bits modulo 2^width, for each thread and each `n` of the range. Sums and products
 * keep that without thought. Extensions look at the number itself, which has to lie in one window for all of them: for one thread it is
 * linear in `n`, so it lies between what it is at the ends of the range, and looking there suffices.
 */
import type { IntegerOperation } from '../../templates/index.js';
import type { Domain } from './domain.js';
import { addForms, addNumber, constantForm, type Form, isNumber, NO_ROOT, scaleForm, withoutRoot } from './form.js';

export interface Line {
  readonly base: Form;
  /** Without root and large part. */
  readonly slope: Form;
}

/** Numbers around the first one that lines are made for at least. */
const LEAST_REACH = 4096;
const LARGEST = 2 ** 31 - 1;
const ZERO = constantForm(0);
/** Shifts whose factor is exact; see `Form`. */
const MAX_SHIFT = 50;

export class Lines {
  readonly #lines: (Line | undefined)[] = [];
  readonly #from: number;
  readonly #to: number;
  readonly #reach: number;
  /** The word's number in the present launch. */
  number: number;

  /**
   * @param offset of the parameter word, in bytes
   * @param before those that did not hold any more: the range grows with the numbers that come
   */
  constructor(
    readonly domain: Domain,
    readonly offset: number,
    number: number,
    before: Lines | undefined,
  ) {
    this.#reach = before?.offset === offset ? Math.max(2 * before.#reach, 64 * Math.abs(number - before.number)) : 0;
    this.#reach = Math.min(Math.max(this.#reach, LEAST_REACH), LARGEST);
    // Of one sign, so that it is the same number with and without one.
    this.#from = number >= 0 ? Math.max(0, number - this.#reach) : Math.max(-LARGEST, number - this.#reach);
    this.#to = number >= 0 ? Math.min(LARGEST, number + this.#reach) : Math.min(-1, number + this.#reach);
    this.number = number;
  }

  /** Takes up another number; false when the lines do not hold for it. */
  take(number: number): boolean {
    if (number < this.#from || number > this.#to) return false;
    this.number = number;
    return true;
  }

  lineOf(id: number): Line | undefined {
    return this.#lines[id];
  }

  set(id: number, line: Line): void {
    while (this.#lines.length <= id) this.#lines.push(undefined);
    this.#lines[id] = line;
  }

  /** The value at the present number; undefined when it is no line. */
  valueOf(id: number, width: number): Form | undefined {
    const line = this.#lines[id];
    return line && addForms(line.base, line.slope, this.number, width);
  }

  /** The line of an operation on lines; undefined when it is none, or none that is certain. */
  apply(op: IntegerOperation, width: number, operandWidth: number, args: readonly Line[]): Line | undefined {
    const [a, b] = args;
    switch (op) {
      case 'add':
        return b && a && sum(a, b, 1, width);
      case 'sub':
        return b && a && difference(a, b, width);
      case 'mul':
        return b && a && (product(a, b, width) ?? product(b, a, width));
      case 'shiftLeft': {
        const bits = b && isFixed(b) && isNumber(b.base) ? b.base.constant : -1;
        return a && bits >= 0 && bits < width && bits <= MAX_SHIFT ? scaled(a, 2 ** bits, width) : undefined;
      }
      case 'signExtend':
      case 'zeroExtend':
        return a && this.#windowed(a, operandWidth, op === 'signExtend');
      case 'truncate':
        return a && a.base.root === NO_ROOT && !a.base.isLarge
          ? sum({ base: ZERO, slope: ZERO }, a, 1, width)
          : undefined;
      default:
        return undefined;
    }
  }

  /** The number in the window of its type, where that is the same for all threads and all numbers of the range. */
  #windowed({ base, slope }: Line, width: number, signed: boolean): Line | undefined {
    if (width > 32 || width === 1 || base.root !== NO_ROOT || base.isLarge) return undefined;
    const size = 2 ** width;
    const start = signed ? -size / 2 : 0;
    let window: number | undefined;
    for (const end of [this.#from, this.#to]) {
      const form = addForms(base, slope, end, 64);
      if (!form) return undefined;
      for (const value of [this.domain.low(form), this.domain.high(form)]) {
        const own = Math.floor((value - start) / size);
        if (!Number.isSafeInteger(own) || (window ?? own) !== own) return undefined;
        window = own;
      }
    }
    const shifted = addNumber(base, -window! * size);
    return shifted && { base: shifted, slope };
  }
}

/** A value that does not depend on the word. */
export function fixedLine(base: Form): Line {
  return { base, slope: ZERO };
}

/** The word itself. */
export const NUMBER_LINE: Line = { base: ZERO, slope: constantForm(1) };

function isFixed({ slope }: Line): boolean {
  return slope === ZERO;
}

function sum(a: Line, b: Line, factor: 1 | -1, width: number): Line | undefined {
  if (b.base.root !== NO_ROOT && (a.base.root !== NO_ROOT || factor < 0)) return undefined;
  return lineFrom(addForms(a.base, b.base, factor, width), addForms(a.slope, b.slope, factor, width));
}

function difference(a: Line, b: Line, width: number): Line | undefined {
  const isOfOne = a.base.root !== NO_ROOT && a.base.root === b.base.root;
  if (!isOfOne) return sum(a, b, -1, width);
  return sum({ ...a, base: withoutRoot(a.base) }, { ...b, base: withoutRoot(b.base) }, -1, width);
}

/** Of a line and a number; or of what does not depend on the word and a multiple of it that is the same for all threads. */
function product(a: Line, b: Line, width: number): Line | undefined {
  if (!isNumber(b.base) || !isNumber(b.slope)) return undefined;
  if (isFixed(b)) return scaled(a, b.base.constant, width);
  if (!isFixed(a) || a.base.root !== NO_ROOT || a.base.isLarge) return undefined;
  return lineFrom(scaleForm(a.base, b.base.constant, width), scaleForm(a.base, b.slope.constant, width));
}

function scaled(a: Line, factor: number, width: number): Line | undefined {
  if (a.base.root !== NO_ROOT || a.base.isLarge) return undefined;
  return lineFrom(scaleForm(a.base, factor, width), scaleForm(a.slope, factor, width));
}

function lineFrom(base: Form | undefined, slope: Form | undefined): Line | undefined {
  return base && slope && { base, slope };
}
