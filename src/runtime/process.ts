/**
 * One supervised application process: its recorder's connection and ring, what is known of its memory, and what it is doing. It takes
 * the recorder's messages, drains the ring, and offers operations (checkpoint.ts, restore.ts, suspend.ts) what they are made of.
 *
 * At most one operation runs at a time. Whatever fails, `release` is the last thing an operation does; when even that is not
 * answered the connection is ended, upon which the recorder lets the application go on by itself.
 */
import { randomBytes } from 'node:crypto';
import type { BridgeOptions } from './bridge-options.js';
import { Chain, type Chains, type Target } from './chain.js';
import { WireError } from './codec.js';
import { ControlState } from './control-state.js';
import { Custody } from './custody.js';
import { cancelled, checkCancelled, RuntimeError } from './errors.js';
import { EventBridge, type LiveAllocation } from './event-bridge.js';
import { decodeEvents } from './events.js';
import type { HostImages } from './host-images.js';
import { decodeKept, encodeKept, type Kept } from './kept.js';
import { GREETINGS, type Greeting, KEEP_SAVED, type MessageBody } from './messages.js';
import { type ImageTemplates, ModuleImages } from './module-images.js';
import type { DriverControl, EventRing, Parts } from './parts.js';
import { isGone } from './process-tree.js';
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
/** How long a parked process may take to come back. */
const UNPARK_MS = 30_000;
/** Between two looks whether a parked process, which has no connection whose end would tell, is still there. */
const LOOK_MS = 100;
/** Names in one message: mangled ones have up to a few hundred bytes. */
const LOCATED_AT_ONCE = 50;

/** Of a process that was parked. */
const NO_RING: EventRing = { drain: () => new Uint8Array(0), consumed: 0, close: () => {} };

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
  readonly builder: ImageTemplates;
  readonly command: readonly string[];
  /** Listens where a process of that number looks for a supervisor. */
  readonly offer: (pid: number) => { close(): void };
  readonly staging: StagingPool;
  readonly images: HostImages;
  readonly recording: BridgeOptions;
  readonly onEnd: () => void;
  readonly kill: (pid: number, why: string) => void;
}

export type ProcessState = 'running' | 'held' | 'suspended' | 'ended';

export class SupervisedProcess implements LinkListener {
  readonly pid: number;
  readonly hello: MessageBody<'hello'>;
  readonly bridge: EventBridge;
  readonly images: ModuleImages;
  readonly custody: Custody;
  readonly control: ControlState;
  state: ProcessState = 'running';
  /** The last checkpoint in the store, and the last one in host memory. */
  readonly chains: Chains = { store: new Chain(), memory: new Chain() };
  /** Which of them is the younger. */
  lastTarget: Target = 'store';
  readonly staging: StagingPool;
  readonly hostImages: HostImages;
  /** The checkpoint that holds the memory while it is suspended; undefined when custody still does. */
  suspendedAs: { readonly target: Target; readonly id: string } | undefined;
  operation: { readonly name: string; step: string; readonly since: number } | undefined;
  readonly #options: ProcessOptions;
  /** What it was started with, as far as it is known. */
  command: readonly string[];
  /** What an earlier supervisor wanted this one to know. */
  kept: Kept | undefined;
  #ring: EventRing;
  /** Makes allocation numbers unique among all processes. */
  #tag = randomBytes(4).readUInt32LE();
  /** Called when the process, which was asked to let its connection go, is there again. */
  #whenBack: (() => void) | undefined;
  #back: Promise<void> = Promise.resolve();
  readonly #whenEnded = new Set<() => void>();
  #link: RecorderLink | undefined;

