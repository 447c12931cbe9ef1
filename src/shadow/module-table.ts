/**
 * Which kernel and which variables a name in a trace means. Traces name modules by the path they had where they ran, and
 * templates by the path they were built from, so paths are matched from their end; whatever is not clear is an error, because
 * the wrong kernel's template gives wrong bytes.
 */
import { type Diagnostic, InputError } from '../diagnostics/index.js';
import { type KernelTemplate, objectsOf, type PackedTemplates, type TemplateFile } from '../templates/index.js';

/** Templates that one `module` event stands for: usually one module; several when one file holds several texts. */
export interface LoadedModule {
  /**
   * The templates of a kernel: none, one, or several of which one is true.
   *
   * @throws InputError GCR5015 when several kernels that differ have that name
   */
  kernels(name: string): readonly KernelTemplate[];
  /** Its variables in device memory that templates name; not those that templates disagree on. */
  readonly objects: ReadonlyMap<string, MemoryObject>;
  /** Places of its variables, by name. */
  readonly symbols: Map<string, bigint>;
  /** Why a kernel has no template. */
  whyMissing(name: string): string | undefined;
}

type MemoryObject = KernelTemplate['objects'][number];

function refuse(code: 'GCR5014' | 'GCR5015', message: string, hint: string): InputError {
  const diagnostic: Diagnostic = { code, severity: 'error', message, hint };
  return new InputError(diagnostic);
}

function groupByName(kernels: readonly KernelTemplate[]): Map<string, KernelTemplate[]> {
  const groups = new Map<string, KernelTemplate[]>();
  for (const kernel of kernels) {
    const group = groups.get(kernel.name);
    if (group) group.push(kernel);
    else groups.set(kernel.name, [kernel]);
  }
  return groups;
}

/** A file that holds several texts gives several sources, `path[0]`, `path[1]`, …: the path means all of them. */
const withoutNumber = (source: string): string => source.replace(/\[\d+\]$/, '');
const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Ways to recognise a path, best first. */
const MATCHES: readonly ((source: string, path: string) => boolean)[] = [
  (source, path) => source === path,
  (source, path) => source.endsWith(`/${path}`) || path.endsWith(`/${source}`),
  (source, path) => baseName(source) === baseName(path),
];

const NONE: readonly KernelTemplate[] = [];

/** Templates of a trace's module: it says which text it means, so kernels of one name are different kernels. */
function moduleOf(templates: TemplateFile, objects = objectsOf(templates.kernels)): LoadedModule {
  const kernels = groupByName(templates.kernels);
  return {
    kernels: (name) => {
      const found = kernels.get(name) ?? NONE;
      if (found.length < 2) return found;
      const [first] = found;
      if (found.some(({ hash }) => hash !== first!.hash)) {
        const sources = found.map(({ module }) => templates.modules[module]?.source ?? '?');
        const message = `kernel ${name} is in several modules: ${sources.slice(0, 5).join(', ')}`;
        throw refuse('GCR5015', message, 'put a module event before the launch, with a "hash" if paths do not tell');
      }
      return found.slice(0, 1);
    },
    objects: new Map([...objects].flatMap(([name, object]) => (object ? [[name, object]] : []))),
    symbols: new Map(),
    whyMissing: (name) => templates.missing.find((one) => one.name === name)?.message,
  };
}

/** An image, loaded by itself: the same one loaded twice is two modules with places of their own. */
export function loadImage(templates: PackedTemplates): LoadedModule {
  return {
    kernels: (name) => templates.kernels(name),
    objects: templates.objects,
    symbols: new Map(),
    whyMissing: (name) => templates.whyMissing(name),
  };
}

export class ModuleTable {
  /** By the smallest index of their modules. */
  readonly #loaded = new Map<number, LoadedModule>();
  /** Paths that were asked for without a hash. */
  readonly #byPath = new Map<string, LoadedModule>();
  /** What stands for "no module was named": every kernel there is. */
  readonly everything: LoadedModule;

  constructor(readonly templates: TemplateFile) {
    this.everything = moduleOf(templates, new Map());
  }

  /**
   * The module that a `module` event means.
   *
   * @param hash SHA-256 of its text; when given, only this decides
   * @throws InputError GCR5014 when the templates have none, or several that fit equally well
   */
  find(path: string, hash?: string): LoadedModule {
    const { modules } = this.templates;
    if (hash !== undefined) {
      const same = modules.findIndex((module) => module.hash === hash);
      if (same >= 0) return this.#load([same]);
      throw refuse(
        'GCR5014',
        `no template was built from ${path} with the hash ${hash}`,
        'build templates from that text',
      );
    }
    let module = this.#byPath.get(path);
    if (!module) {
      module = this.#match(path);
      this.#byPath.set(path, module);
    }
    return module;
  }

  #match(path: string): LoadedModule {
    const { modules } = this.templates;
    for (const fits of MATCHES) {
      const found = [...modules.keys()].filter((index) => {
        const { source } = modules[index]!;
        return fits(source, path) || fits(withoutNumber(source), path);
      });
      const sources = [...new Set(found.map((index) => withoutNumber(modules[index]!.source)))];
      if (sources.length === 1) return this.#load(found);
      if (sources.length > 1) {
        const hint = 'give more of the path, or a "hash", in the module event';
        throw refuse('GCR5014', `${path} may be ${sources.slice(0, 5).join(' or ')}`, hint);
      }
    }
    const known = [...new Set(modules.map(({ source }) => source))].slice(0, 5).join(', ');
    const hint = `templates are of ${known || 'no module'}; build them from ${path} too`;
    throw refuse('GCR5014', `${path} is not among the templates`, hint);
  }

  #load(indices: readonly number[]): LoadedModule {
    const key = indices[0]!;
    let module = this.#loaded.get(key);
    if (!module) {
      const wanted = new Set(indices);
      const kernels = this.templates.kernels.filter((kernel) => wanted.has(kernel.module));
      module = moduleOf({ ...this.templates, kernels });
      this.#loaded.set(key, module);
    }
    return module;
  }
}
