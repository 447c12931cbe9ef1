/**
 * A checkpoint of a running application. The application is held while the memory that may have changed is copied; hashing, writing
 * and the commit come after it was released, unless there is too much to be held aside. At any failure before the commit the
 * application goes on, nothing is in the store, and what was dirty still is.
 */
import { hostname } from 'node:os';
import {
  type Allocation,
  type AllocationKind,
  CHUNK_BYTES,
  type ChunkRange,
  chunksOf,
  type Manifest,
  type ReadBytes,
  type Store,
  StoreError,
} from '../checkpoint/index.js';
import { hashChunks } from '../native/index.js';
import { bytesOfRange, type DirtyMark, dirtyChunks, withTheRest } from './dirty.js';
import { checkCancelled } from './errors.js';
import type { LiveAllocation } from './event-bridge.js';
import { LaunchStatistics } from './launch-statistics.js';
import type { OperationContext, SupervisedProcess } from './process.js';

export interface CheckpointOptions {
  /** Look at all memory, and depend on no other checkpoint. */
  readonly full?: boolean;
  /** Look at all memory, and report what changed though it was called clean. */
  readonly verify?: boolean;
  readonly note?: string;
  readonly command: readonly string[];
  /** Keep the application held when the checkpoint is written. */
  readonly keepHeld?: boolean;
  /**
   * Called when the application is held and what only it can reach (memory without a handle) was copied; `copy` copies the rest out of custody.
   */
  readonly around?: (copy: () => Promise<void>) => Promise<void>;
}

/** A chunk that changed though no launch and no copy was thought to write it. */
export interface MissedChunk {
  readonly allocation: string;
  readonly address: string;
  readonly chunk: number;
  /** Kernels that may have written it. */
  readonly kernels: readonly string[];
}

export interface CheckpointResult {
  readonly manifest: Manifest;
  /** Why it is a full one, when an increment was possible in principle. */
  readonly fullBecause?: string;
  /** Chunks that were looked at because something may have written them. */
  readonly dirtyChunks: number;
  readonly dirtyBytes: number;
  readonly totalBytes: number;
  /** How long the application was held, in milliseconds. */
  readonly heldMs: number;
  readonly missed: readonly MissedChunk[];
  readonly missedCount: number;
}

/** What may be copied aside so that the application goes on sooner. */
const ASIDE_BYTES = 1 << 30;
const PIECE_BYTES = 4 << 20;
const MAX_MISSED = 20;

/** One allocation and what of it is saved. */
interface Part {
  readonly live: LiveAllocation;
  readonly stored: Allocation;
  readonly ranges: readonly ChunkRange[];
}

interface Plan {
  readonly kind: 'full' | 'increment';
  readonly parent: string | null;
  readonly fullBecause: string | undefined;
  readonly parts: readonly Part[];
  /** The moment it is of. */
  readonly mark: DirtyMark;
  readonly statistics: LaunchStatistics;
}

const kindOf = (live: LiveAllocation): AllocationKind => (live.kind === 'variable' ? 'variable' : 'device');

/** An allocation as the store has it. */
export function storedAllocation(process: SupervisedProcess, live: LiveAllocation): Allocation {
  const { address, size, label } = live;
  return { id: process.storeId(live), address, size, kind: kindOf(live), label };
}

/** Why a checkpoint has to be a full one; undefined when it need not. */
async function whyFull(
  process: SupervisedProcess,
  store: Store,
  options: CheckpointOptions,
): Promise<string | undefined> {
  if (options.full) return 'asked for';
  if (!process.last) return 'the first one of this process';
  const { state } = process.bridge;
  if (state.kind !== 'recording') return `recording stopped: ${state.reason}`;
  try {
    await store.manifest(process.last.id);
    return undefined;
  } catch (error) {
    if (error instanceof StoreError) return `the parent cannot be used: ${error.diagnostics[0]!.message}`;
    throw error;
  }
}

