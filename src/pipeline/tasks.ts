/**
 * How a build is cut into tasks: a module whole, or a share of a large module's kernels. Shares are cut by the size of the
 * bodies, the same way wherever they are cut, so that a worker needs only the module's text and its share's number.
 */
import type { Diagnostic } from '../diagnostics/index.js';
import type { MissingTemplate, TemplateModule, Verdict } from '../templates/index.js';

/** Characters of text that make one share. */
export const SHARE_SIZE = 2 << 20;

/** One task: a share of one module. */
export interface Task {
  /** Index into the build's modules. */
  readonly module: number;
  readonly share: number;
  readonly shares: number;
}

/** A kernel as it goes into the file, with what a summary needs. */
export interface BuiltKernel {
  readonly name: string;
  readonly verdict: Verdict;
  /** The template as JSON. */
  readonly json: string;
  readonly writes: number;
  readonly reads: number;
}

export interface TaskResult {
  readonly task: Task;
  /** Of the first share only. */
  readonly description?: TemplateModule;
  readonly kernels: readonly BuiltKernel[];
  readonly missing: readonly MissingTemplate[];
  readonly diagnostics: readonly Diagnostic[];
}

/** The tasks of one module. */
export function tasksOf(module: number, text: string): Task[] {
  const shares = Math.max(1, Math.ceil(text.length / SHARE_SIZE));
  return Array.from({ length: shares }, (_, share) => ({ module, share, shares }));
}
