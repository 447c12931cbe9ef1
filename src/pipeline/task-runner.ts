/** Runs the tasks of a build, in whatever thread: the half of `tasks.ts` that needs the parser and the analysis. */
import type { FunctionDeclaration } from '../ptx/index.js';
import type { MissingTemplate } from '../templates/index.js';
import { isTemplate, ModuleBuild, type ModuleInput } from './module-build.js';
import type { BuiltKernel, Task, TaskResult } from './tasks.js';

/** Kernels of one share: cut where the running size of the bodies passes a share's limit. */
function shareOf(kernels: readonly FunctionDeclaration[], share: number, shares: number): FunctionDeclaration[] {
  const size = (node: FunctionDeclaration) => node.length + 1;
  const total = kernels.reduce((sum, node) => sum + size(node), 0);
  let before = 0;
  return kernels.filter((node) => {
    const own = Math.min(shares - 1, Math.floor((before * shares) / total));
    before += size(node);
    return own === share;
  });
}

/** Runs tasks; remembers the last module, since the shares of one module come one after the other. */
export class TaskRunner {
  #last: { readonly module: number; readonly build: ModuleBuild; reported: number } | undefined;

  constructor(readonly inputOf: (module: number) => ModuleInput) {}

  run(task: Task): TaskResult {
    if (this.#last?.module !== task.module) {
      this.#last = { module: task.module, build: new ModuleBuild(this.inputOf(task.module)), reported: 0 };
    }
    const { build } = this.#last;
    const kernels: BuiltKernel[] = [];
    const missing: MissingTemplate[] = [];
    // The module's own findings belong to its first share, whoever runs it.
    const own = build.diagnostics.length;
    const before = this.#last.reported === 0 && task.share !== 0 ? own : this.#last.reported;
    for (const node of shareOf(build.kernels, task.share, task.shares)) {
      const built = build.build(node, task.module);
      if (isTemplate(built)) {
        kernels.push({
          name: built.name,
          verdict: built.verdict,
          json: JSON.stringify(built),
          writes: built.writes.length,
          reads: built.reads.length,
        });
      } else missing.push(built);
    }
    const diagnostics = build.diagnostics.slice(before);
    this.#last.reported = build.diagnostics.length;
    return {
      task,
      ...(task.share === 0 && { description: build.describe() }),
      kernels,
      missing,
      diagnostics,
    };
  }
}
