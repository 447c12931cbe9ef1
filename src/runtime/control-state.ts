/**
 * The control state of a process: contexts, streams, modules, and whatever memory the supervisor does not hold. The driver's own checkpoint
 * takes it off the device, once the recorder has unmapped and released all memory that is in custody.
 *
 *     attached ── detach ──▶ detached ── lock ──▶ locked ── checkpoint ──▶ checkpointed
 *              ◀── attach ──          ◀── unlock ──      ◀── restore ─────
 *
 * The process is held all the while, and whoever leads it away leads it back, step by step, also when a step failed: the driver is asked where
 * the process is then. What cannot be brought back for now (the device has no room) stays suspended with its memory in custody, for `resume` to
 * try again. So no process is left locked with nobody to unlock it; when the supervisor itself dies, the recorder ends what has no memory.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { formatBytes } from '../checkpoint/index.js';
import { InternalError } from '../diagnostics/index.js';
import { checkCancelled, RuntimeError } from './errors.js';
import { MAX_DESCRIPTORS } from './messages.js';
import type { DriverControl } from './parts.js';
import type { OperationContext, SupervisedProcess } from './process.js';
import { isEnding } from './process-tree.js';

export type ControlPhase = 'attached' | 'detached' | 'locked' | 'checkpointed' | 'unknown';
export type DriverState = Awaited<ReturnType<DriverControl['state']>>;

/** Milliseconds that each step took, as far as there was one. */
export type ControlTimings = Partial<Record<Step | 'checkpointed', number>>;

export interface ControlHooks {
  /** Copies memory out of custody, beside everything else. */
  readonly during?: () => Promise<void>;
  /** Called when the process is away. `stay` leaves it there; it is the caller's then, or has ended. */
  readonly checkpointed?: () => Promise<'restore' | 'stay'>;
  /**
   * What it means when the driver cannot take the control state: an error (`required`), or that it stays on the device (`optional`). With `none` it is
   * not asked.
   */
  readonly driver?: 'required' | 'optional' | 'none';
}

export interface ControlOutcome {
  readonly timings: ControlTimings;
  /** Why the driver did not take the control state, when that was optional. */
  readonly refused?: string;
}

type DriverStep = Parameters<DriverControl['step']>[1];
type Step = DriverStep | 'detach' | 'attach';

/** How long each step may take, in milliseconds. What the driver carries itself goes at some 2 GB/s. */
const DEADLINES: Readonly<Record<Step, number>> = {
  detach: 30_000,
  lock: 15_000,
  checkpoint: 120_000,
  restore: 120_000,
  unlock: 15_000,
  attach: 30_000,
};
/** The driver's own deadline for `lock`: all queues are empty by then. */
const LOCK_MS = 10_000;
const STATE_MS = 5_000;
/** How long a step that is late already may take before what follows is given up. */
const LATE_MS = 60_000;
/** Others may have taken what the process's control state needs, and may give it back. */
const RESTORE_TRIES = 4;
const RESTORE_PAUSE_MS = 500;
/** How long the end of a process may take to be noticed. */
const ENDING_MS = 2_000;
const ENDING_PAUSE_MS = 20;
/** Messages of `attach` under way: the system limits how many descriptors are. */
const ATTACH_WINDOW = 4;

const AFTER: Readonly<Record<DriverStep, ControlPhase>> = {
  lock: 'locked',
  checkpoint: 'checkpointed',
  restore: 'locked',
  unlock: 'detached',
};

/** What a control state takes on a device when nobody saw how much it left there: a context, and a little. */
const UNSEEN_BYTES = 640 << 20;
/** What memory is had in. */
const GRANULE_BYTES = 2 << 20;
/** Memory that is free comes in pieces. */
const SPARE_BYTES = 32 << 20;

/** There is no room for the control state. The driver was not asked: a restore that fails for want of memory is not to be repeated. */
class NoRoom extends RuntimeError {
  constructor(pid: number, device: string, needed: number, free: number) {
    const message = `the control state of process ${pid} needs ${formatBytes(needed)} of ${device}, of which ${formatBytes(free)} are free`;
    super('failed', 'GCR8114', message, 'free device memory and try again');
  }
}

