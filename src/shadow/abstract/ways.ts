/**
 * The way control takes to a block, on top of conditions; and what values that differ by the way are.
 *
 * Soundness. A block is entered by every thread of the domain that may enter it: `reach` narrows only by conditions that
 * certainly hold on each way to the block, and forks where ways differ.
 */
import type { SliceEnd } from '../../templates/index.js';
import { Conditions } from './conditions.js';
import { addForms, addNumber, constantForm, type Form } from './form.js';
import type { Loop, LoopExit, PhiEntries } from './loops.js';
import { PROBE_FAILED } from './state.js';

export abstract class Ways extends Conditions {
  /** Block of the access that is looked at. */
  protected target = 0;

  /**
   * Positive while values are asked for that not all threads of the domain come to: the way there narrows nothing then, and the answer
   * means nothing for those who do not come. Where nobody does, or it cannot be done so, {@link PROBE_FAILED} is thrown.
   */
  protected strict = 0;

  /** Narrows to threads that enter a block; false when there are none. */
  protected reach(block: number): boolean {
    const route = this.plan.route(block);
    if (route === undefined) return false;
    for (const { condition, want, from, to } of route) {
      if (condition >= 0 ? !this.assume(condition, want) : !this.#walk(from, to)) return false;
    }
    return true;
  }

  /** Narrows to threads that come from a dominator to a block in the same round of the loops around both. */
  #walk(from: number, to: number): boolean {
    const ways = this.plan.ways(to);
    for (let at = from; at !== to; ) {
      if (ways[at] === 2) return true;
      if (ways[at] === 0) return false;
      const step = this.#step(at, to, ways);
      if (step === undefined) {
        this.state.domain.inexact = true;
        return true;
      }
      at = step.to;
    }
    return true;
  }

  /** One step on the way to `target`: over a whole loop that does not hold it; undefined when the way cannot be told. */
  #step(at: number, target: number, ways: Int8Array): { readonly from: number; readonly to: number } | undefined {
    let loop: Loop | undefined;
    for (let header = this.plan.loopOf[at]!; header >= 0; ) {
      const around = this.plan.loops.get(header)!;
      if (!around.members.has(target)) loop = around;
      header = around.parent;
    }
    if (loop) {
      const [exit, ...others] = loop.exits.filter(({ to }) => ways[to] !== 0);
      if (!exit || others.length > 0) return undefined;
      this.#passOver(loop, exit, ways);
      return exit;
    }
    const { end } = this.plan.template.blocks[at]!;
    const live = this.plan.forward(at, target).filter((to) => ways[to] !== 0);
    if (end[0] === 'branch') {
      const yes = live.includes(end[2]);
      const no = live.includes(end[3]);
      if (yes && no && end[2] !== end[3]) {
        const truth = this.#decided(end[1]);
        return { from: at, to: truth ? end[2] : end[3] };
      }
      if (end[2] !== end[3]) this.#require(end[1], yes);
      return { from: at, to: yes ? end[2] : end[3] };
    }
    if (end[0] === 'switch') return { from: at, to: this.#switch(end) };
    return live.length === 1 ? { from: at, to: live[0]! } : undefined;
  }

  /** Leaves out threads that leave a loop for somewhere else than by the one exit on the way, as far as that can be told. */
  #passOver({ exits }: Loop, taken: LoopExit, ways: Int8Array): void {
    for (const exit of exits) {
      if (ways[exit.to] !== 0) continue;
      // The outcome is the same in all rounds, and each that comes to the exit taken comes to this one first.
      const isSteady = exit.condition >= 0;
      if (isSteady && this.truth(exit.condition) === (exit.leaveWhen ? 0 : 1)) continue;
      if (isSteady && this.plan.tree.dominates(exit.from, taken.from)) this.#require(exit.condition, !exit.leaveWhen);
      else this.state.domain.inexact = true;
    }
  }

  /** Narrows to threads for which a condition on their way is as wanted. */
  #require(id: number, want: boolean): void {
    if (this.strict > 0) {
      // Nobody comes by this way, as far as all are the same.
      if (this.truth(id) === (want ? 0 : 1)) throw PROBE_FAILED;
    } else if (!this.assume(id, want)) this.infeasible();
  }

  /** A condition's value, forking when it differs between members. */
  #decided(id: number): boolean {
    const truth = this.truth(id);
    if (truth >= 0) return truth === 1;
    this.state.fork(
      () => this.assume(id, true),
      () => this.assume(id, false),
    );
  }

  /** Target of a switch, forking over ranges of the index. */
  #switch(end: Extract<SliceEnd, readonly ['switch', ...unknown[]]>): number {
    const targets = end.slice(2) as number[];
    const index = this.window(this.evaluate(end[1]), this.plan.widths[end[1]]!, false);
    const { domain } = this.state;
    const low = Math.min(domain.low(index), targets.length - 1);
    const high = Math.min(domain.high(index), targets.length - 1);
    const target = targets[low]!;
    let last = low;
    while (last < high && targets[last + 1] === target) last++;
    if (last === high) return target;
    this.state.fork(
      () => this.assumeSign(addForms(constantForm(last), index, -1, 64)!, true),
      () => this.assumeSign(addNumber(index, -last - 1)!, true),
    );
  }

  // --- phis ---

  /** The value of a loop's variable in the round that is looked at. */
  protected abstract variable(id: number, loop: Loop): Form;

  protected phi(id: number): Form {
    const block = this.plan.blockOf[id]!;
    const loop = this.plan.loops.get(block);
    if (loop) return this.variable(id, loop);
    return this.merge(block, this.plan.entries[id]!, this.plan.widths[id]!);
  }

  /** The operand that belongs to the way taken into a block. */
  protected merge(block: number, { operands, choices }: PhiEntries, width: number): Form {
    if (choices.length === 1) return this.evaluate(choices[0]!);
    const predecessor = this.#wayInto(block, operands);
    const chosen = predecessor === undefined ? undefined : operands.get(predecessor);
    if (chosen !== undefined) return this.evaluate(chosen);
    this.state.domain.inexact = true;
    return this.hull(choices, width);
  }

  /** One of several values, which one is not known. */
  protected hull(choices: readonly number[], width: number): Form {
    let forms: Form[];
    // Those who come to one of them need not come to the others.
    this.strict++;
    try {
      forms = choices.map((choice) => this.plain(this.evaluate(choice), width));
    } catch (error) {
      if (error !== PROBE_FAILED) throw error;
      this.state.domain.inexact = true;
      return this.unknown(width);
    } finally {
      this.strict--;
    }
    const { domain } = this.state;
    if (forms.some((form) => form.isLarge)) return this.unknown(width);
    return this.between(
      Math.min(...forms.map((form) => domain.low(form))),
      Math.max(...forms.map((form) => domain.high(form))),
    );
  }

  /** The predecessor by which a block is entered (not by a back edge); undefined when it cannot be told. */
  #wayInto(block: number, operands: ReadonlyMap<number, number>): number | undefined {
    const ways = this.plan.ways(block);
    let at = this.plan.idom[block]!;
    for (let steps = 0; steps <= this.plan.successors.length; steps++) {
      const step = this.#step(at, block, ways);
      if (!step) return undefined;
      if (step.to === block) return operands.has(step.from) ? step.from : undefined;
      at = step.to;
    }
    return undefined;
  }
}
