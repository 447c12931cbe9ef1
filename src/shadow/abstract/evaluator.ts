/**
 * The value of each operation of a slice, as an affine form over the atoms of the present domain. What an operation cannot
 * express exactly becomes an atom that stands for any value of its type (or of a narrower range that is certain), marked as
 * data; where a finite number of cases is exact, it forks.
 *
 * Soundness. For every thread of the domain, the operation's real bits are congruent to the form's value modulo 2^width. Each
 * `case` below keeps that; the default is an atom over the whole type.
 */
import { evaluateFloat, type IntegerOperation, isFloatOperation, type MemorySpace } from '../../templates/index.js';
import { isExactFloat, readBits } from '../concrete.js';
import { replaceTerms } from './divide.js';
import { Domain } from './domain.js';
import {
  addForms,
  addNumber,
  atomForm,
  bigForm,
  constantBits,
  constantForm,
  type Form,
  isConstant,
  LIMIT,
  leastSum,
  NO_ROOT,
  rootForm,
  scaleForm,
  termsOf,
  withConstant,
  withoutBig,
  withoutRoot,
} from './form.js';
import { Integers } from './integers.js';
import type { Range } from './leaves.js';
import { INFEASIBLE, isScaledFloor, PROBE_FAILED, type ScaledFloor } from './state.js';

const ANYTHING: Range = { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };

/** Entries of a table in memory that are looked at in one load. */
const MAX_TABLE = 1 << 16;

export abstract class Evaluator extends Integers {
  // --- values ---

  /** The value's form. Forks where cases differ. */
  evaluate(id: number): Form {
    const value = this.raw(id);
    if (!isScaledFloor(value)) return value;
    const form = this.floor(value, this.plan.widths[id]!);
    this.state.remember(id, form);
    return form;
  }

  protected raw(id: number): Form | ScaledFloor {
    const known = this.uniformMemo[id] ?? this.state.memo[id];
    if (known !== undefined) return known;
    this.state.spend(1);
    const width = this.plan.widths[id]!;
    const result = this.lines?.valueOf(id, width) ?? (width === 1 ? this.#bit(id) : this.#operation(id));
    if (this.plan.uniform[id] && !isScaledFloor(result) && result.atoms.length === 0) {
      this.uniformMemo[id] = result;
      this.uniformIds.push(id);
    } else this.state.remember(id, result);
    return result;
  }

  /** A condition as a number: forks when it is not the same for all. */
  #bit(id: number): Form {
    const op = this.plan.names[id]!;
    if (op === 'phi') return this.phi(id);
    const truth = this.truth(id);
    if (truth >= 0) return constantForm(truth);
    this.state.fork(
      () => this.assume(id, true),
      () => this.assume(id, false),
    );
  }

