/**
 * One launch, executed abstractly: for each write site where it goes, relative to the pointers it starts from. Depends on the
 * launch's geometry and on the parameter bytes that were looked at (`consultedWords`), on nothing else but known memory
 * (`knownReads`); so the result serves every launch that agrees in those.
 */
import type { Site, Verdict } from '../../templates/index.js';
import { ROW_ALIGNMENT } from '../concrete.js';
import type { Dimension } from '../descriptor.js';
import type { LaunchRecord } from '../launch.js';
import { TENSOR_MAP_BYTES, type TensorDimension, type TensorMap } from '../tensor-maps.js';
import { type BoxBudget, type RelativeDescriptor, resolveAddresses } from './boxes.js';
import {
  addForms,
  constantForm,
  type Form,
  isNumber,
  LIMIT,
  NO_ROOT,
  rootForm,
  withoutBig,
  withoutRoot,
} from './form.js';
import type { Environment, Root } from './leaves.js';
import { type Place, Places } from './places.js';
import type { SiteGroup } from './plan.js';
import { Starting } from './start.js';
import { EXHAUSTED, FORK, INFEASIBLE, type Option, PROBE_FAILED } from './state.js';
import { type BoxInTensor, boxInTensor, spanOf, wholeTensor } from './tiles.js';

/** Where a site goes, from one pointer. */
export interface Effect {
  /** Undefined: addresses are absolute. */
  readonly root: Root | undefined;
  readonly big: bigint;
  /** A pointer's number is in the offset, so the root does not tell the allocation. */
  readonly blurred: boolean;
  readonly exact: boolean;
  readonly descriptors: readonly RelativeDescriptor[];
  /** No finite description: anywhere, as far as the code tells. */
  readonly unbounded: boolean;
}

/** What became of a site that some thread may come to. */
export interface SiteOutcome {
  readonly site: Site;
  /** Among the paths looked at; `unknown` with `gaveUp`. */
  readonly verdict: Verdict;
  readonly effects: readonly Effect[];
  /** Evaluation ended without an answer (too many cases): nothing is known but what the template says. */
  readonly gaveUp: boolean;
}

/** Depends on geometry, on parameter words (`AbstractExecution.consultedWords`), and on what is named here. */
export interface AbstractResult {
  /** Of sites that may execute; without what is in `places`. */
  readonly outcomes: readonly SiteOutcome[];
  /** What is written exactly, from pointers whose number a launch tells. */
  readonly places: readonly Place[];
  readonly knownReads: readonly { readonly address: bigint; readonly content: Uint8Array }[];
  /** Memory was loaded from while none was known: known content might tell more. */
  readonly unread: boolean;
  /** Tensor maps that nobody had told. */
  readonly untold: readonly Uint8Array[];
  /** Variables whose place the result depends on. */
  readonly symbols: readonly (readonly [name: string, address: bigint | undefined])[];
}

/** Boxes of all addresses together at most; addresses after that get their hull. */
const LAUNCH_BOXES = 1 << 16;
/** Forks up to this depth are taken by all sites of a block together, which shares work. */
const SHARED_DEPTH = 3;

class Outcome implements SiteOutcome {
  runs = false;
  gaveUp = false;
  exact = true;
  unbounded = false;
  readonly effects: Effect[] = [];

  constructor(readonly site: Site) {}

  get verdict(): Verdict {
    return this.gaveUp || this.unbounded ? 'unknown' : this.exact ? 'exact' : 'bounded';
  }

  /** Hands over its effects where nothing else is to be said of it. */
  movesTo(places: Places): boolean {
    if (this.gaveUp || this.effects.length === 0 || !this.effects.every(isPlain)) return false;
    for (const { root, big, descriptors } of this.effects) places.add(root, big, descriptors);
    return true;
  }
}

/** Whether an effect is exact, and its place in memory follows from the launch alone. */
function isPlain({ exact, unbounded, root }: Effect): boolean {
  return exact && !unbounded && (root === undefined || root.kind === 'parameter' || root.kind === 'loaded');
}

/** Executes launches of one kernel, one after the other. */
export class AbstractExecution extends Starting {
  /** Of the sites of the group that is looked at, in its order. */
  #outcomes: Outcome[] = [];
  readonly #budget: BoxBudget = { boxes: LAUNCH_BOXES };