  /** @param fds ring and wake-up descriptor, which this takes over */
  constructor(hello: MessageBody<'hello'>, fds: readonly number[], options: ProcessOptions) {
    const { parts, builder, recording } = options;
    this.staging = options.staging;
    this.hostImages = options.images;
    this.hello = hello;
    this.pid = hello.pid;
    this.#options = options;
    const architectures = hello.devices.map(({ architecture }) => architecture).filter((number) => number !== 0);
    // One device that is not known may be any.
    const devices = architectures.length === hello.devices.length ? architectures : [];
    this.images = new ModuleImages(
      builder,
      { pid: hello.pid, devices },
      (module, variables) => {
        for (let at = 0; at < variables.length; at += LOCATED_AT_ONCE)
          this.link.send('locate', { module, names: variables.slice(at, at + LOCATED_AT_ONCE) });
        this.bridge.pump();
      },
      (module, image) => this.link.send('image-name', { module, image: Buffer.from(image, 'hex') }),
    );
    this.bridge = new EventBridge(this.images, recording);
    this.custody = new Custody(
      parts,
      hello.devices.map(({ uuid }) => uuid),
      () => this.link,
    );
    this.control = new ControlState(this);
    this.command = options.command;
    this.#ring = parts.openRing(fds[0]!, fds[1]!, () => this.drain());
  }

  get greeting(): Greeting {
    return GREETINGS[this.hello.greeting] ?? 'begins';
  }

  /** Called once, before anything else. */
  attachLink(link: RecorderLink): void {
    this.#link = link;
  }

  get link(): RecorderLink {
    return this.#link!;
  }

  get driverControl(): DriverControl {
    return this.#options.parts.driverControl;
  }

  /** Calls back when the process has ended; at once when it has already. @returns what takes the wish back */
  whenEnded(callback: () => void): () => void {
    if (this.state === 'ended') callback();
    this.#whenEnded.add(callback);
    return () => this.#whenEnded.delete(callback);
  }