/** The driver said no. */
class DriverRefusal extends RuntimeError {
  constructor(pid: number, action: string, message: string) {
    const lost = 'when this goes on the process is lost and has to be ended; checkpoints in the store are as they were';
    const what = `the driver could not ${action} process ${pid}: ${message}`;
    super('failed', 'GCR8113', what, action === 'restore' ? lost : undefined);
  }
}

export class ControlState {
  /** As far as it is known here; `unknown` after a step whose end was not seen. */
  phase: ControlPhase = 'attached';
  /** Why it could not be brought back when an operation that failed tried; undefined when it could. */
  problem: string | undefined;
  /** Bytes that must be free for the control state to come back, by device, as far as that was seen when it went. */
  #needed: ReadonlyMap<number, number> | undefined;
  /** What gives back the memory that is kept free for its return. */
  #kept: (() => void)[] = [];
  /** The driver's step that has not come back. */
  #underWay: Promise<void> | undefined;

  constructor(readonly process: SupervisedProcess) {}

  /** The process came here without its memory, and where the driver has it is not known. */
  takenOver(): void {
    this.phase = 'unknown';
    this.#needed = undefined;
  }

  /**
   * Whether the driver can take this process's control state, asked while it runs.
   *
   * @returns why it cannot; undefined when it can
   * @throws RuntimeError GCR8107 when the process has ended
   */
  async refusal(): Promise<string | undefined> {
    try {
      const state = await this.#ask();
      if (state === 'unsupported') return 'the driver cannot checkpoint processes: 570 or newer is needed';
      return state === 'running' ? undefined : `the driver has it ${state} already, on behalf of somebody else`;
    } catch (error) {
      if (this.process.state === 'ended') throw error;
      return (error as Error).message;
    }
  }

