/**
 * The state of one evaluation, and forking: the domain, the values computed on the present path, the loops entered. A fork
 * throws {@link FORK}; whoever drives the evaluation saves the state, applies each option in turn and evaluates again, with
 * everything computed before still remembered.
 */
import { Domain } from './domain.js';
import type { Form } from './form.js';
import type { Plan } from './plan.js';

/** `floor(scale · operand / 2^shift)`: a product too large for a form, on its way to be shifted. */
export class ScaledFloor {
  constructor(
    readonly operand: Form,
    readonly scale: bigint,
    readonly shift: number,
  ) {}
}

export function isScaledFloor(value: Form | ScaledFloor): value is ScaledFloor {
  return value instanceof ScaledFloor;
}

/**
 * How far the evaluation is with a loop. `advancing` and `leaving` are unfinished business that may fork: whoever goes on after a
 * fork finishes it first (`Control.finishLoops`), since values of the round that it is about are remembered.
 */
export type LoopPhase =
  /** Executed round by round; not yet chosen whether this is the round that is looked at. */
  | 'offered'
  /** A later round is looked at: the next one's values are being computed. */
  | 'advancing'
  /** This is the round that is looked at. */
  | 'fixed'
  /** The loop is behind; being narrowed to its last round. */
  | 'leaving'
  /** The loop is behind, and the round is the last one. */
  | 'left';

export type LoopState =
  /** Every variable is affine in the number of the round, an atom. */
  | { readonly kind: 'affine'; readonly round: number; readonly phase: 'fixed' | 'leaving' | 'left' }
  /** Executed round by round. */
  | {
      readonly kind: 'unrolled';
      readonly round: number;
      readonly values: ReadonlyMap<number, Form>;
      readonly phase: LoopPhase;
    }
  /** Given up: variables may be anything. */
  | { readonly kind: 'widened' };

/** What the driver does next after {@link FORK}: each option narrows the state; false when nothing is left. */
export type Option = () => boolean;

/** Thrown by identity only: no stack, no allocation. */
export const FORK = { name: 'fork' };
/** The present path has no members. */
export const INFEASIBLE = { name: 'infeasible' };
/** A fork was needed where none is allowed. */
export const PROBE_FAILED = { name: 'probe failed' };
/** Steps for one block's sites at most, and for a launch. Exact answers have been seen to need up to 6,300. */
const MAX_WORK = 20_000;
const MAX_LAUNCH_WORK = 60_000;

/** Too much work. */
export const EXHAUSTED = { name: 'exhausted' };

export interface Snapshot {
  readonly domain: Domain;
  readonly loops: ReadonlyMap<number, LoopState>;
  readonly steps: ReadonlyMap<number, number | undefined>;
  readonly trail: number;
}

const NO_LOOPS: ReadonlyMap<number, LoopState> = new Map();
const NO_STEPS: ReadonlyMap<number, number | undefined> = new Map();

export class State {
  domain = new Domain();
  /** Loops entered, by header, in the order they were. Maps are replaced, not changed: snapshots share them. */
  loops: ReadonlyMap<number, LoopState> = NO_LOOPS;
  /** Steps of loop variables by phi: the number each round adds, or that there is none. On other paths it may be another. */
  steps: ReadonlyMap<number, number | undefined> = NO_STEPS;
  options: readonly Option[] = [];
  readonly memo: (Form | ScaledFloor | undefined)[];
  readonly #trailIds: number[] = [];
  readonly #trailValues: (Form | ScaledFloor | undefined)[] = [];
  /** Entries of the trail in use; it is not shortened, since setting the length of an array is slow. */
  #top = 0;
  /** Positive while forks are not allowed. */
  probing = 0;
  /** Steps done, about: values computed, atoms copied. */
  #work = 0;
  #limit = MAX_LAUNCH_WORK;

  constructor(plan: Plan) {
    this.memo = new Array(plan.values.length).fill(undefined);
  }

  remember(id: number, value: Form | ScaledFloor): void {
    this.#trail(id);
    this.memo[id] = value;
  }

  forget(id: number): void {
    if (this.memo[id] === undefined) return;
    this.#trail(id);
    this.memo[id] = undefined;
  }

  #trail(id: number): void {
    this.#trailIds[this.#top] = id;
    this.#trailValues[this.#top] = this.memo[id];
    this.#top++;
  }

  get mark(): number {
    return this.#top;
  }

  rollBack(mark: number): void {
    while (this.#top > mark) {
      this.#top--;
      this.memo[this.#trailIds[this.#top]!] = this.#trailValues[this.#top];
    }
  }

  /** Writes everything that is remembered over atoms that are not replaced, which holds as well and saves doing it at each use. */
  makeCanonical(): void {
    const { domain, memo } = this;
    for (let at = 0; at < this.#top; at++) {
      const id = this.#trailIds[at]!;
      const value = memo[id];
      if (value === undefined) continue;
      if (isScaledFloor(value)) {
        const operand = domain.canonical(value.operand);
        if (operand) memo[id] = new ScaledFloor(operand, value.scale, value.shift);
      } else memo[id] = domain.canonical(value) ?? value;
    }
  }

  /** Starts a launch: back to an early mark, over the given threads, with what is known of loops. */
  reset(domain: Domain, mark: number, steps: Snapshot['steps']): void {
    this.rollBack(mark);
    this.domain = domain;
    this.loops = NO_LOOPS;
    this.steps = steps;
    this.probing = 0;
    this.#work = 0;
    this.#limit = MAX_LAUNCH_WORK;
  }

  /** Starts with the sites of a block, which may not cost more than they should. */
  begin(): void {
    this.#limit = Math.min(this.#work + MAX_WORK, MAX_LAUNCH_WORK);
  }

  /** Counts work, and ends it when it was too much. */
  spend(steps: number): void {
    this.#work += steps;
    if (this.#work > this.#limit) throw EXHAUSTED;
  }

  setLoop(header: number, loop: LoopState): void {
    this.loops = new Map(this.loops).set(header, loop);
  }

  deleteLoop(header: number): void {
    if (this.loops.has(header)) this.loops = without(this.loops, header);
  }

  setStep(phi: number, step: number | undefined): void {
    this.steps = new Map(this.steps).set(phi, step);
  }

  deleteStep(phi: number): void {
    if (this.steps.has(phi)) this.steps = without(this.steps, phi);
  }

  /** For an option that is tried. */
  save(): Snapshot {
    this.spend(4 + this.domain.lo.length + 4 * this.domain.groups.length);
    return this.snapshot();
  }

  snapshot(): Snapshot {
    const { domain, loops, steps, mark } = this;
    return { domain: new Domain(domain), loops, steps, trail: mark };
  }

  /** Back to a snapshot, which may be used once only. */
  restore({ domain, loops, steps, trail }: Snapshot): void {
    this.domain = domain;
    this.loops = loops;
    this.steps = steps;
    this.rollBack(trail);
  }

  /** Ends the evaluation here, to go on in each option. */
  fork(...options: Option[]): never {
    if (this.probing > 0) throw PROBE_FAILED;
    this.options = options;
    throw FORK;
  }
}

function without<T>(map: ReadonlyMap<number, T>, key: number): ReadonlyMap<number, T> {
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}