function makePlan(process: SupervisedProcess, fullBecause: string | undefined, verify: boolean): Plan {
  const { bridge, last } = process;
  const before = fullBecause === undefined ? last : undefined;
  const mark = bridge.dirty.mark();
  const dirty = before && bridge.dirty.since(before.mark);
  const statistics = bridge.statistics;
  bridge.statistics = new LaunchStatistics();
  const parts = [...bridge.allocations.values()].map((live): Part => {
    const stored = storedAllocation(process, live);
    const all = [{ from: 0, count: chunksOf(live.size) }];
    // What appeared since is not in the parent, so all of it is needed.
    const isNew = before !== undefined && !process.saved.has(live.number);
    if (!dirty || isNew) return { live, stored, ranges: all };
    // The host may have changed managed memory without anybody's seeing it.
    const unseen = [{ ...all[0]!, origin: 'unknown' as const }];
    const ranges = live.kind === 'managed' ? unseen : dirtyChunks(live.address, live.size, dirty);
    return { live, stored, ranges: verify ? withTheRest(live.size, ranges) : ranges };
  });
  return { kind: before ? 'increment' : 'full', parent: before?.id ?? null, fullBecause, parts, mark, statistics };
}

const bytesOf = (parts: readonly Part[], wanted: (range: ChunkRange) => boolean = () => true): number =>
  parts.reduce(
    (sum, { live, ranges }) =>
      sum +
      ranges.filter(wanted).reduce((own, range) => {
        const { from, to } = bytesOfRange(live.size, range);
        return own + to - from;
      }, 0),
    0,
  );

/** Reads from the device, and tells progress. */
function deviceReader(process: SupervisedProcess, part: Part, told: (bytes: number) => void): ReadBytes {
  return async (_, from, to) => {
    const bytes = new Uint8Array(to - from);
    await process.custody.read(part.live, from, bytes);
    told(bytes.length);
    return bytes;
  };
}

/** Copies what a part saves, and reads from the copy afterwards. */
async function copyAside(part: Part, read: ReadBytes, signal: AbortSignal): Promise<ReadBytes> {
  const copies: { readonly from: number; readonly to: number; readonly bytes: Uint8Array }[] = [];
  for (const range of part.ranges) {
    const whole = bytesOfRange(part.live.size, range);
    for (let from = whole.from; from < whole.to; from += PIECE_BYTES) {
      checkCancelled(signal);
      const to = Math.min(whole.to, from + PIECE_BYTES);
      copies.push({ from, to, bytes: await read(part.stored, from, to) });
    }
  }
  return (_, from, to) => {
    // The store asks in the same pieces, except where it begins them elsewhere.
    const bytes = new Uint8Array(to - from);
    for (const copy of copies) {
      if (copy.to <= from || copy.from >= to) continue;
      if (copy.from === from && copy.to === to) return copy.bytes;
      const [first, end] = [Math.max(from, copy.from), Math.min(to, copy.to)];
      bytes.set(copy.bytes.subarray(first - copy.from, end - copy.from), first - from);
    }
    return bytes;
  };
}

/** Holds what is saved against the parent: finds chunks that changed and were called clean. */
class Verifier {
  readonly missed: MissedChunk[] = [];
  count = 0;

  constructor(
    readonly parent: Awaited<ReturnType<Store['contents']>>,
    readonly statistics: LaunchStatistics,
  ) {}

  wrap(part: Part, read: ReadBytes): ReadBytes {
    const names = this.parent.get(part.stored.id)?.names;
    if (!names) return read;
    const clean = part.ranges.filter(({ origin }) => origin === 'none');
    return async (allocation, from, to) => {
      const bytes = await read(allocation, from, to);
      const first = from / CHUNK_BYTES;
      if (!clean.some((range) => range.from <= first && first < range.from + range.count)) return bytes;
      const own = hashChunks(bytes);
      for (let chunk = 0; chunk * 16 < own.length; chunk++) {
        const at = 16 * (first + chunk);
        if (Buffer.compare(own.subarray(16 * chunk, 16 * chunk + 16), names.subarray(at, at + 16)) !== 0)
          this.#add(part.live, first + chunk);
      }
      return bytes;
    };
  }

  #add(live: LiveAllocation, chunk: number): void {
    this.count++;
    if (this.missed.length >= MAX_MISSED) return;
    this.missed.push({
      allocation: live.label === '' ? String(live.number) : `${live.number} (${live.label})`,
      address: `0x${(live.address + BigInt(chunk * CHUNK_BYTES)).toString(16)}`,
      chunk,
      kernels: this.statistics.candidates(live.address).slice(0, MAX_MISSED),
    });
  }
}