  /**
   * By word of four bytes of the parameter block, whether some result so far depends on it. Results are found again under all of
   * them, so that it does no harm when one depends on fewer.
   */
  get consultedWords(): Uint8Array {
    return this.consulted;
  }

  /** @param groups the sites to look at: `plan.countedGroups` or `plan.allGroups` */
  run(launch: LaunchRecord, environment: Environment, groups: readonly SiteGroup[]): AbstractResult {
    this.begin(launch, environment);
    this.#budget.boxes = LAUNCH_BOXES;
    const outcomes: Outcome[] = [];
    const places = new Places();
    for (const group of groups) {
      this.#group(group);
      for (const outcome of this.#outcomes) {
        if (outcome.runs && !outcome.movesTo(places)) outcomes.push(outcome);
      }
    }
    const { knownReads, unread, untold, symbols } = this;
    return { outcomes, places: places.all, knownReads, unread, untold, symbols };
  }

  #group(group: SiteGroup): void {
    const { state } = this;
    const snapshot = state.snapshot();
    state.begin();
    this.target = group.block;
    this.#outcomes = group.sites.map((index) => new Outcome(this.plan.template.writes[index]!));
    try {
      if (this.plan.irreducible) throw EXHAUSTED;
      this.#explore(group, 0, group.sites.length, 0);
    } catch (error) {
      // Deep recursion in a huge kernel ends like too many forks: without an answer.
      if (error !== EXHAUSTED && !(error instanceof RangeError)) throw error;
      for (const outcome of this.#outcomes) {
        outcome.runs = true;
        outcome.gaveUp = true;
      }
      state.probing = 0;
      this.bounding = undefined;
    }
    state.restore(snapshot);
  }

  #explore(group: SiteGroup, from: number, to: number, depth: number): void {
    let progress = from;
    try {
      this.finishLoops();
      if (!this.reach(group.block)) return;
      while (progress < to) {
        const run = group.runs[progress]!;
        const end = Math.min(run.end, to);
        if (end > progress + 1) this.#visitRun(progress, end, run.condition);
        else this.#visit(this.#outcomes[progress]!);
        progress = end;
      }
    } catch (error) {
      if (error === INFEASIBLE) return;
      if (error !== FORK) throw error;
      const together = depth < SHARED_DEPTH || progress === from;
      const end = together ? to : progress + 1;
      this.#branch(this.state.options, () => this.#explore(group, progress, end, depth + 1));
      if (!together) this.#explore(group, progress + 1, to, depth);
    }
  }

  /** Goes on in each option, and leaves the state as it was. */
  #branch(options: readonly Option[], then: () => void): void {
    const { state } = this;
    for (const option of options) {
      const snapshot = state.save();
      let holds = false;
      try {
        holds = option();
      } catch (error) {
        if (error === FORK) {
          const { loops } = snapshot;
          const again = () => {
            this.finishLoops(loops);
            return option();
          };
          this.#branch(state.options, () => this.#branch([again], then));
        } else if (error !== INFEASIBLE) throw error;
      }
      if (holds) then();
      state.restore(snapshot);
    }
  }

  /** Sites one after the other whose guards all ask for one condition: narrowed by it once, where that takes no fork. */
  #visitRun(from: number, to: number, condition: number): void {
    const { state } = this;
    const snapshot = state.save();
    const { inexact } = snapshot.domain;
    state.probing++;
    let holds: boolean | undefined;
    try {
      holds = this.assume(condition, true);
    } catch (error) {
      if (error !== PROBE_FAILED && error !== INFEASIBLE) throw error;
    } finally {
      state.probing--;
    }
    // What could not be told, or only less precisely, each site sees to after it has its address.
    const isShared = holds === true && state.domain.inexact === inexact;
    if (holds !== false) {
      if (!isShared) state.restore(snapshot);
      for (let at = from; at < to; at++) this.#visit(this.#outcomes[at]!);
    }
    if (isShared || holds === false) state.restore(snapshot);
  }

  #visit(outcome: Outcome): void {
    const { guard } = outcome.site;
    if (guard === undefined) {
      this.#emit(outcome);
      return;
    }
    this.#prefetch(outcome.site);
    const snapshot = this.state.save();
    this.#guarded(outcome, guard, false);
    this.state.restore(snapshot);
  }

  /**
   * A guarded site forks on its own: its guard does not hold for its neighbours.
   *
   * @param hasForked since its block was reached: of another round of a loop, the tests on the way to the block say something else
   */
  #guarded(outcome: Outcome, guard: number, hasForked: boolean): void {
    try {
      this.finishLoops();
      if (hasForked && !this.reach(this.target)) return;
      if (this.assume(guard, true)) this.#emit(outcome);
    } catch (error) {
      if (error === INFEASIBLE) return;
      if (error !== FORK) throw error;
      this.#branch(this.state.options, () => this.#guarded(outcome, guard, true));
    }
  }

  /** Computes an address before the guard narrows, so that neighbours share the work; only where that is as exact. */
  #prefetch(site: Site): void {
    const { state } = this;
    if (site.address === undefined || state.memo[site.address] !== undefined) return;
    const snapshot = state.save();
    state.probing++;
    let keep = false;
    try {
      this.evaluate(site.address);
      keep = state.domain.inexact === snapshot.domain.inexact;
    } catch (error) {
      if (error !== PROBE_FAILED && error !== INFEASIBLE) throw error;
    } finally {
      state.probing--;
    }
    if (!keep) state.restore(snapshot);
  }

  #emit(outcome: Outcome): void {
    const { site } = outcome;
    outcome.runs = true;
    if (site.coordinates !== undefined && site.address !== undefined) return this.#throughMap(outcome, site);
    if (site.address === undefined) {
      // What has no address says so in its verdict: memory of the device runtime is bounded, the rest may be anything.
      if (site.verdict === 'unknown') outcome.unbounded = true;
      else outcome.exact = outcome.exact && site.verdict === 'exact';
      return;
    }
    if (site.verdict === 'unknown' && site.bytes === 0 && site.length === undefined) {
      outcome.unbounded = true;
      return;
    }
    const address = this.evaluate(site.address);
    let exact = !site.masked;
    let width = site.bytes;
    if (site.length !== undefined) {
      const length = this.window(this.evaluate(site.length), this.plan.widths[site.length]!, false);
      const { domain } = this.state;
      const most = !length.isLarge ? domain.high(length) : Number.POSITIVE_INFINITY;
      if (!(most <= LIMIT)) return this.#unbounded(outcome, address);
      if (most <= 0) return;
      if (domain.low(length) !== most) {
        const settled = this.settled(length);
        if (settled) width = settled.constant;
        else {
          width = most;
          exact = false;
        }
      } else width = most;
    }
    if (width <= 0) {
      if (site.length === undefined) this.#unbounded(outcome, address);
      return;
    }
    let rows: Dimension | undefined;
    if (site.rows) {
      const stride = this.plain(this.evaluate(site.rows.stride));
      const number = isNumber(stride) ? stride : this.settled(stride);
      if (!number || number.constant < 0 || number.constant > LIMIT) return this.#unbounded(outcome, address);
      if (number.constant % ROW_ALIGNMENT === 0) rows = { stride: number.constant, count: site.rows.count };
      else {
        // Hardware rounds such strides down: the hull holds whatever it makes of it.
        width += (site.rows.count - 1) * number.constant;
        exact = false;
      }
    }
    const canonical = this.state.domain.canonical(address);
    if (!canonical) return this.#unbounded(outcome, address);
    const boxes = resolveAddresses(this.state.domain, canonical, width, this.#budget);
    if (boxes.unbounded) return this.#unbounded(outcome, address);
    exact = exact && boxes.exact && !this.state.domain.inexact;
    const descriptors = rows ? boxes.descriptors.map((descriptor) => withRows(descriptor, rows)) : boxes.descriptors;
    if (!exact) outcome.exact = false;
    this.#add(outcome, address, exact, descriptors, false);
  }

  /** Through a tensor map: where the map's tensor is, if the map is known. */
  #throughMap(outcome: Outcome, site: Site): void {
    const { coordinates = [], tensorMode: mode } = site;
    const map = this.#tensorMap(site.address!);
    // A map of another kind than the instruction's, or nobody knows which: anywhere.
    if (!map || mode === undefined || (mode === 'im2col') !== (map.kind === 'im2col'))
      return this.#unbounded(outcome, constantForm(0));
    const tensor = rootForm(this.root({ kind: 'loaded', value: map.address }));
    const { dimensions } = map;
    if (!dimensions) return this.#unbounded(outcome, tensor);
    const rank = mode === 'rows' ? 2 : coordinates.length;
    if (dimensions.length !== rank) return this.#unbounded(outcome, constantForm(0));
    const corner = mode === 'tile' ? coordinates.map((id) => this.window(this.evaluate(id), 32, true)) : undefined;
    // What a box adds to the domain is of this store alone.
    const { state } = this;
    const snapshot = state.save();
    const box = corner ? boxInTensor(state.domain, map, dimensions, corner) : wholeTensor(state.domain, dimensions);
    if (box === 'unknown') this.#unbounded(outcome, tensor);
    else if (box !== 'outside') this.#tile(outcome, tensor, map, dimensions, box);
    state.restore(snapshot);
  }

  /** Elements of a tensor at the places of a box. */
  #tile(
    outcome: Outcome,
    tensor: Form,
    map: TensorMap,
    dimensions: readonly TensorDimension[],
    { places, isExact }: BoxInTensor,
  ): void {
    const { domain } = this.state;
    const addressOf = (forms: readonly Form[]): Form | undefined => {
      let address: Form | undefined = tensor;
      for (const [axis, form] of forms.entries())
        address = address && addForms(address, form, dimensions[axis]!.stride, 64);
      return address && domain.canonical(address);
    };
    const exactly = isExact ? addressOf(places) : undefined;
    const boxes = exactly && resolveAddresses(domain, exactly, map.elementBytes, this.#budget);
    if (boxes?.exact && !boxes.unbounded && !domain.inexact)
      return this.#add(outcome, tensor, true, boxes.descriptors, false);
    // Each coordinate for itself.
    const spans = places.flatMap((form, axis) => spanOf(domain, form, dimensions[axis]!) ?? []);
    if (spans.length < places.length) return;
    outcome.exact = false;
    const hull = addressOf(spans);
    const around = hull && resolveAddresses(domain, hull, map.elementBytes, this.#budget);
    if (!around || around.unbounded) return this.#unbounded(outcome, tensor);
    this.#add(outcome, tensor, false, around.descriptors, false);
  }

  /** The tensor map at an address, if its content and what it means are known. */
  #tensorMap(id: number): TensorMap | undefined {
    const address = this.evaluate(id);
    const root = address.root === NO_ROOT ? undefined : this.roots[address.root]!;
    if (root?.kind === 'window') {
      const offset = root.space === 'parameter' && !address.isLarge ? this.settled(withoutRoot(address)) : undefined;
      if (!offset || offset.constant < 0 || offset.constant + TENSOR_MAP_BYTES > this.plan.template.parameterBytes)
        return undefined;
      this.consult(offset.constant, TENSOR_MAP_BYTES);
      const from = this.parameters.byteOffset + offset.constant;
      return this.#told(new Uint8Array(this.parameters.buffer, from, TENSOR_MAP_BYTES));
    }
    if (!this.environment.hasKnownMemory) {
      this.unread = true;
      return undefined;
    }
    const plain = this.plain(address);
    const offset = this.settled(withoutBig(plain));
    if (!offset) return undefined;
    const place = BigInt.asUintN(64, plain.big + BigInt(offset.constant));
    const content = this.environment.read(place, TENSOR_MAP_BYTES);
    if (!content) return undefined;
    this.knownReads.push({ address: place, content });
    return this.#told(content);
  }

  #told(content: Uint8Array): TensorMap | undefined {
    const map = this.environment.tensorMap(content);
    if (!map) this.untold.push(new Uint8Array(content));
    return map;
  }

  #unbounded(outcome: Outcome, address: Form): void {
    outcome.unbounded = true;
    this.#add(outcome, address, false, [], true);
  }

  #add(
    outcome: Outcome,
    address: Form,
    exact: boolean,
    descriptors: readonly RelativeDescriptor[],
    unbounded: boolean,
  ): void {
    const root = address.root === NO_ROOT ? undefined : this.roots[address.root]!;
    outcome.effects.push({ root, big: address.big, blurred: address.blurred, exact, descriptors, unbounded });
  }
}

function withRows(descriptor: RelativeDescriptor, rows: Dimension): RelativeDescriptor {
  if (rows.count === 1 || rows.stride === 0) return descriptor;
  const { start, width, dimensions } = descriptor;
  return { start, width, dimensions: [...dimensions, rows] };
}
