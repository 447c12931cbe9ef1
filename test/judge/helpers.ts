/** The judge of scripts/judge over the sources: what tests call. */
import { lowerKernel, ModuleSymbols } from '../../src/ir/index.js';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';
import { parse } from '../../src/ptx/index.js';
import { ShadowExecutor } from '../../src/shadow/index.js';
import { compileKernel, DeviceMemory } from '../../src/sim/index.js';
import { splitVersions } from '../../src/sources/index.js';
import type { KernelTemplate, TemplateFile } from '../../src/templates/index.js';

export const library = {
  buildTemplatesFromText,
  lowerKernel,
  ModuleSymbols,
  parse,
  ShadowExecutor,
  compileKernel,
  DeviceMemory,
  splitVersions,
};

/** A kernel as scripts/judge/kernels.mjs loads it. */
export interface Entry {
  readonly file: string;
  readonly name: string;
  readonly template: KernelTemplate;
  readonly templates: TemplateFile;
  readonly recipe: ((template: KernelTemplate) => unknown[]) | undefined;
}
