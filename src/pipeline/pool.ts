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
  let next = 0;
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
      // Tasks are given out in order: modules far behind are not asked for again.
      for (const old of shared.keys()) if (old < module - hands.length) shared.delete(old);
    }
    return bytes;
  };
  const start = (worker: Worker, held: { module: number; index: number }): void => {
    if (next >= tasks.length) return;
    const index = next++;
    const task = tasks[index]!;
    held.index = index;
    if (held.module !== task.module) {
      held.module = task.module;
      const { text: _text, ...input } = inputs[task.module]!;
      const request: WorkerRequest = { kind: 'module', module: task.module, input, bytes: bytesOf(task.module) };
      worker.postMessage(request);
    }
    const request: WorkerRequest = { kind: 'task', task };
    worker.postMessage(request);
  };
  const abort = () => fail(options.signal?.reason);
  options.signal?.addEventListener('abort', abort);
  try {
    for (const hand of hands) {
      const { worker } = hand;
      const held = { module: -1, index: -1 };
      const died = (): void => {
        const task = tasks[held.index];
        fail(workerFailure(hand.failure as NodeJS.ErrnoException, task && inputs[task.module]!.name));
      };
      worker.on('message', (result: TaskResult) => {
        results.set(held.index, result);
        start(worker, held);
        wake();
      });
      worker.on('error', died);
      worker.on('exit', died);
      if (hand.failure) died();
      start(worker, held);
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
      options.onProgress?.(index + 1, tasks.length);
      yield result;
    }
  } finally {
    options.signal?.removeEventListener('abort', abort);
  }
}