  #operation(id: number): Form | ScaledFloor {
    const op = this.plan.names[id]!;
    const width = this.plan.widths[id]!;
    if (this.plan.isInteger[id]) return this.integer(id, op as IntegerOperation, width);
    if (op === 'parameter') return this.parameter(this.plan.values[id]![2] as number, width);
    if (op === 'phi') return this.phi(id);
    const value = this.plan.values[id]!;
    if (op === 'special') return this.special(value[2] as string);
    const rest = value.slice(2);
    switch (op) {
      case 'parameterAddress':
        return withConstant(rootForm(this.root({ kind: 'window', space: 'parameter', index: 0 })), rest[0] as number);
      case 'objectAddress':
        return this.object(rest[0] as number);
      case 'load':
        return this.#load(id, rest[1] as number, rest[0] as MemorySpace, width, 0);
      case 'element': {
        const load = this.plan.values[rest[0] as number]!;
        return load[0] === 'load'
          ? this.#load(
              rest[0] as number,
              load[3] as number,
              load[2] as MemorySpace,
              width,
              (rest[1] as number) * (width / 8),
            )
          : this.unknown(width);
      }
      case 'toGeneric':
        return rest[0] === 'global' ? this.evaluate(rest[1] as number) : this.toWindow(rest[1] as number);
      case 'fromGeneric':
        return rest[0] === 'global' ? this.evaluate(rest[1] as number) : this.unknown(width);
      case 'exchange':
        return this.#fromOtherThread(rest[0] as number, width);
      default:
        return this.float(id) ?? this.unknown(width);
    }
  }

  /** A floating-point operation on constants; what the hardware approximates in its own way stays unknown. */
  protected float(id: number): Form | undefined {
    const [op, width, ...rest] = this.plan.values[id]!;
    const mode = rest.at(-1);
    if (!isFloatOperation(op) || typeof mode !== 'object' || !isExactFloat(op, mode)) return undefined;
    const args: bigint[] = [];
    for (const operand of this.plan.operands[id]!) {
      const form = this.evaluate(operand);
      if (!isConstant(form)) return undefined;
      args.push(constantBits(form, this.plan.widths[operand]!));
    }
    return bigForm(evaluateFloat(op, width, mode, args), width);
  }

  /**
   * A value that another thread computed: that thread need not be on the present path, so nothing counts that was assumed or
   * remembered here, only what holds for all threads of the launch.
   */
  #fromOtherThread(id: number, width: number): Form {
    if (this.plan.uniform[id]) return this.evaluate(id);
    let range = this.everywhere.get(id);
    if (!range) {
      range = this.#rangeEverywhere(id);
      this.everywhere.set(id, range);
    }
    return Number.isFinite(range.low) && Number.isFinite(range.high)
      ? this.between(range.low, range.high)
      : this.unknown(width);
  }

  #rangeEverywhere(id: number): Range {
    const { state, bounding, lines } = this;
    const { mark, domain, loops, steps } = state;
    for (let known = 0; known < state.memo.length; known++) state.forget(known);
    state.domain = new Domain(this.threads);
    state.loops = new Map();
    state.steps = new Map();
    this.bounding = undefined;
    // Lines speak of atoms that the ground has, and all threads have not.
    this.lines = undefined;
    state.probing++;
    try {
      const form = this.evaluate(id);
      if (form.root !== NO_ROOT || form.isLarge) return ANYTHING;
      return { low: state.domain.low(form), high: state.domain.high(form) };
    } catch (error) {
      if (error !== PROBE_FAILED && error !== INFEASIBLE) throw error;
      return ANYTHING;
    } finally {
      state.probing--;
      this.bounding = bounding;
      this.lines = lines;
      state.steps = steps;
      state.loops = loops;
      state.domain = domain;
      state.rollBack(mark);
    }
  }

  // --- memory ---

  #load(id: number, addressId: number, space: MemorySpace, width: number, extra: number): Form {
    if (this.plan.widths[id]! > 64 || width > 64) return this.unknown(width);
    const address = addNumber(this.evaluate(addressId), extra);
    if (!address || space === 'shared' || space === 'local' || space === 'runtime') return this.unknown(width);
    const root = address.root === NO_ROOT ? undefined : this.roots[address.root]!;
    const bytes = width / 8;
    if (root?.kind === 'window') {
      if (root.space !== 'parameter') return this.unknown(width);
      const byteLength = this.plan.template.parameterBytes;
      return this.#table(withoutRoot(address), width, (offset) => {
        if (offset < 0 || offset + bytes > byteLength) return undefined;
        this.consult(offset, bytes);
        return readBits(this.parameters, offset, bytes);
      });
    }
    if (space === 'parameter') return this.unknown(width);
    if (!this.environment.hasKnownMemory) {
      this.unread = true;
      return this.unknown(width);
    }
    const plain = this.plain(address);
    return this.#table(plain, width, (offset) => {
      const place = BigInt.asUintN(64, plain.big + BigInt(offset));
      const content = this.environment.read(place, bytes);
      if (!content) return undefined;
      this.knownReads.push({ address: place, content });
      return readBits(new DataView(content.buffer, content.byteOffset, content.byteLength), 0, bytes);
    });
  }

  /** What a table holds at the places that a form takes: one progression, or cases of which each is one. */
  #table(place: Form, width: number, read: (offset: number) => bigint | undefined): Form {
    const { domain } = this.state;
    const canonical = domain.canonical(withoutBig(place));
    if (!canonical) return this.unknown(width);
    // By the atoms alone: a bound of the whole sum is not where the atom has its first value.
    const { constant, atoms, coefs } = canonical;
    const low = leastSum(constant, coefs, atoms, domain.lo, domain.hi, 1);
    const high = -leastSum(-constant, coefs, atoms, domain.lo, domain.hi, -1);
    if (!Number.isFinite(low) || !Number.isFinite(high)) return this.unknown(width);
    const free = atoms.filter((atom) => domain.lo[atom] !== domain.hi[atom]);
    if (free.length === 0) {
      const bits = read(low);
      return bits === undefined ? this.unknown(width) : this.#loaded(bits, width);
    }
    if (free.length > 1) {
      this.#compose(canonical);
      return this.unknown(width);
    }
    const atom = free[0]!;
    const c = coefs[atoms.indexOf(atom)]!;
    const first = domain.lo[atom]!;
    const last = domain.hi[atom]!;
    if (!(last - first < MAX_TABLE)) return this.unknown(width);
    const base = low - (c > 0 ? c * first : c * last);
    const at = (index: number) => read(base + c * index);
    const start = at(first);
    if (start === undefined) return this.unknown(width);
    // As far as it is one progression.
    let end = first;
    let step = 0n;
    for (let index = first + 1; index <= last; index++) {
      const bits = at(index);
      if (bits === undefined) return this.unknown(width);
      if (index === first + 1) step = BigInt.asIntN(width, bits - start);
      if (step < -BigInt(LIMIT) || step > BigInt(LIMIT)) break;
      if (BigInt.asUintN(width, start + step * BigInt(index - first)) !== bits) break;
      end = index;
    }
    if (end === last) {
      if (step === 0n) return this.#loaded(start, width);
      const offset = withConstant(atomForm(atom), -first);
      const scaled = scaleForm(offset, Number(step), width);
      const sum = scaled && addForms(bigForm(start, width, width === 64), scaled, 1, width);
      return sum ?? this.unknown(width);
    }
    this.state.fork(
      () => this.state.domain.assumeNonNegative(addForms(constantForm(end), atomForm(atom), -1, 64)!),
      () => this.state.domain.assumeNonNegative(addNumber(atomForm(atom), -end - 1)!),
    );
  }

  /** Makes one atom of a dense index over several, and evaluates again; returns when that is not possible. */
  #compose(place: Form): void {
    const { state } = this;
    if (state.probing > 0) return;
    const unit = Math.min(...place.coefs.map(Math.abs));
    if (place.coefs.some((c) => c % unit !== 0)) return;
    const index = termsOf(
      place.atoms,
      place.coefs.map((c) => c / unit),
    );
    if (!state.domain.isDense(index)) return;
    const low = state.domain.low(index);
    const high = state.domain.high(index);
    if (!(high - low < MAX_TABLE)) return;
    replaceTerms(state, index, atomForm(state.domain.atom(low, high, state.domain.isDataForm(index))));
    state.fork(() => true);
  }

  #loaded(bits: bigint, width: number): Form {
    return width === 64 ? rootForm(this.root({ kind: 'loaded', value: bits })) : bigForm(bits, width);
  }
}
