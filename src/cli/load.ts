/** Templates for a command to look at: from a template file, or built on the spot from anything `build` takes. */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import type { Diagnostic } from '../diagnostics/index.js';
import { buildTemplates, kernelsNotFound } from '../pipeline/index.js';
import { readTemplateFile, type TemplateFile } from '../templates/index.js';
import { buildOptions, type SharedOptions } from './options.js';
import { Progress } from './output.js';

export interface Loaded {
  readonly file: TemplateFile;
  readonly diagnostics: readonly Diagnostic[];
}

/** Whether a file starts like JSON; PTX and images never do. */
function looksLikeJson(path: string): boolean {
  try {
    if (!statSync(path).isFile()) return false;
    const descriptor = openSync(path, 'r');
    try {
      const head = Buffer.alloc(64);
      const length = readSync(descriptor, head, 0, head.length, 0);
      return /^\uFEFF?\s*[{[]/.test(head.toString('utf8', 0, length));
    } finally {
      closeSync(descriptor);
    }
  } catch {
    // What cannot be read is reported where it is read.
    return false;
  }
}

/**
 * Loads the templates of several inputs of either kind.
 *
 * @throws InputError for a template file that is not valid
 */
export async function loadTemplates(
  inputs: readonly string[],
  options: SharedOptions,
  signal: AbortSignal,
): Promise<Loaded> {
  const files = inputs.filter(looksLikeJson).map(readTemplateFile);
  const others = inputs.filter((input) => !looksLikeJson(input));
  const diagnostics: Diagnostic[] = [];
  if (others.length > 0) {
    const progress = new Progress('building templates');
    try {
      const built = await buildTemplates(
        others,
        buildOptions(options, signal, (done, total) => progress.update(done, total)),
      );
      diagnostics.push(...built.diagnostics.filter(({ code }) => code !== 'GCR9004'));
      files.push(built.product);
    } finally {
      progress.clear();
    }
  }
  const wanted = options.kernel && new Set(options.kernel);
  const modules = files.flatMap((file) => file.modules);
  let before = 0;
  const kernels = files.flatMap((file) => {
    const moved = file.kernels
      .filter((kernel) => !wanted || wanted.has(kernel.name))
      .map((kernel) => ({ ...kernel, module: kernel.module + before }));
    before += file.modules.length;
    return moved;
  });
  const missing = files.flatMap((file) => file.missing).filter((kernel) => !wanted || wanted.has(kernel.name));
  // Asked of all inputs together: a name may be in a template file alone.
  diagnostics.push(...kernelsNotFound(options.kernel, [...kernels, ...missing]));
  return { file: { ...files[0]!, modules, kernels, missing }, diagnostics };
}
