/**
 * Judges sessions: shadow execution answers for each launch, with and without provenance, and the simulator executes it on the
 * same memory. A byte that was written and is not in the answer is `missed`; a byte of an `exact` answer that was not
 * written is `excess`.
 *
 * With provenance an answer holds only for programs whose pointers stay in their allocations. A launch that writes outside of
 * every allocation is not judged in that mode. One that strays into another allocation is told by moving the allocations:
 * what is missed because of where they happen to be is missed elsewhere then.
 */
import { kernelsOfText } from './kernels.mjs';
import { randomProgram } from './programs.mjs';
import { seedOf } from './random.mjs';
import { BORDER, makeSetting, nextLaunch } from './session.mjs';

export const GRANULE = 512n;
const MAX_STEPS = 1_000_000;
/** Launches of a session at most. */
const LAUNCHES = 4;
/** Launches at least where geometry stays the same. */
const STEADY_LAUNCHES = 3;
/** Ranges of an answer that are looked at one by one at most. */
const MAX_RANGES = 1 << 18;

/** What sorted, disjoint `ranges` have and `others` have not. */
export function subtract(ranges, others) {
  const left = [];
  let at = 0;
  for (const { from, to } of ranges) {
    let start = from;
    while (at < others.length && others[at].to <= start) at++;
    for (let index = at; index < others.length && others[index].from < to; index++) {
      if (others[index].from > start) left.push({ from: start, to: others[index].from });
      if (others[index].to > start) start = others[index].to;
    }
    if (start < to) left.push({ from: start, to });
  }
  return left;
}

/** What was written, as addresses that wrap. */
function wrapped(ranges) {
  const end = 1n << 64n;
  if (!ranges.some(({ to }) => to > end)) return ranges;
  const inside = ranges.flatMap(({ from, to }) => {
    if (to <= end) return [{ from, to }];
    return from >= end
      ? [{ from: from - end, to: to - end }]
      : [
          { from: 0n, to: to - end },
          { from, to: end },
        ];
  });
  return inside.sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
}

const sizeOf = (ranges) => ranges.reduce((total, { from, to }) => total + (to - from), 0n);

/** Sorted ranges as whole granules. */
function granulesOf(ranges) {
  let count = 0n;
  let last = -1n;
  for (const { from, to } of ranges) {
    const first = from / GRANULE > last ? from / GRANULE : last + 1n;
    const end = (to - 1n) / GRANULE;
    if (end < first) continue;
    count += end - first + 1n;
    last = end;
  }
  return count;
}

/** Places in terms of allocations, which stay the same when allocations move. */
function relative(ranges, places) {
  return ranges.map(({ from, to }) => {
    const place = places.find(({ address, size }) => from >= BigInt(address) && from < BigInt(address + size));
    return place ? `${place.name}+${from - BigInt(place.address)}+${to - from}` : `0x${from.toString(16)}+${to - from}`;
  });
}

class Stage {
  constructor(library, entry, setting, modes) {
    this.library = library;
    this.entry = entry;
    this.setting = setting;
    this.places = [...setting.buffers, ...setting.variables];
    this.symbols = new Map(setting.variables.map(({ name, address }) => [name, BigInt(address)]));
    this.memory = new library.DeviceMemory();
    this.shadows = modes.map((provenance) => ({
      provenance,
      shadow: new library.ShadowExecutor(entry.templates, { provenance }),
    }));
    this.#setUp();
  }

  #each(action) {
    for (const { shadow } of this.shadows) action(shadow);
  }

  #setUp() {
    const { setting, entry } = this;
    if (setting.named) this.#each((shadow) => shadow.module(entry.source));
    for (const { name, address, size, image } of setting.variables) {
      if (size > 0) this.#each((shadow) => shadow.variable(name, BigInt(address), size));
      this.memory.map(address - BORDER, image);
    }
    for (const { address, size, image } of setting.buffers) {
      this.#each((shadow) => shadow.allocate(BigInt(address), size));
      this.memory.map(address - BORDER, image);
    }
    for (const place of this.places) this.#tell(place);
  }

  #tell(place) {
    const { random, tells } = this.setting;
    const { address, bytes, contents } = place;
    const copy = (at, length, known) => {
      const data = known ? bytes.slice(at, at + length) : undefined;
      this.#each((shadow) => shadow.copyIn(BigInt(address + at), length, data));
    };
    if (tells === 'all' && !place.variable) copy(0, Math.min(bytes.length, 4096), true);
    // What is not told is copied nevertheless: a variable may not keep its initial content for known.
    for (const [at, length] of contents)
      copy(at, length, tells === 'all' || tells === 'contents' || (tells === 'some' && random.chance(0.5)));
  }

  /** Something that the host does between launches. */
  disturb() {
    const { random } = this.setting;
    const place = random.pick(this.places);
    if (!place || place.size === 0) return;
    const { address, bytes } = place;
    const length = 4 * (1 + random.below(16));
    const at = 4 * random.below(Math.max(1, Math.floor((Math.min(bytes.length, place.size) - length) / 4)));
    if (at + length > Math.min(bytes.length, place.size)) return;
    const start = BigInt(address + at);
    const kind = random.below(4);
    if (kind === 0) {
      const data = new Uint8Array(length);
      for (let index = 0; index < length; index += 4) data[index] = random.below(64);
      bytes.set(data, at);
      const known = random.chance(0.7) ? data : undefined;
      this.#each((shadow) => shadow.copyIn(start, length, known));
    } else if (kind === 1) {
      const value = random.below(4);
      bytes.fill(value, at, at + length);
      this.#each((shadow) => shadow.fill(start, length, value));
    } else if (kind === 2) {
      const target = 4 * random.below(Math.max(1, Math.floor((Math.min(bytes.length, place.size) - length) / 4)));
      bytes.copyWithin(target, at, at + length);
      this.#each((shadow) => shadow.copy(start, BigInt(address + target), length));
    } else if (!place.variable) {
      this.#each((shadow) => {
        shadow.free(BigInt(address));
        shadow.allocate(BigInt(address), place.size);
      });
    }
  }

  /** Executes a launch; the error that ended it, if any. */
  execute(launch, seed, maxSteps) {
    const { memory, symbols } = this;
    memory.clearWritten();
    try {
      this.entry.compiled.launch({ ...launch, memory, symbols, outOfRange: 'ignore', maxSteps, seed });
      return undefined;
    } catch (error) {
      const [diagnostic] = error?.diagnostics ?? [];
      if (!diagnostic) throw error;
      return { code: diagnostic.code, message: diagnostic.message };
    }
  }

  /** The part of ranges that lies in allocations and variables. */
  live(ranges) {
    const sorted = this.places
      .map(({ address, size }) => ({ from: BigInt(address), to: BigInt(address + size) }))
      .sort((a, b) => (a.from < b.from ? -1 : 1));
    return subtract(ranges, subtract(ranges, sorted));
  }
}

