/**
 * Runs tasks on worker threads and hands their results out in order of the tasks, so that output is the same whatever the
 * number of threads. A worker that dies fails the build with GCR9003; the other threads are stopped.
 */
import { Worker } from 'node:worker_threads';
import { InputError, InternalError } from '../diagnostics/index.js';
import type { ModuleInput } from './module-build.js';
import type { Task, TaskResult } from './tasks.js';
import type { WorkerRequest } from './worker.js';

/** Trees and programs die young: with the usual few megabytes for young objects a fifth of the time goes to copying them. */
const YOUNG_MB = 64;

export interface PoolOptions {
  /**
   * Worker threads, a whole number from 1; without it the tasks run in the calling thread, which then answers to nothing
   * else meanwhile.
   */
  readonly jobs?: number;
  readonly signal?: AbortSignal;
  /** Called as results are handed out, with the number of finished tasks. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Tasks worked on ahead of the results handed out: finished ones wait in memory. */
const WINDOW = 64;

/** A worker thread, with what became of it before anybody listened. */
interface Hand {
  readonly worker: Worker;
  failure: Error | undefined;
}

/** Starts worker threads, which load the parser while the caller still looks for inputs. */
export function startWorkers(count: number): Hand[] {
  return Array.from({ length: count }, () => {
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    });
    const hand: Hand = { worker, failure: undefined };
    worker.on('error', (error: Error) => {
      hand.failure ??= error;
    });
    worker.on('exit', () => {
      hand.failure ??= new InternalError('a worker ended by itself');
    });
    return hand;
  });
}

/** Ends worker threads, whatever they do. */
export async function stopWorkers(hands: readonly Hand[]): Promise<void> {
  await Promise.all(hands.map(({ worker }) => worker.terminate()));
}

/** What a worker's death means to the user. Too little memory is told apart from a bug of ours. */
function workerFailure(error: NodeJS.ErrnoException, source: string | undefined): InputError {
  const memory = error.code === 'ERR_WORKER_OUT_OF_MEMORY';
  return new InputError({
    code: 'GCR9003',
    severity: 'error',
    message: memory ? 'a worker ran out of memory' : `a worker failed: ${error.message}`,
    ...(source !== undefined && { source }),
    hint: memory
      ? 'allow more with NODE_OPTIONS=--max-old-space-size=<MiB>, or build fewer kernels at a time with --kernel'
      : 'please report this with the input; try --kernel to leave it out',
  });
}

/**
 * Results of `tasks`, in their order.
 *
 * @param early workers that were started already, used before others are started; the caller stops them
 * @throws InputError GCR9003 when a worker dies, the signal's reason when it is aborted, RangeError for bad `jobs`
 */
export async function* runTasks(
  tasks: readonly Task[],
  inputs: readonly ModuleInput[],
  options: PoolOptions,
  early: readonly Hand[] = [],
): AsyncGenerator<TaskResult> {
  const { jobs } = options;
  if (jobs !== undefined && !(Number.isInteger(jobs) && jobs >= 1)) {
    throw new RangeError(`jobs must be a whole number from 1, not ${jobs}`);
  }
  // An abort of before gives no event any more.
  options.signal?.throwIfAborted();
  if (jobs === undefined || tasks.length === 0) {
    // Only here: with workers this thread has no use for the parser, which takes its time to load.
    const { TaskRunner } = await import('./task-runner.js');
    const runner = new TaskRunner((module) => inputs[module]!);
    let done = 0;
    for (const task of tasks) {
      options.signal?.throwIfAborted();
      const result = runner.run(task);
      options.onProgress?.(++done, tasks.length);
      yield result;
      // Lets signals and progress through between tasks.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return;
  }
  const wanted = Math.min(jobs, tasks.length);
  const more = startWorkers(Math.max(0, wanted - early.length));
  try {
    yield* runOnThreads(tasks, inputs, options, [...early, ...more].slice(0, wanted));
  } finally {
    await stopWorkers(more);
  }
}

async function* runOnThreads(
  tasks: readonly Task[],
  inputs: readonly ModuleInput[],
  options: PoolOptions,
  hands: readonly Hand[],
): AsyncGenerator<TaskResult> {
  const results = new Map<number, TaskResult>();
  const shared = new Map<number, SharedArrayBuffer>();
  const given = new Uint8Array(tasks.length);
  /** First task that was not given to anybody, and how many results were handed out. */
  let first = 0;
  let handed = 0;
  const left = new Map<number, number>();
  for (const { module } of tasks) left.set(module, (left.get(module) ?? 0) + 1);
  let wake: () => void = () => {};
  let failure: unknown;
  const fail = (error: unknown): void => {
    failure ??= error;
    wake();
  };
  const bytesOf = (module: number): SharedArrayBuffer => {
    let bytes = shared.get(module);
    if (!bytes) {
      const { text } = inputs[module]!;
      bytes = new SharedArrayBuffer(text.length);
      Buffer.from(bytes).write(text, 'latin1');
      shared.set(module, bytes);
    }
    return bytes;
  };
  const seats = hands.map(({ worker }) => ({ worker, module: -1, index: -1, idle: true }));
  /** The next task for a worker: of the module it has, else of one that nobody has, else any; not too far ahead. */
  const pick = (own: number): number => {
    while (first < tasks.length && given[first]) first++;
    let free = -1;
    let any = -1;
    for (let index = first; index < Math.min(tasks.length, handed + WINDOW); index++) {
      if (given[index]) continue;
      const { module } = tasks[index]!;
      if (module === own) return index;
      if (any < 0) any = index;
      if (free < 0 && seats.every((seat) => seat.module !== module)) free = index;
    }
    return free < 0 ? any : free;
  };
  const start = (seat: (typeof seats)[number]): void => {
    const index = pick(seat.module);
    seat.idle = index < 0;
    if (seat.idle) return;
    given[index] = 1;
    const task = tasks[index]!;
    seat.index = index;
    if (seat.module !== task.module) {
      seat.module = task.module;
      const { text: _text, ...input } = inputs[task.module]!;
      const request: WorkerRequest = { kind: 'module', module: task.module, input, bytes: bytesOf(task.module) };
      seat.worker.postMessage(request);
    }
    const request: WorkerRequest = { kind: 'task', task };
    seat.worker.postMessage(request);
    const rest = left.get(task.module)! - 1;
    left.set(task.module, rest);
    if (rest === 0) shared.delete(task.module);
  };
  const abort = () => fail(options.signal?.reason);
  options.signal?.addEventListener('abort', abort);
  try {
    for (const [number, hand] of hands.entries()) {
      const seat = seats[number]!;
      const { worker } = hand;
      const died = (): void => {
        const task = tasks[seat.index];
        fail(workerFailure(hand.failure as NodeJS.ErrnoException, task && inputs[task.module]!.name));
      };
      worker.on('message', (result: TaskResult) => {
        results.set(seat.index, result);
        start(seat);
        wake();
      });
      worker.on('error', died);
      worker.on('exit', died);
      if (hand.failure) died();
      start(seat);
    }
    for (let index = 0; index < tasks.length; index++) {
      while (!results.has(index)) {
        if (failure) throw failure;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (failure) throw failure;
      const result = results.get(index)!;
      results.delete(index);
      handed = index + 1;
      for (const seat of seats) if (seat.idle) start(seat);
      options.onProgress?.(index + 1, tasks.length);
      yield result;
    }
  } finally {
    options.signal?.removeEventListener('abort', abort);
  }
}
