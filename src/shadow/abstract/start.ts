/**
 * Where the evaluation of a launch starts: nowhere, when its threads are new; else from the ground that it shares with the launches
 * before, which is laid here.
 *
 * Soundness. A ground holds only what was evaluated without a fork, without loss and without relating atoms, over all threads; and
 * knows which words of the parameter block were looked at meanwhile. See {@link Ground}.
 */
import type { IntegerOperation } from '../../templates/index.js';
import type { LaunchRecord } from '../launch.js';
import { Control } from './control.js';
import { Domain } from './domain.js';
import type { Form } from './form.js';
import { Ground, History, type Start } from './ground.js';
import type { Environment } from './leaves.js';
import { fixedLine, type Line, Lines, NUMBER_LINE } from './lines.js';
import type { Loop } from './loops.js';
import { EXHAUSTED, INFEASIBLE, isScaledFloor, PROBE_FAILED, type ScaledFloor } from './state.js';

/** Where a launch starts that shares nothing with the one before. */
const NOTHING: Start = { domain: new Domain(), mark: 0, uniforms: 0, roots: 0, steps: new Map() };

export abstract class Starting extends Control {
  readonly #history = new History((this.plan.template.parameterBytes + 3) >> 2);
  /** What evaluations start from; undefined while the threads are others than those of the launch before. */
  #ground: Ground | undefined;

  /** Takes up a launch. Whatever an earlier one left is gone, but for what holds for this one too. */
  protected begin(launch: LaunchRecord, environment: Environment): void {
    this.launch = launch;
    this.environment = environment;
    const { buffer, byteOffset, byteLength } = launch.parameters;
    this.parameters = new DataView(buffer, byteOffset, byteLength);
    if (this.knownReads.length > 0) this.knownReads = [];
    if (this.symbols.length > 0) this.symbols = [];
    this.unread = false;
    if (this.untold.length > 0) this.untold = [];
    this.bounding = undefined;
    if (this.everywhere.size > 0) this.everywhere.clear();
    const sameThreads = this.#history.follow(launch, this.parameters, this.consulted);
    if (!sameThreads) {
      this.#ground = undefined;
      this.lines = undefined;
      this.#rewind(NOTHING);
      this.specials.clear();
      this.#prepare();
      this.threads = this.state.domain;
      this.state.domain = new Domain(this.threads);
      return;
    }
    if (!this.#ground?.holds(this.parameters)) {
      this.#rewind({ ...NOTHING, domain: this.threads });
      this.lines = undefined;
      this.#ground = this.#layGround(this.#ground?.lines);
    }
    this.lines = this.#ground.lines;
    this.#rewind(this.#ground);
  }

  /** Back to where evaluations start. */
  #rewind({ domain, mark, uniforms, roots, steps }: Start): void {
    const { state } = this;
    state.reset(new Domain(domain), mark, steps);
    while (this.uniformIds.length > uniforms) this.uniformMemo[this.uniformIds.pop()!] = undefined;
    if (this.loadedRoots.size > 0) this.loadedRoots.clear();
    while (this.roots.length > roots) this.roots.pop();
  }

  /** Makes the atoms of all thread coordinates that the slice names, before anything forks. */
  #prepare(): void {
    this.state.probing++;
    for (const name of this.plan.specials) this.special(name);
    this.state.probing--;
  }

  /**
   * Evaluates, for all threads, what should be the same in launches to come. What needs a fork, would lose precision or relates
   * atoms to others (which would say less once a guard narrows them) is left to those who ask for it.
   */
  #layGround(before: Lines | undefined): Ground {
    const { state } = this;
    const all = this.consulted;
    const consulted = new Uint8Array(all.length);
    this.consulted = consulted;
    let lines: Lines | undefined;
    const isLeft = new Uint8Array(this.plan.values.length);
    state.begin();
    state.probing++;
    try {
      for (const id of this.plan.valuesWithout(this.#history.varying)) {
        const snapshot = state.snapshot();
        if (!this.plan.operands[id]!.some((operand) => isLeft[operand]) && this.#isPlainlyEvaluated(id)) continue;
        isLeft[id] = 1;
        state.restore(snapshot);
      }
      for (const { variable, loop } of this.plan.variablesWithout(this.#history.varying))
        this.#laySteps(variable, loop);
      state.makeCanonical();
      lines = this.#layLines(before);
    } finally {
      state.probing--;
      this.consulted = all;
    }
    for (let word = 0; word < all.length; word++) if (consulted[word] !== 0) all[word] = 1;
    const { domain, mark, steps } = state;
    const start = { domain, mark, uniforms: this.uniformIds.length, roots: this.roots.length, steps };
    return new Ground(start, lines, consulted, this.parameters);
  }

  /** What is linear in the one word that varies; undefined when there is none, or more. */
  #layLines(before: Lines | undefined): Lines | undefined {
    const { plan } = this;
    const { varying } = this.#history;
    const words = plan.words.filter((offset) => varying[offset >> 2] !== 0);
    const [offset] = words;
    if (offset === undefined || words.length > 1) return undefined;
    const lines = new Lines(this.state.domain, offset, this.parameters.getInt32(offset, true), before);
    const others = varying.slice();
    others[offset >> 2] = 0;
    for (const id of plan.valuesWithout(others)) {
      if (this.#formIn(id) !== undefined) continue;
      const operands = plan.operands[id]!.map((operand) => this.#lineOf(operand, lines));
      if (!operands.every((line) => line !== undefined)) continue;
      const op = plan.names[id] as IntegerOperation;
      const line = lines.apply(op, plan.widths[id]!, plan.widths[plan.operands[id]![0]!]!, operands);
      if (line) lines.set(id, line);
    }
    return lines;
  }

  #lineOf(id: number, lines: Lines): Line | undefined {
    const { names, values } = this.plan;
    const isLeaf = names[id] === 'parameter' || names[id] === 'special';
    if (names[id] === 'parameter' && values[id]![2] === lines.offset && values[id]![1] === 32) return NUMBER_LINE;
    const form = this.#formIn(id) ?? (isLeaf ? this.raw(id) : undefined);
    return form && !isScaledFloor(form) ? fixedLine(form) : lines.lineOf(id);
  }

  #formIn(id: number): Form | ScaledFloor | undefined {
    return this.uniformMemo[id] ?? this.state.memo[id];
  }

  /** What a round adds to a variable, if that is a number for all threads: on some path it may be one where here it is none. */
  #laySteps(variable: number, loop: Loop): void {
    const { state } = this;
    try {
      if (this.stepOf(variable, loop) === undefined) state.deleteStep(variable);
    } catch (error) {
      if (error !== INFEASIBLE && error !== EXHAUSTED) throw error;
    }
  }

  #isPlainlyEvaluated(id: number): boolean {
    const { inexact, relations } = this.state.domain;
    try {
      this.raw(id);
    } catch (error) {
      if (error === PROBE_FAILED || error === INFEASIBLE || error === EXHAUSTED) return false;
      throw error;
    }
    return this.state.domain.inexact === inexact && this.state.domain.relations.length === relations.length;
  }
}
