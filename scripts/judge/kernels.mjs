/**
 * Every kernel of the fixtures, with what judging it needs: its template, its program for the simulator, the variables of
 * its module, its launch recipe. Takes the library as an argument, so that the script judges what was built and the tests
 * judge the sources. What has no template or no program is listed with the reason.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GEOMETRY } from '../truth/recipes/geometry.mjs';
import { IDEAS } from '../truth/recipes/ideas.mjs';
import { NVCC } from '../truth/recipes/nvcc.mjs';
import { TRITON } from '../truth/recipes/triton.mjs';

const ROOT = join(import.meta.dirname, '../..');
const FOLDERS = { nvcc: { ...NVCC, ...GEOMETRY }, triton: TRITON, ideas: IDEAS };
/** Where a module's variables are taken to be; each has 16 MiB. */
const VARIABLES = 0x700000000000 / 0x1000;
const VARIABLE_SPACING = 1 << 24;

function recipeOf(recipes, name) {
  if (recipes[name]) return recipes[name];
  const part = name.startsWith('_Z') && Object.keys(recipes).find((key) => name.includes(key) && /[A-Z]/.test(key[0]));
  return part ? recipes[part] : undefined;
}

/** Variables in device memory that any kernel of the module names. */
function variablesOf(programs) {
  const found = new Map();
  for (const { objects } of programs.values()) {
    for (const object of objects) {
      if (object.space !== 'global' && object.space !== 'constant') continue;
      if (found.has(object.name)) continue;
      found.set(object.name, { ...object, address: VARIABLES + found.size * VARIABLE_SPACING });
    }
  }
  return [...found.values()];
}

/** Kernels of one `.version` block. */
async function ofText(library, file, folder, text, leftOut) {
  const { product: templates } = await library.buildTemplatesFromText(text, file);
  const { product } = library.parse(text);
  const symbols = new library.ModuleSymbols(product, (node) => node.body);
  const programs = new Map();
  for (const node of symbols.kernels) {
    const lowered = library.lowerKernel(symbols, node).product;
    if (lowered) programs.set(node.name, lowered);
  }
  const variables = variablesOf(programs);
  const kernels = [];
  for (const missing of templates.missing) leftOut.push({ file, kernel: missing.name, reason: missing.message });
  for (const template of templates.kernels) {
    const program = programs.get(template.name);
    if (!program) {
      leftOut.push({ file, kernel: template.name, reason: 'is not lowered' });
      continue;
    }
    if (templates.modules[template.module].addressBits !== 64) {
      leftOut.push({ file, kernel: template.name, reason: 'addresses of 32 bits' });
      continue;
    }
    let compiled;
    kernels.push({
      file,
      name: template.name,
      template,
      templates: { ...templates, kernels: [template] },
      source: templates.modules[template.module].source,
      variables,
      recipe: recipeOf(FOLDERS[folder], template.name),
      get compiled() {
        compiled ??= library.compileKernel(program);
        return compiled;
      },
    });
  }
  return kernels;
}

/**
 * @param library the functions of the toolkit that judging uses
 * @param {(file: string) => boolean} select which files to load, by their path from the repository's root
 */
export async function loadKernels(library, select = () => true) {
  const kernels = [];
  const leftOut = [];
  for (const folder of Object.keys(FOLDERS)) {
    for (const name of readdirSync(join(ROOT, 'fixtures/ptx', folder)).sort()) {
      const file = `fixtures/ptx/${folder}/${name}`;
      if (!name.endsWith('.ptx') || !select(file)) continue;
      const text = readFileSync(join(ROOT, file), 'latin1').replace(/\0+$/, '');
      for (const block of library.splitVersions(text))
        kernels.push(...(await ofText(library, file, folder, block.text, leftOut)));
    }
  }
  return { kernels, leftOut };
}

/** A kernel of a text that is no fixture; its recipe gives cases as those of the fixtures do. */
export async function kernelsOfText(library, text, recipes = {}) {
  const kernels = await ofText(library, 'text.ptx', 'ideas', text, []);
  for (const kernel of kernels) kernel.recipe = recipes[kernel.name];
  return kernels;
}
