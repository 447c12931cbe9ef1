/** Worker thread: receives modules' texts as shared bytes, then tasks; answers each with its result. */
import { parentPort } from 'node:worker_threads';
import type { ModuleInput } from './module-build.js';
import { TaskRunner } from './task-runner.js';
import type { Task } from './tasks.js';

/** What the pool sends. A module's bytes are shared, not copied; each thread decodes them once. */
export type WorkerRequest =
  | {
      readonly kind: 'module';
      readonly module: number;
      readonly input: Omit<ModuleInput, 'text'>;
      readonly bytes: SharedArrayBuffer;
    }
  | { readonly kind: 'task'; readonly task: Task };

const port = parentPort;
if (port) {
  let held: { readonly module: number; readonly input: ModuleInput } | undefined;
  const runner = new TaskRunner((module) => {
    if (held?.module !== module) throw new Error(`module ${module} was not sent`);
    return held.input;
  });
  port.on('message', (request: WorkerRequest) => {
    if (request.kind === 'module') {
      const text = Buffer.from(request.bytes).toString('latin1');
      held = { module: request.module, input: { ...request.input, text } };
    } else {
      port.postMessage(runner.run(request.task));
    }
  });
}
