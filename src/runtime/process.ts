/**
 * One supervised application process: its recorder's connection and ring, what is known of its memory, and what it is doing. It takes
 * the recorder's messages, drains the ring, and offers operations (checkpoint.ts, restore.ts, suspend.ts) what they are made of.
 *
 * At most one operation runs at a time. Whatever fails, `release` is the last thing an operation does; when even that is not
 * answered the connection is ended, upon which the recorder lets the application go on by itself.
 */
import { randomBytes } from 'node:crypto';
import type { UnknownPolicy } from '../shadow/index.js';
import { Chain, type Chains, type Target } from './chain.js';
import { WireError } from './codec.js';
import { Custody } from './custody.js';
import { RuntimeError } from './errors.js';
import { EventBridge, type LiveAllocation } from './event-bridge.js';
import { decodeEvents } from './events.js';
import type { HostImages } from './host-images.js';
import type { MessageBody } from './messages.js';
import { ModuleImages, type TemplateBuilder } from './module-images.js';
import type { EventRing, Parts } from './parts.js';
import type { LinkListener, RecorderLink } from './recorder-link.js';
import type { StagingPool } from './staging.js';

/** How long the application may take to empty its queues. */
const HOLD_MS = 10_000;
/** What the recorder's answer may take beyond its own deadline. */
const GRACE_MS = 3_000;
const ANSWER_MS = 10_000;
/** How long templates and shadow execution may take to catch up, before the application is held and while it is. */
const CATCH_UP_MS = 120_000;
const SETTLE_MS = 30_000;
/** Names in one message: mangled ones have up to a few hundred bytes. */
const LOCATED_AT_ONCE = 50;

/** Where an operation is. `done` and `total` are bytes. */
export interface OperationReport {
  readonly step: string;
  readonly done?: number;
  readonly total?: number;
}

export interface OperationContext {
  report(report: OperationReport): void;
  readonly signal: AbortSignal;
}

/** A hold that came true. */
export interface Held {
  /** When the answer came (`performance.now()`): the application stood still, and its queues were empty. */
  readonly since: number;
  /** From the request to the answer. */
  readonly holdMs: number;
  /** What taking in the events of before took. */
  readonly drainMs: number;
}

export interface ProcessOptions {
  readonly parts: Parts;
  readonly builder: Pick<TemplateBuilder, 'templates'>;
  readonly staging: StagingPool;
  readonly images: HostImages;
  readonly unknown?: UnknownPolicy;
  readonly onEnd: () => void;
  readonly kill: (pid: number) => void;
}

export type ProcessState = 'running' | 'held' | 'suspended' | 'ended';

export class SupervisedProcess implements LinkListener {
  readonly pid: number;
  readonly hello: MessageBody<'hello'>;
  readonly bridge: EventBridge;
  readonly images: ModuleImages;
  readonly custody: Custody;
  state: ProcessState = 'running';
  /** The last checkpoint in the store, and the last one in host memory. */
  readonly chains: Chains = { store: new Chain(), memory: new Chain() };
  /** Which of them is the younger. */
  lastTarget: Target = 'store';
  readonly staging: StagingPool;
  readonly hostImages: HostImages;
  /** The checkpoint that holds the memory while it is suspended. */
  suspendedAs: { readonly target: Target; readonly id: string } | undefined;
  operation: { readonly name: string; step: string; readonly since: number } | undefined;
  readonly #options: ProcessOptions;
  readonly #ring: EventRing;
  /** Makes allocation numbers unique among all processes. */
  readonly #tag = BigInt(randomBytes(4).readUInt32LE());
  #link: RecorderLink | undefined;

