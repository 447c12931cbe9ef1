/**
 * Runs tasks on worker threads and hands their results out in order of the tasks, so that output is the same whatever the
 * number of threads. A worker that dies fails the build with GCR9003; the other threads are stopped.
 */
import { Worker } from 'node:worker_threads';
import { InputError, InternalError } from '../diagnostics/index.js';
import type { ModuleInput } from './module-build.js';
import { type Task, type TaskResult, TaskRunner } from './tasks.js';
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
 * @throws InputError GCR9003 when a worker dies, the signal's reason when it is aborted, RangeError for bad `jobs`
 */
export async function* runTasks(
  tasks: readonly Task[],
  inputs: readonly ModuleInput[],
  options: PoolOptions,
): AsyncGenerator<TaskResult> {
  const { jobs } = options;
  if (jobs !== undefined && !(Number.isInteger(jobs) && jobs >= 1)) {
    throw new RangeError(`jobs must be a whole number from 1, not ${jobs}`);
  }
  // An abort of before gives no event any more.
  options.signal?.throwIfAborted();
  if (jobs === undefined || tasks.length === 0) {
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
  yield* runOnThreads(tasks, inputs, { ...options, jobs: Math.min(jobs, tasks.length) });
}

async function* runOnThreads(
  tasks: readonly Task[],
  inputs: readonly ModuleInput[],
  options: PoolOptions & { readonly jobs: number },
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
      for (const old of shared.keys()) if (old < module - options.jobs) shared.delete(old);
    }
    return bytes;
  };
  const workers = Array.from(
    { length: options.jobs },
    () =>
      new Worker(new URL('./worker.js', import.meta.url), { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB } }),
  );
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
    for (const worker of workers) {
      const held = { module: -1, index: -1 };
      worker.on('message', (result: TaskResult) => {
        results.set(held.index, result);
        start(worker, held);
        wake();
      });
      worker.on('exit', () => fail(new InternalError('a worker ended by itself')));
      worker.on('error', (error) => {
        const task = tasks[held.index];
        fail(workerFailure(error, task && inputs[task.module]!.name));
      });
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
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