  /** Where the driver has the process, for people. */
  async driverState(deadlineMs: number): Promise<DriverState | 'unknown'> {
    if (this.phase === 'attached') return 'running';
    // It would wait for the step that is under way.
    if (this.#underWay) return 'unknown';
    try {
      return await this.#ask(deadlineMs);
    } catch {
      return 'unknown';
    }
  }

  /**
   * Leads a held process away.
   *
   * @returns why the driver did not take it, when that is optional
   * @throws RuntimeError; {@link leave} or {@link recover} is still to be called
   */
  async enter(
    driver: NonNullable<ControlHooks['driver']>,
    context: OperationContext,
    timings: ControlTimings,
    check: () => void,
  ): Promise<string | undefined> {
    check();
    await timed(timings, 'detach', () => this.#detach(context));
    if (driver === 'none') return undefined;
    try {
      const before = await this.#freeMemory();
      for (const action of ['lock', 'checkpoint'] as const) {
        check();
        context.report({ step: action });
        await timed(timings, action, () => this.#drive(action));
      }
      const after = await this.#freeMemory();
      this.#needed = new Map(
        [...after].map(([device, free]) => {
          const was = before.get(device) ?? free;
          // Where there was no more to spare before, there need not be now.
          return [device, free > was ? free - was + Math.min(was, SPARE_BYTES) : 0];
        }),
      );
      return undefined;
    } catch (error) {
      if (driver === 'required' || !(error instanceof DriverRefusal)) throw error;
      await this.unlock(context, timings);
      return error.diagnostics[0]!.message;
    }
  }

  /**
   * Leads the process back from wherever it is; it is held, with its memory, afterwards.
   *
   * @throws RuntimeError; it can be tried again, unless the process has ended
   */
  async leave(context: OperationContext, timings: ControlTimings = {}): Promise<void> {
    if (this.phase === 'attached') return;
    await this.unlock(context, timings);
    await timed(timings, 'attach', () => this.attach(context));
  }

  /** {@link leave}, without an error: a process that cannot be brought back is suspended, see {@link problem}. */
  async recover(context: OperationContext): Promise<void> {
    const { process } = this;
    if (process.state === 'ended') return this.giveRoom();
    try {
      await this.leave(context);
    } catch (error) {
      this.problem = messageOf(error);
      // It may have ended meanwhile.
      if ((process.state as string) !== 'ended') process.state = 'suspended';
    }
  }

  /** The driver's part of {@link leave}. @throws RuntimeError */
  async unlock({ report }: OperationContext, timings: ControlTimings = {}): Promise<void> {
    if (this.#underWay) await this.#within(this.#underWay, LATE_MS, 'the driver is late');
    for (let tries = 1; this.phase !== 'detached' && this.phase !== 'attached'; ) {
      if (this.phase === 'unknown') this.phase = await this.#find();
      const action = this.phase === 'checkpointed' ? 'restore' : this.phase === 'locked' ? 'unlock' : undefined;
      if (!action) continue;
      report({ step: action });
      try {
        this.giveRoom();
        if (action === 'restore') await this.#checkRoom();
        await timed(timings, action, () => this.#drive(action));
      } catch (error) {
        const again = error instanceof DriverRefusal || error instanceof NoRoom;
        if (!again || tries++ >= RESTORE_TRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, RESTORE_PAUSE_MS));
      }
    }
  }

  /** Gives the process all memory that is in custody. @throws RuntimeError; it can be tried again */
  async attach({ report }: OperationContext): Promise<void> {
    const { custody, link } = this.process;
    report({ step: 'attach' });
    const handles = [...custody.handles.keys()];
    const underWay: Promise<unknown>[] = [];
    for (let at = 0; at === 0 || at < handles.length; at += MAX_DESCRIPTORS) {
      const some = handles.slice(at, at + MAX_DESCRIPTORS);
      const more = at + MAX_DESCRIPTORS < handles.length;
      const fds = some.map((handle) => custody.descriptorOf(handle)!);
      const request = link.request('attach', { more, handles: some }, DEADLINES.attach, fds);
      // When one before it fails nobody waits for it any more.
      request.catch(() => {});
      underWay.push(request);
      if (underWay.length >= ATTACH_WINDOW) await underWay.shift();
    }
    await Promise.all(underWay);
    this.phase = 'attached';
    this.problem = undefined;
  }

  /** By device; those of which the driver does not tell are missing. */
  async #freeMemory(): Promise<Map<number, number>> {
    const { custody, hello, driverControl } = this.process;
    const free = new Map<number, number>();
    for (const device of custody.devicesInUse) {
      const uuid = hello.devices[device]?.uuid;
      if (!uuid) continue;
      const found = this.#within(driverControl.freeMemory(uuid), STATE_MS, 'the driver did not tell what is free');
      await found.then((bytes) => free.set(device, bytes)).catch(() => {});
    }
    return free;
  }

  async #checkRoom(): Promise<void> {
    const { pid, hello } = this.process;
    for (const [device, free] of await this.#freeMemory()) {
      const needed = this.#needed ? (this.#needed.get(device) ?? 0) : UNSEEN_BYTES;
      // What was kept for it is whole pieces.
      if (free < needed - (needed % GRANULE_BYTES)) throw new NoRoom(pid, hello.devices[device]!.name, needed, free);
    }
  }

  async #detach({ report }: OperationContext): Promise<void> {
    report({ step: 'detach' });
    // Before it is asked for: when it fails half of the memory may be unmapped.
    this.phase = 'detached';
    await this.process.link.request('detach', {}, DEADLINES.detach);
  }

  async #drive(action: DriverStep): Promise<void> {
    const { pid, driverControl } = this.process;
    this.phase = 'unknown';
    const call = driverControl.step(pid, action, action === 'lock' ? LOCK_MS : 0);
    const settled = call.catch(() => {});
    this.#underWay = settled;
    void settled.then(() => {
      if (this.#underWay === settled) this.#underWay = undefined;
    });
    const refusable = call.catch((error: Error) => {
      throw new DriverRefusal(pid, action, error.message);
    });
    await this.#within(refusable, DEADLINES[action], `the driver did not ${action} process ${pid}`);
    this.phase = AFTER[action];
  }

  /** Keeps what the control state left for its return: others are quick to take what is free, and a restore without room cannot be repeated. */
  async keepRoom(): Promise<void> {
    for (const [device, bytes] of this.#needed ?? []) {
      const whole = bytes - (bytes % GRANULE_BYTES);
      if (whole === 0) continue;
      // Where that fails there is little left, and the check before the restore decides.
      const give = await this.process.custody.reserve(device, whole).catch(() => undefined);
      if (give) this.#kept.push(give);
    }
  }

  giveRoom(): void {
    for (const give of this.#kept.splice(0)) give();
  }

  #ask(deadlineMs = STATE_MS): Promise<DriverState> {
    const { pid, driverControl } = this.process;
    return this.#within(driverControl.state(pid), deadlineMs, `the driver did not tell the state of process ${pid}`);
  }

