/**
 * Templates of an image in memory, as a driver was given it. A kernel gets a template only from a text that stands for the code
 * that runs: where the image has machine code of a kernel for an architecture that no text of it is for, the text may have been
 * compiled from other source, so the kernel is left without. A text that its compiler kept beside the same machine code is held to the
 * same rule.
 */
import { createHash } from 'node:crypto';
import {
  type FoundText,
  type MachineCodeKernel,
  type PtxSource,
  sourcesFromBuffer,
  splitVersions,
} from '../sources/index.js';
import type { MissingTemplate, TemplateFile } from '../templates/index.js';
import { type BuildOptions, type BuiltTemplates, buildTemplatesFromSources } from './build.js';

/** `sm_90a` and `sm_90` differ in instructions, not in what source they are compiled from. */
const generation = (architecture: string): string => /^sm_\d+/.exec(architecture)?.[0] ?? architecture;

function architectureOf({ origin, text }: PtxSource): string {
  if (origin.kind === 'container') return generation(origin.architecture);
  return generation(/^\s*\.target\s+(sm_\w+)/m.exec(text)?.[1] ?? '');
}

/** Kernels whose machine code no text stands for. */
function withoutText(product: TemplateFile, sources: readonly PtxSource[], machineCode: readonly MachineCodeKernel[]) {
  const architectures = new Map(sources.map((source) => [source.name, architectureOf(source)]));
  const texts = new Set(
    product.kernels.map(({ name, module }) => `${architectures.get(product.modules[module]?.source ?? '')} ${name}`),
  );
  const missing = new Map<string, MissingTemplate>();
  for (const { name, source, architecture } of machineCode) {
    if (texts.has(`${generation(architecture)} ${name}`)) continue;
    const message = `machine code for ${architecture} without PTX of the same target`;
    missing.set(name, { name, source, code: 'GCR1007', message });
  }
  return missing;
}

const sourcesBeside = ({ path, text }: FoundText, image: string): PtxSource[] =>
  splitVersions(text).map((block, index, all) => ({
    ...block,
    name: all.length > 1 ? `${path}[${index}]` : path,
    origin: { kind: 'triton', path, image },
  }));

/**
 * Never throws for what the image is: what cannot be used has no template, and why is in `diagnostics`.
 *
 * @param beside a text that was kept beside this very image
 */
export async function buildTemplatesFromImage(
  bytes: Buffer,
  name: string,
  options: BuildOptions = {},
  beside?: FoundText,
): Promise<BuiltTemplates> {
  const { product: found, diagnostics } = sourcesFromBuffer(name, bytes);
  const image = () => createHash('sha256').update(bytes).digest('hex');
  const sources = beside ? [...found.sources, ...sourcesBeside(beside, image())] : found.sources;
  const built = await buildTemplatesFromSources(sources, diagnostics, options);
  const { product } = built;
  const missing = withoutText(product, sources, found.machineCode);
  return {
    ...built,
    product: {
      ...product,
      kernels: product.kernels.filter((kernel) => !missing.has(kernel.name)),
      missing: [...product.missing.filter((kernel) => !missing.has(kernel.name)), ...missing.values()],
    },
  };
}