/** @throws RuntimeError, StoreError; the application then goes on as if nothing had been asked */
export async function checkpoint(
  process: SupervisedProcess,
  store: Store,
  options: CheckpointOptions,
  context: OperationContext,
): Promise<CheckpointResult> {
  const { report, signal } = context;
  report({ step: 'check' });
  process.checkSaveable();
  await whyFull(process, store, options);
  report({ step: 'catch-up' });
  await process.catchUp(signal);
  // Recording may have stopped since.
  const fullBecause = await whyFull(process, store, options);
  const parentContents =
    options.verify && fullBecause === undefined ? await store.contents(process.last!.id) : undefined;
  report({ step: 'hold' });
  await process.hold(context);
  const heldSince = performance.now();
  let heldMs = 0;
  const letGo = async () => {
    if (options.keepHeld) return;
    if (heldMs === 0) heldMs = performance.now() - heldSince;
    await process.release();
  };
  let plan: Plan | undefined;
  try {
    process.checkSaveable();
    report({ step: 'plan' });
    const stopped =
      process.bridge.state.kind === 'recording' ? undefined : `recording stopped: ${process.bridge.state.reason}`;
    plan = makePlan(process, fullBecause ?? stopped, options.verify === true);
    const verifier = parentContents && new Verifier(parentContents, plan.statistics);
    const manifest = await save(process, store, plan, verifier, options, context, letGo);
    commitTo(process, plan, manifest);
    await letGo();
    const { parts, kind } = plan;
    const looked = ({ origin }: ChunkRange) => kind === 'full' || origin !== 'none';
    return {
      manifest,
      ...(plan.fullBecause !== undefined && { fullBecause: plan.fullBecause }),
      dirtyChunks: parts.flatMap(({ ranges }) => ranges.filter(looked)).reduce((sum, { count }) => sum + count, 0),
      dirtyBytes: bytesOf(parts, looked),
      totalBytes: parts.reduce((sum, { live }) => sum + live.size, 0),
      heldMs: heldMs || performance.now() - heldSince,
      missed: verifier?.missed ?? [],
      missedCount: verifier?.count ?? 0,
    };
  } catch (error) {
    if (plan && process.last?.mark !== plan.mark) {
      process.bridge.dirty.release(plan.mark);
      process.bridge.statistics.merge(plan.statistics);
    }
    await process.release();
    throw error;
  }
}

function commitTo(process: SupervisedProcess, { mark, parts }: Plan, { id }: Manifest): void {
  if (process.last) process.bridge.dirty.release(process.last.mark);
  process.last = { id, mark };
  process.saved = new Set(parts.map(({ live }) => live.number));
}

async function save(
  process: SupervisedProcess,
  store: Store,
  plan: Plan,
  verifier: Verifier | undefined,
  options: CheckpointOptions,
  { report, signal }: OperationContext,
  letGo: () => Promise<void>,
): Promise<Manifest> {
  const total = bytesOf(plan.parts);
  let done = 0;
  const told = (bytes: number) => {
    done += bytes;
    report({ step: 'copy', done, total });
  };
  report({ step: 'copy', done, total });
  const aside = total <= ASIDE_BYTES;
  const readers = new Map<Part, ReadBytes>();
  const take = async (wanted: (live: LiveAllocation) => boolean, now: boolean) => {
    for (const part of plan.parts.filter(({ live }) => wanted(live))) {
      const device = deviceReader(process, part, told);
      readers.set(part, now ? await copyAside(part, device, signal) : device);
    }
  };
  // What the application itself has to read is read while it has its memory.
  await take(({ handle }) => handle === 0, aside || options.around !== undefined);
  const copy = () => take(({ handle }) => handle !== 0, aside);
  await (options.around ? options.around(copy) : copy());
  if (aside) await letGo();
  report({ step: 'write', done: 0, total });
  const { statistics } = plan;
  const [device] = process.hello.devices;
  const session = await store.begin({
    kind: plan.kind,
    parent: plan.parent,
    device: device
      ? {
          name: device.name,
          uuid: Buffer.from(device.uuid).toString('hex'),
          driver: String(process.hello.driver),
          memoryBytes: device.memory,
        }
      : null,
    process: { pid: process.pid, command: options.command, host: hostname() },
    templates: process.images.hashes,
    launches: statistics.byVerdict,
    kernels: statistics.kernels,
    ...(options.note !== undefined && { note: options.note }),
    signal,
  });
  try {
    for (const part of plan.parts) {
      const read = readers.get(part)!;
      await session.add(part.stored, { ranges: part.ranges, bytes: verifier ? verifier.wrap(part, read) : read });
    }
    checkCancelled(signal);
    report({ step: 'commit' });
    return await session.commit();
  } catch (error) {
    await session.abort().catch(() => {});
    throw error;
  }
}