/** One answer against what was written. */
function verdictOn(stage, set, written, error) {
  const ranges = set.ranges();
  const counted = set.verdict === 'exact' || set.verdict === 'bounded' ? written : stage.live(written);
  const missed = subtract(counted, ranges);
  const comparable = set.verdict === 'exact' && !error && !set.widened && ranges.length < MAX_RANGES;
  return { missed, excess: comparable ? subtract(ranges, written) : [] };
}

/**
 * Plays one session and judges its launches.
 *
 * @param options `chosen`: one case of the recipe, launched once as it is; `layout`: where allocations are; `modes`: with
 *   provenance, without, or both
 */
export function playSession(library, entry, session, options = {}) {
  const { seed, maxThreads = 1024, maxSteps = MAX_STEPS } = session;
  const { layout = 0, chosen, modes = [true, false] } = options;
  const seedHere = seedOf(`${seed} ${entry.file} ${entry.name} ${session.index}`);
  const setting = makeSetting(entry, seedHere, { layout, chosen });
  const stage = new Stage(library, entry, setting, modes);
  const count = chosen ? 1 : (setting.steady ? STEADY_LAUNCHES : 1) + setting.random.below(LAUNCHES);
  const launches = [];
  for (let number = 0; number < count; number++) {
    if (number > 0 && setting.random.chance(0.4)) stage.disturb();
    const varied = !chosen && setting.random.chance(0.85);
    const launch = nextLaunch(entry, setting, { maxThreads, varied });
    const answers = stage.shadows.map(({ provenance, shadow }) => ({ provenance, set: shadow.launch(launch) }));
    const error = stage.execute(launch, seedHere + number, maxSteps);
    const written = wrapped(stage.memory.written());
    const outside = subtract(written, stage.live(written)).length > 0;
    const judged = answers.map(({ provenance, set }) => ({
      provenance,
      set,
      skipped: provenance && outside,
      ...(provenance && outside ? { missed: [], excess: [] } : verdictOn(stage, set, written, error)),
    }));
    launches.push({ launch, written, bytes: sizeOf(written), error, outside, judged, number });
  }
  return { launches, places: stage.places, setting };
}

/** Judges a session; what it tells is small enough to keep for 10^5 of them. */
export function judgeSession(library, entry, session, options = {}) {
  const { launches, places } = playSession(library, entry, session, options);
  let moved;
  const results = launches.map(({ launch, written, bytes, error, outside, judged, number }) => {
    const findings = [];
    const strict = judged.find(({ provenance }) => !provenance);
    for (const { provenance, set, missed, excess } of judged) {
      if (excess.length > 0)
        findings.push({
          kind: 'excess',
          provenance,
          verdict: set.verdict,
          places: relative(excess.slice(0, 4), places),
        });
      if (missed.length === 0) continue;
      const where = relative(missed, places);
      if (provenance && (!strict || strict.missed.length === 0)) {
        moved ??= playSession(library, entry, session, { ...options, layout: 1, modes: [true] });
        const again = moved.launches[number]?.judged[0];
        const there = new Set(again ? relative(again.missed, moved.places) : []);
        if (!where.some((place) => there.has(place))) {
          findings.push({ kind: 'stray', provenance, verdict: set.verdict, places: where.slice(0, 4) });
          continue;
        }
      }
      findings.push({ kind: 'missed', provenance, verdict: set.verdict, places: where.slice(0, 4) });
    }
    const answer = judged[0];
    const told = !outside && !error && written.length > 0 ? granulesOf(answer.set.chunkRanges(Number(GRANULE))) : 0n;
    return {
      number,
      launch,
      bytes,
      error,
      outside,
      verdicts: judged.map(({ set }) => set.verdict),
      findings,
      told,
      wrote: told > 0n ? granulesOf(written) : 0n,
    };
  });
  return results;
}

/** Judges a session of a random kernel. */
export async function judgeProgram(library, seed, index) {
  const text = randomProgram(seedOf(`${seed} program ${index}`));
  const [entry] = await kernelsOfText(library, text);
  const session = { seed, index, maxThreads: 512, maxSteps: 200_000 };
  return { text, entry, session, results: judgeSession(library, entry, session) };
}