  async #find(): Promise<ControlPhase> {
    const { process } = this;
    const state = await this.#ask();
    if (state !== 'failed') return state === 'running' || state === 'unsupported' ? 'detached' : state;
    process.kill('the driver cannot restore it');
    const ended = new Promise<never>(() => {});
    await this.#within(ended, STATE_MS, 'it did not end').catch(() => {});
    const hint = 'checkpoints in the store are as they were; start the application anew';
    throw new RuntimeError('failed', 'GCR8113', `process ${process.pid} was ended: the driver has lost it`, hint);
  }

  /** A promise's value, unless it takes too long or the process ends before. */
  async #within<T>(promise: Promise<T>, milliseconds: number, message: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    let forget: (() => void) | undefined;
    const { pid } = this.process;
    // What the driver says of a process that is ending is not why: that it has ended is noticed a moment later.
    const outcome = promise.catch(async (error: unknown) => {
      const end = Date.now() + ENDING_MS;
      do await sleep(ENDING_PAUSE_MS);
      while (isEnding(pid) && Date.now() < end);
      throw error;
    });
    outcome.catch(() => {});
    try {
      return await Promise.race([
        outcome,
        new Promise<never>((_, reject) => {
          const late = `${message} within ${milliseconds / 1000} s`;
          timer = setTimeout(() => reject(new RuntimeError('failed', 'GCR8106', late)), milliseconds);
          forget = this.process.whenEnded(() => reject(hasEnded(pid)));
        }),
      ]);
    } finally {
      clearTimeout(timer);
      forget?.();
    }
  }
}

const hasEnded = (pid: number): RuntimeError => new RuntimeError('failed', 'GCR8107', `process ${pid} has ended`);

const messageOf = (error: unknown): string =>
  error instanceof RuntimeError ? error.diagnostics[0]!.message : (error as Error).message;

/** An error of an operation, with what it has led to when the process could not be brought back. */
export function withProblem(process: SupervisedProcess, error: unknown): unknown {
  if (process.state !== 'suspended') return error;
  const message = `${messageOf(error)}; process ${process.pid} is suspended, because it could not be brought back: ${process.control.problem}`;
  const hint = `its memory is kept on the device; \`gcr-templates resume --pid ${process.pid}\` tries again`;
  return new RuntimeError('failed', 'GCR8113', message, hint);
}

/** Adds up, because a step may be tried again. */
export async function timed<S extends string>(
  timings: Partial<Record<S, number>>,
  step: S,
  run: () => Promise<void>,
): Promise<void> {
  const start = performance.now();
  try {
    await run();
  } finally {
    timings[step] = (timings[step] ?? 0) + performance.now() - start;
  }
}

/**
 * Takes the control state of a held process off the device and brings it back. What only the application can reach (memory without a handle)
 * must have been copied before.
 *
 * @throws RuntimeError, and what a hook threw; the process is then held and has its memory, unless it has ended or is said to be suspended
 */
export async function withControlState(
  process: SupervisedProcess,
  context: OperationContext,
  hooks: ControlHooks,
): Promise<ControlOutcome> {
  const { control } = process;
  if (process.state === 'ended') throw hasEnded(process.pid);
  if (process.state !== 'held' || control.phase !== 'attached') throw new InternalError('the process is not held');
  const timings: ControlTimings = {};
  let failure: { readonly error: unknown } | undefined;
  const copying = (async () => hooks.during?.())().catch((error: unknown) => {
    failure ??= { error };
  });
  const check = () => {
    checkCancelled(context.signal);
    if (failure) throw failure.error;
  };
  let refused: string | undefined;
  try {
    refused = await control.enter(hooks.driver ?? 'required', context, timings, check);
    check();
    await control.keepRoom();
    let next: 'restore' | 'stay' = 'restore';
    await timed(timings, 'checkpointed', async () => {
      next = (await hooks.checkpointed?.()) ?? 'restore';
    });
    if (next === 'restore') await control.leave(context, timings);
    else control.giveRoom();
  } catch (error) {
    failure ??= { error };
  }
  await copying;
  if (failure) {
    await control.recover(context);
    throw withProblem(process, failure.error);
  }
  return { timings, ...(refused !== undefined && { refused }) };
}
