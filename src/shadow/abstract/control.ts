/**
 * Loops, on top of the way control takes.
 *
 * Soundness. A loop's variables are affine in the number of the round when each round adds the same; the rounds are bounded by tests
 * that every round passes, after checking that nothing wraps up to there. Loops without such variables are executed round by round,
 * and widened when that takes too long.
 */
import { Domain } from './domain.js';
import {
  addForms,
  addNumber,
  atomForm,
  coefficientOf,
  type Form,
  isNumber,
  NO_ROOT,
  scaleForm,
  withoutRoot,
} from './form.js';
import type { Loop } from './loops.js';
import { INFEASIBLE, type LoopState, PROBE_FAILED } from './state.js';
import { Ways } from './ways.js';

type Unrolled = Extract<LoopState, { kind: 'unrolled' }>;

/** Rounds of a loop that are executed one by one at most. */
const MAX_ROUNDS = 1024;
/** The same when what decides over them is not known, so that nothing exact can come of it. */
const MAX_VAGUE_ROUNDS = 4;

export abstract class Control extends Ways {
  protected variable(id: number, loop: Loop): Form {
    const width = this.plan.widths[id]!;
    const { state } = this;
    const known = state.loops.get(loop.header);
    if (known?.kind === 'widened') return this.#anything(width);
    if (known?.kind === 'unrolled') return this.#unrolled(id, loop, known);
    const step = this.stepOf(id, loop);
    if (step === 0) return this.#entryValue(id, loop);
    if (known === undefined && this.#wouldLose(loop)) throw PROBE_FAILED;
    if (step === undefined) return this.#unroll(loop);
    const round = this.#round(loop);
    if (round === undefined) return this.#unroll(loop);
    this.#settle(loop);
    const start = this.#entryValue(id, loop);
    return addForms(start, atomForm(round), step, width) ?? this.#anything(width);
  }

  #anything(width: number): Form {
    this.state.domain.inexact = true;
    return this.unknown(width);
  }

  /**
   * What a round adds to a variable, when it is always the same number: of any round that another one follows, so nothing counts that was
   * assumed of the round that is looked at, or remembered of it.
   */
  protected stepOf(id: number, loop: Loop): number | undefined {
    const { state } = this;
    if (state.steps.has(id)) return state.steps.get(id);
    const saved = state.domain;
    const { mark, loops, steps } = state;
    state.domain = new Domain(saved);
    this.#forgetInner(loop);
    for (const part of loop.parts.get(id)!) state.forget(part);
    state.probing++;
    let step: number | undefined;
    try {
      const markers = new Map<number, number>();
      for (const phi of loop.variables) {
        const marker = state.domain.atom(Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, true);
        markers.set(phi, marker);
        state.remember(phi, atomForm(marker));
      }
      const marker = markers.get(id)!;
      const width = this.plan.widths[id]!;
      for (const back of loop.backs.get(id)!) {
        const next = this.evaluate(back);
        const change = addForms(next, atomForm(marker), -1, width);
        const own = change && isNumber(change) ? change.constant : undefined;
        if (own === undefined || (step !== undefined && step !== own)) {
          step = undefined;
          break;
        }
        step = own;
      }
    } catch (error) {
      // No thread comes to a next round: that says nothing of this one.
      if (error !== PROBE_FAILED && error !== INFEASIBLE) throw error;
      step = undefined;
    } finally {
      state.probing--;
      state.rollBack(mark);
      state.domain = saved;
      state.loops = loops;
      state.steps = steps;
    }
    state.setStep(id, step);
    return step;
  }

