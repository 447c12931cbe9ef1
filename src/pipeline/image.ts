/**
 * Templates of an image in memory, as a driver was given it. A kernel gets a template from each text that may stand for the code that
 * runs (`candidates.ts`), once where texts come to the same; it has none where other code may run. A text that its compiler kept beside
 * machine code is held to the same rule.
 */
import { createHash } from 'node:crypto';
import type { Diagnostic } from '../diagnostics/index.js';
import {
  entryNames,
  type FoundText,
  type MachineCodeKernel,
  type PtxSource,
  sourcesFromBuffer,
  splitVersions,
} from '../sources/index.js';
import type { KernelTemplate, MissingTemplate, TemplateFile } from '../templates/index.js';
import { type BuildOptions, type BuiltTemplates, buildTemplatesFromSources } from './build.js';
import { type Code, candidates, codeOf, type Target, targetOf } from './candidates.js';

export interface ImageOptions extends BuildOptions {
  /** Ten times the compute capabilities of the devices that may run it; any when absent or empty. */
  readonly devices?: readonly number[];
}

const sourcesBeside = ({ path, text }: FoundText, image: string): PtxSource[] =>
  splitVersions(text).map((block, index, all) => ({
    ...block,
    name: all.length > 1 ? `${path}[${index}]` : path,
    origin: { kind: 'triton', path, image },
  }));

function groupBy<K, V>(list: readonly V[], keyOf: (item: V) => K): Map<K, V[]> {
  const groups = new Map<K, V[]>();
  for (const item of list) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

/** What one text of an image says of one kernel. */
interface Saying {
  readonly target: Target;
  readonly template?: KernelTemplate;
  readonly missing?: MissingTemplate;
}

/** What texts say, by kernel. */
function sayings({ modules, kernels, missing }: TemplateFile, sources: readonly PtxSource[]): Map<string, Saying[]> {
  const byKernel = new Map<string, Saying[]>();
  const templates = groupBy(kernels, ({ module }) => module);
  const without = groupBy(missing, ({ source }) => source);
  const texts = new Map(sources.map(({ name, text }) => [name, text]));
  for (const [index, { source, target }] of modules.entries()) {
    const own = new Map((templates.get(index) ?? []).map((template) => [template.name, template]));
    const why = new Map((without.get(source) ?? []).map((one) => [one.name, one]));
    // A text that has it without a template may be the one as well.
    for (const name of new Set([...entryNames(texts.get(source) ?? ''), ...own.keys(), ...why.keys()])) {
      const [template, missing] = [own.get(name), why.get(name)];
      const saying = { target: targetOf(target), ...(template && { template }), ...(missing && { missing }) };
      const list = byKernel.get(name);
      if (list) list.push(saying);
      else byKernel.set(name, [saying]);
    }
  }
  return byKernel;
}

/** What does not say where a kernel writes: of which text it is, and why something is not known, which names lines. */
const ASIDE: ReadonlySet<string> = new Set(['module', 'hash', 'line', 'message']);

/** Whether two templates, or parts of them, say the same. */
function areAlike(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((item, index) => areAlike(item, b[index]));
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) => ASIDE.has(key) || areAlike(a[key as keyof typeof a], b[key as keyof typeof b]));
}

/** The same thing said once: the first stays. */
function withoutEqual(templates: readonly KernelTemplate[]): readonly KernelTemplate[] {
  const distinct: KernelTemplate[] = [];
  for (const template of templates) if (!distinct.some((one) => areAlike(one, template))) distinct.push(template);
  return distinct;
}

const nameOf = ({ number, suffix }: Target): string => `sm_${number}${suffix}`;

/** The template or templates of one kernel, or why there is none. */
function choose(
  name: string,
  texts: readonly Saying[],
  codes: readonly { readonly source: string; readonly code: Code }[],
  devices: readonly number[],
): readonly KernelTemplate[] | MissingTemplate {
  const found = candidates(
    texts.map(({ target }) => target),
    codes.map(({ code }) => code),
    devices,
  );
  if ('without' in found) {
    const { source } = codes.find(({ code }) => code.target === found.without)!;
    const message = `machine code for ${nameOf(found.without)} without PTX of the same target`;
    return { name, source, code: 'GCR1007', message };
  }
  const chosen: KernelTemplate[] = [];
  for (const index of found.texts) {
    const { template, missing, target } = texts[index]!;
    if (template) chosen.push(template);
    else return missing ?? { name, source: nameOf(target), code: 'GCR2002', message: 'its text is not understood' };
  }
  return withoutEqual(chosen);
}

/** A part of an image that cannot be read may be what runs. */
const UNREAD: ReadonlySet<string> = new Set(['GCR1005', 'GCR1006', 'GCR1009', 'GCR1010']);

/**
 * Never throws for what the image is: what cannot be used has no template, and why is in `diagnostics`. Kernels of one name are what
 * several texts say, one of which is true.
 *
 * @param beside a text that was kept beside this very image
 */
export async function buildTemplatesFromImage(
  bytes: Buffer,
  name: string,
  options: ImageOptions = {},
  beside?: FoundText,
): Promise<BuiltTemplates> {
  const { product: found, diagnostics } = sourcesFromBuffer(name, bytes);
  const image = () => createHash('sha256').update(bytes).digest('hex');
  const sources = beside ? [...found.sources, ...sourcesBeside(beside, image())] : found.sources;
  const built = await buildTemplatesFromSources(sources, diagnostics, options);
  const unread = diagnostics.find(({ code }) => UNREAD.has(code));
  return { ...built, product: chosen(built.product, sources, found.machineCode, options.devices ?? [], unread) };
}

function chosen(
  product: TemplateFile,
  sources: readonly PtxSource[],
  machineCode: readonly MachineCodeKernel[],
  devices: readonly number[],
  unread: Diagnostic | undefined,
): TemplateFile {
  const texts = sayings(product, sources);
  const codes = groupBy(
    machineCode.map((kernel) => ({ name: kernel.name, source: kernel.source, code: codeOf(kernel) })),
    ({ name }) => name,
  );
  const kernels: KernelTemplate[] = [];
  const missing: MissingTemplate[] = [];
  for (const name of new Set([...texts.keys(), ...codes.keys()])) {
    if (unread) {
      const message = `a part of its image cannot be read: ${unread.message}`;
      missing.push({ name, source: unread.source ?? '', code: unread.code, message });
      continue;
    }
    const found = choose(name, texts.get(name) ?? [], codes.get(name) ?? [], devices);
    if ('code' in found) missing.push(found);
    else kernels.push(...found);
  }
  return { ...product, kernels, missing };
}
