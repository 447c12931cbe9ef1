/**
 * The whole way from inputs to templates: collect PTX texts, cut them into tasks, run them, hand on the results in order.
 * `buildTemplates` gives an object for programs; `buildTemplatesTo` streams a file, so that memory does not grow with the
 * number of kernels.
 */
import { statSync } from 'node:fs';
import type { Diagnostic } from '../diagnostics/index.js';
import { type CollectOptions, collectSources, type PtxSource, splitVersions } from '../sources/index.js';
import {
  type KernelTemplate,
  type MissingTemplate,
  TEMPLATE_FORMAT,
  TEMPLATE_VERSION,
  type TemplateFile,
  type TemplateModule,
  templateFileParts,
  type Verdict,
} from '../templates/index.js';
import type { ModuleInput } from './module-build.js';
import { runTasks, startWorkers, stopWorkers } from './pool.js';
import { type BuiltKernel, SHARE_SIZE, tasksOf } from './tasks.js';

/** Workers started before it is known how much there is to do. */
const EARLY_WORKERS = 2;
/** Characters at either end by which texts are told apart before they are compared. */
const ALIKE = 1000;

export interface BuildOptions extends CollectOptions {
  /** Worker threads, a whole number from 1. Without it everything is built in the calling thread. */
  readonly jobs?: number;
  /** Only kernels of these names. */
  readonly kernels?: readonly string[];
  readonly signal?: AbortSignal;
  /** Called with the number of finished tasks. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** What a build did, in numbers. */
export interface BuildSummary {
  readonly modules: number;
  readonly kernels: number;
  /** Kernels without a template, with the reason: they count as unknown. */
  readonly missing: readonly MissingTemplate[];
  readonly writes: number;
  readonly reads: number;
  readonly verdicts: Readonly<Record<Verdict, number>>;
  /** Characters of PTX read. */
  readonly characters: number;
  /** Kernels in order, with their verdicts. */
  readonly list: readonly {
    readonly name: string;
    readonly source: string;
    readonly verdict: Verdict;
    readonly writes: number;
  }[];
}

/**
 * One input a distinct text: the same PTX in a cache folder and a library, or in many kernels' folders of a trace, is built
 * once, for all kernels that any of them wants.
 */
function moduleInputs(sources: readonly PtxSource[], only: readonly string[] | undefined): ModuleInput[] {
  interface Distinct {
    readonly input: ModuleInput;
    kernels: Set<string> | undefined;
  }
  const distinct: Distinct[] = [];
  // Texts that begin, end and measure alike are compared: quicker than a hash of each.
  const alike = new Map<string, Distinct[]>();
  for (const { name, text, lineOffset, kernels, origin } of sources) {
    const key = `${text.length}:${text.slice(0, ALIKE)}${text.slice(-ALIKE)}`;
    const bucket = alike.get(key) ?? [];
    alike.set(key, bucket);
    const known = bucket.find(({ input }) => input.text === text);
    if (!known) {
      const image = origin.kind === 'triton' ? origin.image : undefined;
      const input: ModuleInput = { name, text, lineOffset, ...(image && { image }) };
      const entry: Distinct = { input, kernels: kernels && new Set(kernels) };
      distinct.push(entry);
      bucket.push(entry);
    } else if (!kernels) known.kernels = undefined;
    else for (const kernel of kernels) known.kernels?.add(kernel);
  }
  return distinct.map(({ input, kernels }) => {
    const wanted = only && kernels ? only.filter((name) => kernels.has(name)) : (only ?? (kernels && [...kernels]));
    return wanted ? { ...input, kernels: wanted } : input;
  });
}

/** An error for each name (GCR9004) that no kernel has. */
export function kernelsNotFound(
  names: readonly string[] | undefined,
  kernels: readonly { readonly name: string }[],
): Diagnostic[] {
  const known = new Set(kernels.map(({ name }) => name));
  return [...new Set(names)]
    .filter((name) => !known.has(name))
    .map((name) => ({
      code: 'GCR9004',
      severity: 'error',
      message: `no kernel is named '${name}'`,
      hint: 'names are as in the PTX; list them with `gcr-templates coverage`',
    }));
}

type Emit = (kernel: BuiltKernel, module: number) => void | Promise<void>;

interface Outcome {
  readonly modules: readonly TemplateModule[];
  readonly missing: readonly MissingTemplate[];
  readonly diagnostics: readonly Diagnostic[];
  readonly summary: BuildSummary;
}

/** Whether there is no more to do than one worker can, as far as the sizes of files tell. */
function isOneShare(inputs: readonly string[]): boolean {
  try {
    const files = inputs.map((input) => statSync(input));
    return files.every((file) => file.isFile()) && files.reduce((sum, { size }) => sum + size, 0) <= SHARE_SIZE;
  } catch {
    // A glob, standard input, or what will be told to be wrong.
    return false;
  }
}

async function run(inputs: readonly string[], options: BuildOptions, emit: Emit): Promise<Outcome> {
  options.signal?.throwIfAborted();
  const early = startWorkers(Math.min(options.jobs ?? 0, isOneShare(inputs) ? 1 : EARLY_WORKERS));
  try {
    const collected = await collectSources(inputs, options);
    return await build(
      moduleInputs(collected.product.sources, options.kernels),
      collected.diagnostics,
      collected.product.machineCode.filter((kernel) => !kernel.hasPtx),
      options,
      emit,
      early,
    );
  } finally {
    await stopWorkers(early);
  }
}

async function build(
  modules: readonly ModuleInput[],
  found: readonly Diagnostic[],
  withoutPtx: readonly { readonly name: string; readonly source: string; readonly architecture: string }[],
  options: BuildOptions,
  emit: Emit,
  early: ReturnType<typeof startWorkers> = [],
): Promise<Outcome> {
  const diagnostics: Diagnostic[] = [...found];
  const descriptions: TemplateModule[] = [];
  const missing: MissingTemplate[] = [];
  const list: BuildSummary['list'][number][] = [];
  const verdicts: Record<Verdict, number> = { exact: 0, bounded: 0, allocation: 0, unknown: 0 };
  const seen = new Set<string>();
  let writes = 0;
  let reads = 0;
  const tasks = modules.flatMap((module, index) => tasksOf(index, module.text));
  for await (const result of runTasks(tasks, modules, options, early)) {
    const { module } = result.task;
    const source = modules[module]!.name;
    if (result.description) descriptions[module] = result.description;
    for (const diagnostic of result.diagnostics) {
      // A function that several kernels call is reported once.
      const key = JSON.stringify(diagnostic);
      if (!seen.has(key)) diagnostics.push(diagnostic);
      seen.add(key);
    }
    missing.push(...result.missing);
    for (const kernel of result.kernels) {
      verdicts[kernel.verdict]++;
      writes += kernel.writes;
      reads += kernel.reads;
      list.push({ name: kernel.name, source, verdict: kernel.verdict, writes: kernel.writes });
      await emit(kernel, module);
    }
  }
  const wanted = options.kernels && new Set(options.kernels);
  for (const { name, source, architecture } of withoutPtx) {
    if (wanted && !wanted.has(name)) continue;
    missing.push({ name, source, code: 'GCR1007', message: `only machine code for ${architecture}` });
  }
  diagnostics.push(...kernelsNotFound(options.kernels, [...list, ...missing]));
  verdicts.unknown += missing.length;
  return {
    modules: descriptions,
    missing,
    diagnostics,
    summary: {
      modules: modules.length,
      kernels: list.length,
      missing,
      writes,
      reads,
      verdicts,
      characters: modules.reduce((sum, module) => sum + module.text.length, 0),
      list,
    },
  };
}

/** Templates with what was found on the way. */
export interface BuiltTemplates {
  readonly product: TemplateFile;
  readonly summary: BuildSummary;
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Builds the templates of everything that `inputs` name (files, globs, folders, `-`).
 *
 * @returns the templates with diagnostics; bad inputs are error diagnostics, and everything else is still built
 */
export async function buildTemplates(inputs: readonly string[], options: BuildOptions = {}): Promise<BuiltTemplates> {
  const kernels: KernelTemplate[] = [];
  const outcome = await run(inputs, options, (kernel) => {
    kernels.push(JSON.parse(kernel.json) as KernelTemplate);
  });
  return finished(outcome, kernels);
}

/**
 * The text as inputs give it: without a byte order mark and without NULs at the end, one character a byte. Worker threads
 * get bytes, so a character above U+00FF stands there as its UTF-8 bytes.
 */
function plainText(text: string): string {
  let end = text.length;
  while (end > 0 && text.charCodeAt(end - 1) === 0) end--;
  const plain = text.slice(text.startsWith('\uFEFF') ? 1 : 0, end);
  return /[^\x00-\xff]/.test(plain) ? Buffer.from(plain, 'utf8').toString('latin1') : plain;
}

/** Builds the templates of one PTX text, of one or several `.version` blocks. See {@link buildTemplates}. */
export async function buildTemplatesFromText(
  text: string,
  name = '<text>',
  options: BuildOptions = {},
): Promise<BuiltTemplates> {
  const blocks = splitVersions(plainText(text));
  const sources = blocks.map((block, index): PtxSource => {
    const own = blocks.length > 1 ? `${name}[${index}]` : name;
    return { name: own, text: block.text, lineOffset: block.lineOffset, origin: { kind: 'file', path: name } };
  });
  return buildTemplatesFromSources(sources, [], options);
}

/** Builds the templates of texts that were found already. See {@link buildTemplates}. */
export async function buildTemplatesFromSources(
  sources: readonly PtxSource[],
  found: readonly Diagnostic[],
  options: BuildOptions = {},
): Promise<BuiltTemplates> {
  const kernels: KernelTemplate[] = [];
  const outcome = await build(moduleInputs(sources, options.kernels), found, [], options, (kernel) => {
    kernels.push(JSON.parse(kernel.json) as KernelTemplate);
  });
  return finished(outcome, kernels);
}

function finished({ modules, missing, diagnostics, summary }: Outcome, kernels: readonly KernelTemplate[]) {
  const product: TemplateFile = { format: TEMPLATE_FORMAT, version: TEMPLATE_VERSION, kernels, modules, missing };
  return { product, summary, diagnostics };
}

/**
 * Builds as {@link buildTemplates}, handing the pieces of the template file to `write` as they are ready.
 *
 * @param write takes one piece; what it returns is awaited before the next
 */
export async function buildTemplatesTo(
  inputs: readonly string[],
  write: (piece: string) => void | Promise<void>,
  options: BuildOptions = {},
): Promise<{ readonly summary: BuildSummary; readonly diagnostics: readonly Diagnostic[] }> {
  const parts = templateFileParts();
  await write(parts.head);
  let first = true;
  const { modules, missing, diagnostics, summary } = await run(inputs, options, async (kernel) => {
    await write(parts.kernel(kernel.json, first));
    first = false;
  });
  await write(parts.tail(modules, missing));
  return { summary, diagnostics };
}