  /** Loops within a loop are in another round when it is. */
  #forgetInner({ header, members }: Loop): void {
    for (const inner of this.state.loops.keys())
      if (inner !== header && members.has(inner)) this.state.deleteLoop(inner);
  }

  /**
   * Whether it is a round of the loop that is looked at, or where it was left: outside of it, and in the round before of a loop around it.
   */
  #isWithin({ header, members }: Loop): boolean {
    if (!members.has(this.target)) return false;
    for (const [outer, state] of this.state.loops) {
      if (outer === header || state.kind !== 'unrolled' || state.phase !== 'advancing') continue;
      if (this.plan.loops.get(outer)!.members.has(header)) return false;
    }
    return true;
  }

  /** Whether narrowing to the round in which a loop is left would leave out threads that did not come to it. */
  #wouldLose(loop: Loop): boolean {
    if (this.strict === 0 || loop.exits.length > 1 || this.#isWithin(loop)) return false;
    for (const one of this.state.loops.values()) if (one.kind === 'unrolled' && one.phase === 'advancing') return true;
    return !this.plan.tree.dominates(loop.header, this.target);
  }

  /** The atom that numbers a loop's rounds, bounded by its tests; undefined when nothing bounds it. */
  #round(loop: Loop): number | undefined {
    const { state } = this;
    const known = state.loops.get(loop.header);
    if (known?.kind === 'affine') return known.round;
    const tests = loop.tests;
    for (const { outside } of tests) for (const id of outside) this.evaluate(id);
    if (state.probing > 0) throw PROBE_FAILED;
    const savedDomain = new Domain(state.domain);
    const { mark } = state;
    const round = state.domain.atom(0, Number.POSITIVE_INFINITY);
    state.setLoop(loop.header, { kind: 'affine', round, phase: 'fixed' });
    const bounding = { atom: round, promises: [] as { form: Form; low: number; high: number }[] };
    const outer = this.bounding;
    this.bounding = bounding;
    state.probing++;
    // Tests are asked of any round, by threads that need not come to them in the one that is looked at.
    this.strict++;
    const { loops } = state;
    this.#forgetInner(loop);
    const bounds: Form[] = [];
    try {
      for (const { condition, stayWhen, parts } of tests) {
        const promised = bounding.promises.length;
        const before = state.mark;
        for (const part of parts) state.forget(part);
        let bound: Form | undefined;
        try {
          bound = this.#bound(condition, stayWhen, round);
        } catch (error) {
          if (error !== PROBE_FAILED && error !== INFEASIBLE) throw error;
        }
        if (bound) {
          bounds.push(bound);
          for (const part of parts) state.forget(part);
        } else {
          // What was computed under promises goes with them.
          bounding.promises.length = promised;
          state.rollBack(before);
        }
      }
    } finally {
      this.strict--;
      state.loops = loops;
      this.bounding = outer;
      state.probing--;
    }
    const fail = () => {
      state.rollBack(mark);
      state.domain = savedDomain;
      state.deleteLoop(loop.header);
      return undefined;
    };
    if (bounds.length === 0) return fail();
    // In the whole of the bounded domain no promised window may be left.
    const bounded = new Domain(state.domain);
    const isFeasible = bounds.every((bound) => bounded.assumeNonNegative(bound));
    if (isFeasible) {
      if (!Number.isFinite(bounded.hi[round]!)) return fail();
      for (const { form, low, high } of bounding.promises) {
        if (bounded.low(form) < low || bounded.high(form) > high) return fail();
      }
    }
    const isPartial = bounds.length < loop.exits.length;
    if (isPartial) state.domain.inexact = true;
    // Round zero is always there; later rounds when the tests before them held.
    const first = bounds.map((bound) => {
      const c = coefficientOf(bound, round);
      return addForms(bound, atomForm(round), -c, 64)!;
    });
    if (first.every((form) => state.domain.low(form) >= 0)) {
      if (!isFeasible) this.infeasible();
      state.domain = bounded;
      if (isPartial) bounded.inexact = true;
      return round;
    }
    // Variables are remembered from here on, so nothing else would leave the loop.
    if (!this.#isWithin(loop)) state.setLoop(loop.header, { kind: 'affine', round, phase: 'leaving' });
    state.fork(
      () => {
        const { domain } = this.state;
        domain.confine(round, domain.lo[round]!, 0);
        return true;
      },
      () => {
        const { domain } = this.state;
        domain.confine(round, 1, domain.hi[round]!);
        return bounds.every((bound) => this.state.domain.assumeNonNegative(bound));
      },
    );
  }

  /**
   * From a test that every round passes: a form that is not negative for each round from the second on, namely the test's form in
   * the round before. Only tests that fail for good once they fail.
   */
  #bound(condition: number, stayWhen: boolean, round: number): Form | undefined {
    const op = this.plan.names[condition]!;
    const args = this.plan.operands[condition]!;
    if (op === 'not') return this.#bound(args[0]!, !stayWhen, round);
    if (op === 'and' && stayWhen) return this.#bound(args[0]!, true, round) ?? this.#bound(args[1]!, true, round);
    if (op === 'or' && !stayWhen) return this.#bound(args[0]!, false, round) ?? this.#bound(args[1]!, false, round);
    if (!this.plan.isComparison[condition] || this.plan.widths[args[0]!]! === 1) return undefined;
    let form: Form | undefined;
    if (op === 'equal' || op === 'notEqual') {
      if ((op === 'notEqual') !== stayWhen) return undefined;
      form = this.#approach(args, round);
    } else {
      const order = this.order(condition);
      const opposite = order && scaleForm(order, -1, 64);
      form = stayWhen ? order : opposite && addNumber(opposite, -1);
    }
    if (form === undefined || form.isLarge || form.root !== NO_ROOT) return undefined;
    const c = coefficientOf(form, round);
    return c < 0 ? addNumber(form, -c) : undefined;
  }

  /** `a ≠ b` as an order: the difference comes to zero in steps that hit it. */
  #approach(args: readonly number[], round: number): Form | undefined {
    let a = this.evaluate(args[0]!);
    let b = this.evaluate(args[1]!);
    if (a.root !== NO_ROOT && a.root === b.root) {
      a = withoutRoot(a);
      b = withoutRoot(b);
    }
    const width = this.plan.widths[args[0]!]!;
    const raw = addForms(this.plain(a), this.plain(b), -1, width);
    if (raw === undefined || raw.isLarge) return undefined;
    const difference = this.window(raw, width, true);
    const c = coefficientOf(difference, round);
    const first = addForms(difference, atomForm(round), -c, 64);
    if (!first || c === 0) return undefined;
    const size = Math.abs(c);
    if (size !== 1 && [first.constant, ...first.coefs].some((part) => part % size !== 0)) return undefined;
    const { domain } = this.state;
    if (c > 0 && domain.high(first) <= 0) return addNumber(scaleForm(difference, -1, 64)!, -1);
    if (c < 0 && domain.low(first) >= 0) return addNumber(difference, -1);
    return undefined;
  }

  // --- round by round ---

  #unroll(loop: Loop): Form {
    const { state } = this;
    if (state.probing > 0) throw PROBE_FAILED;
    const values = new Map<number, Form>();
    for (const phi of loop.variables) values.set(phi, this.#entryValue(phi, loop));
    const start = { kind: 'unrolled', round: 0, values, phase: 'offered' } as const;
    this.#forgetLoop(loop);
    state.setLoop(loop.header, start);
    this.#offer(loop, start);
  }

  #entryValue(phi: number, loop: Loop): Form {
    return this.merge(loop.header, this.plan.entries[phi]!, this.plan.widths[phi]!);
  }

  #forgetLoop(loop: Loop): void {
    const { state } = this;
    for (const block of loop.members) {
      for (let id = this.plan.template.blocks[block]!.first; id < this.plan.ends[block]!; id++) {
        if (!this.plan.uniform[id]) state.forget(id);
        state.deleteStep(id);
      }
      if (block !== loop.header) state.deleteLoop(block);
    }
  }

  /** Either this round is the one that is looked at, or a later one. */
  #offer(loop: Loop, current: Unrolled): never {
    const { header } = loop;
    const here = this.#isWithin(loop) ? 'fixed' : 'leaving';
    this.state.fork(
      () => {
        this.state.setLoop(header, { ...current, phase: here });
        return true;
      },
      () => {
        this.state.setLoop(header, { ...current, phase: 'advancing' });
        return true;
      },
    );
  }

  #unrolled(id: number, loop: Loop, current: Unrolled): Form {
    if (current.phase === 'offered') this.#offer(loop, current);
    return current.values.get(id) ?? this.#anything(this.plan.widths[id]!);
  }

  /**
   * Finishes what a fork interrupted: loops on their way to the next round, or being left. To be called before anything is
   * evaluated after a fork.
   *
   * @param except states of loops that were under way before, and are to stay so
   */
  protected finishLoops(except?: ReadonlyMap<number, LoopState>): void {
    const { state } = this;
    while (state.loops.size > 0) {
      // The last one first: it began while the others were under way.
      let header = -1;
      let known: LoopState | undefined;
      for (const [at, one] of state.loops) {
        if (one.kind === 'widened' || except?.get(at) === one) continue;
        if (one.phase !== 'advancing' && one.phase !== 'leaving') continue;
        header = at;
        known = one;
      }
      if (known === undefined) return;
      const loop = this.plan.loops.get(header)!;
      if (known.kind === 'unrolled' && known.phase === 'advancing') this.#advance(loop, known);
      else this.#leave(loop);
    }
  }

  /** Computes the next round's variables, for threads that stay in the loop. */
  #advance(loop: Loop, current: Unrolled): void {
    const { state } = this;
    if (current.round >= (state.domain.inexact ? MAX_VAGUE_ROUNDS : MAX_ROUNDS)) {
      this.#forgetLoop(loop);
      state.setLoop(loop.header, { kind: 'widened' });
      state.domain.inexact = true;
      return;
    }
    const tests = loop.tests;
    for (const { condition, stayWhen } of tests) if (!this.assume(condition, stayWhen)) throw INFEASIBLE;
    if (tests.length < loop.exits.length) state.domain.inexact = true;
    const values = new Map<number, Form>();
    for (const phi of loop.variables) {
      const backs = [...new Set(loop.backs.get(phi)!)];
      values.set(phi, backs.length === 1 ? this.evaluate(backs[0]!) : this.hull(backs, this.plan.widths[phi]!));
      if (backs.length > 1) state.domain.inexact = true;
    }
    const next = { kind: 'unrolled', round: current.round + 1, values, phase: 'offered' } as const;
    this.#forgetLoop(loop);
    state.setLoop(loop.header, next);
    this.#offer(loop, next);
  }

  /** Behind a loop, its variables are those of the round in which it was left. */
  #settle(loop: Loop): void {
    const { header } = loop;
    const { state } = this;
    const known = state.loops.get(header);
    if (!known || known.kind === 'widened' || known.phase !== 'fixed' || this.#isWithin(loop)) return;
    if (state.probing > 0 || this.#wouldLose(loop)) throw PROBE_FAILED;
    state.setLoop(header, { ...known, phase: 'leaving' });
    this.#leave(loop);
  }

  /** Narrows to threads that leave the loop in this round. */
  #leave(loop: Loop): void {
    const { state } = this;
    const [test, ...others] = loop.tests;
    if (!test || others.length > 0 || loop.exits.length > 1) state.domain.inexact = true;
    else if (!this.assume(test.condition, !test.stayWhen)) this.infeasible();
    const known = state.loops.get(loop.header)!;
    if (known.kind !== 'widened') state.setLoop(loop.header, { ...known, phase: 'left' });
  }
}