  /** @param fds ring and wake-up descriptor, which this takes over */
  constructor(hello: MessageBody<'hello'>, fds: readonly number[], options: ProcessOptions) {
    const { parts, builder, unknown } = options;
    this.staging = options.staging;
    this.hostImages = options.images;
    this.hello = hello;
    this.pid = hello.pid;
    this.#options = options;
    this.images = new ModuleImages(builder, (module, variables) => {
      for (let at = 0; at < variables.length; at += LOCATED_AT_ONCE)
        this.link.send('locate', { module, names: variables.slice(at, at + LOCATED_AT_ONCE) });
      this.bridge.pump();
    });
    this.bridge = new EventBridge(this.images, unknown === undefined ? {} : { unknown });
    this.custody = new Custody(
      parts,
      hello.devices.map(({ uuid }) => uuid),
      () => this.link,
    );
    this.#ring = parts.openRing(fds[0]!, fds[1]!, () => this.drain());
  }

  /** Called once, before anything else. */
  attachLink(link: RecorderLink): void {
    this.#link = link;
  }

  get link(): RecorderLink {
    return this.#link!;
  }

  /** The number of an allocation in a store: never that of another process's. */
  storeId(allocation: Pick<LiveAllocation, 'number'>): bigint {
    return (this.#tag << 32n) | BigInt(allocation.number);
  }

  told(message: Parameters<LinkListener['told']>[0], fds: readonly number[]): void {
    switch (message.name) {
      case 'image': {
        const { module, size } = message.body;
        this.images.image(module, this.#readImage(fds[0]!, size));
        return this.bridge.pump();
      }
      case 'handle':
        return this.custody.take(message.body.handle, message.body.size, message.body.device, fds[0]!);
      case 'handle-gone':
        return this.custody.gone(message.body.handle);
      case 'stopped':
        return this.bridge.stop('blind', message.body.reason);
      default:
        for (const fd of fds) this.#options.parts.closeFd(fd);
        this.link.close(`${message.name} is not allowed now`);
    }
  }

  #readImage(fd: number, bytes: number): Buffer {
    const { parts } = this.#options;
    try {
      return parts.readImage(fd, bytes);
    } catch {
      // An image that cannot be read has no templates; its launches are unknown.
      return Buffer.alloc(0);
    } finally {
      parts.closeFd(fd);
    }
  }

  closeFd(fd: number): void {
    this.#options.parts.closeFd(fd);
  }

  ended(): void {
    if (this.state === 'ended') return;
    this.drain();
    this.state = 'ended';
    // Whoever waits for events to be applied waits for an image that does not come any more.
    this.bridge.stop('blind', 'the application has ended');
    this.bridge.pump();
    this.#ring.close();
    this.custody.close();
    this.hostImages.dropAll(this);
    this.#options.onEnd();
  }

  /** Takes events out of the ring and applies what can be applied. */
  drain(): void {
    if (this.state === 'ended' || this.bridge.state.kind === 'blind') {
      // Somebody may wait for room.
      if (this.state !== 'ended') this.#ring.drain();
      return;
    }
    try {
      for (let bytes = this.#ring.drain(); bytes.length > 0; bytes = this.#ring.drain())
        decodeEvents(bytes, (event) => this.bridge.push(event));
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.bridge.stop('blind', `the ring is damaged: ${error.message}`);
    }
    this.bridge.pump();
  }

  /** Waits until templates and shadow execution have caught up, while the application runs. */
  async catchUp(signal: AbortSignal): Promise<void> {
    this.drain();
    await within(this.bridge.idle(), CATCH_UP_MS, 'templates were not finished', signal);
  }

  /**
   * Holds the application and takes in everything that it submitted before. After a failure it runs again.
   *
   * @throws RuntimeError GCR8106, GCR8107, GCR8108
   */
  async hold(context: OperationContext): Promise<Held> {
    const asked = performance.now();
    try {
      const reply = await this.link.request('hold', { deadlineMs: HOLD_MS }, HOLD_MS + GRACE_MS);
      this.state = 'held';
      const since = performance.now();
      const position = Number(reply.u64());
      context.report({ step: 'drain' });
      this.drain();
      for (const end = Date.now() + SETTLE_MS; this.#ring.consumed < position; this.drain()) {
        if (this.bridge.state.kind === 'blind') break;
        if (Date.now() > end) throw new RuntimeError('failed', 'GCR8106', 'the ring did not become empty');
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await within(this.bridge.idle(), SETTLE_MS, 'shadow execution did not catch up', context.signal);
      return { since, holdMs: since - asked, drainMs: performance.now() - since };
    } catch (error) {
      if (this.state === 'held') await this.release();
      throw error instanceof WireError ? new RuntimeError('failed', 'GCR8108', error.message) : error;
    }
  }

  /** Lets the application go on. Never fails. */
  async release(): Promise<void> {
    if (this.state !== 'held') return;
    try {
      await this.link.request('release', {}, ANSWER_MS);
    } catch (error) {
      // Without the connection the recorder releases by itself.
      this.link.close((error as Error).message);
    }
    if (this.state === 'held') this.state = 'running';
  }

  /** Ends the application: its memory is not what it should be. */
  kill(): void {
    this.#options.kill(this.pid);
  }

  /** @throws RuntimeError GCR8105 that names what is in the way */
  checkSaveable(): void {
    if (this.state === 'suspended')
      throw new RuntimeError(
        'refused',
        'GCR8105',
        `process ${this.pid} is suspended`,
        'resume it first; its memory is in the store',
      );
    const { state } = this.bridge;
    if (state.kind === 'blind') {
      const hint = 'the application goes on; start it anew under `gcr-templates run` to save it';
      throw new RuntimeError('refused', 'GCR8105', `its memory is not known any more: ${state.reason}`, hint);
    }
    for (const { number, address, size, kind, saveable, handle, label } of this.bridge.allocations.values()) {
      const missing = handle !== 0 && !this.custody.has(handle) && this.state !== 'running';
      if (saveable && !missing) continue;
      const name = label === '' ? '' : ` (${label})`;
      const what = `allocation ${number}${name} at 0x${address.toString(16)} of ${size} bytes, ${kind} memory`;
      const why = missing ? 'was not handed over' : 'cannot be saved';
      throw new RuntimeError(
        'refused',
        'GCR8105',
        `${what}, ${why}`,
        'nothing was stopped; see docs/support.md for what can be saved',
      );
    }
  }

  /**
   * Runs the one operation.
   *
   * @throws RuntimeError GCR8104 when there is one already
   */
  async operate<T>(
    name: string,
    context: OperationContext,
    run: (context: OperationContext) => Promise<T>,
  ): Promise<T> {
    if (this.operation) {
      const { name: other, step } = this.operation;
      throw new RuntimeError(
        'busy',
        'GCR8104',
        `process ${this.pid} is busy with ${other} (${step})`,
        'try again when it is done',
      );
    }
    if (this.state === 'ended') throw new RuntimeError('not-found', 'GCR8107', `process ${this.pid} has ended`);
    const operation = { name, step: 'start', since: Date.now() };
    this.operation = operation;
    try {
      return await run({
        signal: context.signal,
        report: (report) => {
          operation.step = report.step;
          context.report(report);
        },
      });
    } finally {
      this.operation = undefined;
    }
  }
}

/** A promise's value, or an error when it takes too long or the operation was cancelled. */
async function within<T>(promise: Promise<T>, milliseconds: number, message: string, signal: AbortSignal): Promise<T> {
  checkCancelled(signal);
  let timer: NodeJS.Timeout | undefined;
  let abort: (() => void) | undefined;
  try {
    return await Promise.race([
      promise,
      new Promise<never>((_, reject) => {
        const late = `${message} within ${milliseconds / 1000} s`;
        timer = setTimeout(() => reject(new RuntimeError('failed', 'GCR8106', late, 'try again later')), milliseconds);
        abort = () => reject(cancelled());
        signal.addEventListener('abort', abort, { once: true });
      }),
    ]);
  } finally {
    clearTimeout(timer);
    if (abort) signal.removeEventListener('abort', abort);
  }
}

const cancelled = () => new RuntimeError('failed', 'GCR8112', 'the operation was cancelled; the application goes on');

/** @throws RuntimeError GCR8112 */
export function checkCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw cancelled();
}