  /** The number of an allocation in a store: never that of another process's. */
  storeId(allocation: Pick<LiveAllocation, 'number'>): bigint {
    return (BigInt(this.#tag) << 32n) | BigInt(allocation.number);
  }

  /**
   * Leaves with the recorder what another supervisor would have to know.
   *
   * @param checkpoint that holds the memory of a suspended process
   */
  keep(checkpoint?: string): void {
    const text = encodeKept({ tag: this.#tag, command: this.command, ...(checkpoint !== undefined && { checkpoint }) });
    this.link.send('keep', { flags: checkpoint === undefined ? 0 : KEEP_SAVED, text });
  }

  /**
   * Has the recorder of a process without memory let connection and ring go, so that nothing of them is in the process.
   *
   * @throws RuntimeError
   */
  async park(): Promise<void> {
    const back = new Promise<void>((resolve) => (this.#whenBack = resolve));
    this.#back = back;
    try {
      await this.link.request('park', {}, ANSWER_MS);
    } catch (error) {
      // Its answer may be overtaken by the end of the connection.
      if (this.link.isOpen) {
        this.#whenBack = undefined;
        throw error;
      }
    }
    this.link.close();
    this.#ring.close();
    this.#ring = NO_RING;
  }

  /** Whether it was parked and has not come back. */
  get isParked(): boolean {
    return this.#whenBack !== undefined;
  }

  /** A process that was parked greets again. */
  comesBack(link: RecorderLink, fds: readonly number[]): void {
    this.#ring = this.#options.parts.openRing(fds[0]!, fds[1]!, () => this.drain());
    this.#link = link;
    this.bridge.greeted();
    this.#whenBack?.();
    this.#whenBack = undefined;
  }

  /** What a parked process needs to be able to come back. */
  whenUnparked: () => void = () => {};

  /** Has a parked process connect again. @throws RuntimeError GCR8106 when it does not, GCR8107 when it has ended */
  async unpark(): Promise<void> {
    if (!this.isParked) return;
    const checkThere = () => {
      if (!isGone(this.pid)) return;
      this.over();
      throw new RuntimeError('not-found', 'GCR8107', `process ${this.pid} has ended`);
    };
    checkThere();
    const offer = this.#options.offer(this.pid);
    let looks: NodeJS.Timeout | undefined;
    const gone = new Promise<never>((_, reject) => {
      looks = setInterval(() => {
        try {
          checkThere();
        } catch (error) {
          reject(error);
        }
      }, LOOK_MS);
    });
    try {
      this.whenUnparked();
      const { signal } = new AbortController();
      const back = Promise.race([this.#back, gone]);
      await within(back, UNPARK_MS, `process ${this.pid} did not come back`, signal);
    } finally {
      clearInterval(looks);
      this.whenUnparked = () => {};
      offer.close();
    }
  }

  /** It was parked, and has ended. */
  over(): void {
    this.#whenBack = undefined;
    this.ended();
  }

  told(message: Parameters<LinkListener['told']>[0], fds: readonly number[]): void {
    switch (message.name) {
      case 'image': {
        const { module, size } = message.body;
        const fd = fds[0]!;
        this.images.image(module, { fd, bytes: size }, () => this.#options.parts.closeFd(fd));
        return this.bridge.pump();
      }
      case 'known-image':
        this.images.known(message.body.module, Buffer.from(message.body.image).toString('hex'));
        return this.bridge.pump();
      case 'in-use':
        return this.custody.inUse(message.body.device);
      case 'vacant':
        return this.custody.vacant(message.body.handle, message.body.size, message.body.device);
      case 'kept':
        this.kept = decodeKept(message.body.text);
        if (this.kept) {
          this.#tag = this.kept.tag;
          this.command = this.kept.command;
        }
        return;
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

  closeFd(fd: number): void {
    this.#options.parts.closeFd(fd);
  }

  ended(): void {
    if (this.state === 'ended' || this.isParked) return;
    this.drain();
    this.state = 'ended';
    // Whoever waits for events to be applied waits for an image that does not come any more.
    this.bridge.stop('blind', 'the application has ended');
    this.bridge.pump();
    this.#ring.close();
    this.custody.close();
    this.hostImages.dropAll(this);
    for (const callback of this.#whenEnded) callback();
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
    if (this.bridge.becomesQuiet()) this.link.send('quiet', {});
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
      const untold = Number(reply.u64());
      context.report({ step: 'drain' });
      this.drain();
      for (const end = Date.now() + SETTLE_MS; this.#ring.consumed < position; this.drain()) {
        if (this.bridge.state.kind === 'blind') break;
        if (Date.now() > end) throw new RuntimeError('failed', 'GCR8106', 'the ring did not become empty');
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await within(this.bridge.idle(), SETTLE_MS, 'shadow execution did not catch up', context.signal);
      this.bridge.held(untold);
      return { since, holdMs: since - asked, drainMs: performance.now() - since };
    } catch (error) {
      if (this.state === 'held') await this.release();
      throw error instanceof WireError ? new RuntimeError('failed', 'GCR8108', error.message) : error;
    }
  }

  /** Lets the application go on, with its memory and its control state. Never fails; what cannot be brought back is suspended. */
  async release(): Promise<void> {
    if (this.state !== 'held') return;
    await this.unpark().catch((error: Error) => this.#lost(error));
    if (this.state !== 'held') return;
    await this.control.recover({ report: () => {}, signal: new AbortController().signal });
    if (this.state !== 'held') return;
    try {
      await this.link.request('release', {}, ANSWER_MS);
    } catch (error) {
      // Without the connection the recorder releases by itself.
      this.link.close((error as Error).message);
    }
    if (this.state === 'held') this.state = 'running';
  }

  /** A parked process that does not come back has no memory and nobody to give it any. */
  #lost(error: Error): void {
    this.kill(error.message);
    this.over();
  }

  /** Ends the application, which cannot go on. */
  kill(why: string): void {
    this.#options.kill(this.pid, why);
  }

  /**
   * @param leaves whether its memory or its control state is to leave the device
   * @throws RuntimeError GCR8105 that names what is in the way
   */
  checkSaveable(leaves = false): void {
    if (this.state === 'suspended')
      throw new RuntimeError('refused', 'GCR8105', `process ${this.pid} is suspended`, 'resume it first');
    const { state } = this.bridge;
    if (state.kind === 'blind') {
      const hint = 'the application goes on; start it anew under `gcr-templates run` to save it';
      throw new RuntimeError('refused', 'GCR8105', `its memory is not known any more: ${state.reason}`, hint);
    }
    const { shared } = this.bridge;
    if (leaves && shared !== undefined) {
      const message = `${shared}: it cannot leave the device, as the other process would not get the memory that comes back`;
      const hint = 'nothing was stopped; a checkpoint without --control and --durable saves it where it is';
      throw new RuntimeError('refused', 'GCR8105', message, hint);
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
