/**
 * The modules that an application loaded, and their templates, which are built on worker threads while the application runs. Images
 * are told apart by their content, so a module that is loaded by a hundred processes is built once and kept between runs. Machine code
 * without a text gets the one that its compiler kept beside it, if there is one; then the text's content counts, too.
 */
import { availableParallelism } from 'node:os';
import { InputError } from '../diagnostics/index.js';
import { buildTemplatesFromImage } from '../pipeline/index.js';
import type { FoundText } from '../sources/index.js';
import { TEMPLATE_FORMAT, TEMPLATE_VERSION, type TemplateFile } from '../templates/index.js';
import { TemplateCache } from './template-cache.js';
import { isMachineCode, type TextSearch } from './text-search.js';

const WITHOUT: TemplateFile = {
  format: TEMPLATE_FORMAT,
  version: TEMPLATE_VERSION,
  modules: [],
  kernels: [],
  missing: [],
};

/** Builds templates of images, one image at a time with all threads; shared by the processes of a supervisor. */
export class TemplateBuilder {
  readonly #known = new Map<string, Promise<TemplateFile>>();
  readonly #closed = new AbortController();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    readonly cache: TemplateCache,
    readonly texts: Pick<TextSearch, 'find'>,
    readonly onFailure: (message: string) => void,
  ) {}

  /**
   * The templates of an image; those of none when it cannot be used, which makes its launches unknown.
   *
   * @param image its name
   * @param pid the process that loaded it
   */
  templates(bytes: Buffer, image: string, pid: number): Promise<TemplateFile> {
    let result = this.#known.get(image);
    if (!result) {
      result = this.#find(image, bytes, pid);
      this.#known.set(image, result);
      // A text for machine code may appear later, for another process.
      if (isMachineCode(bytes))
        void result.then(({ kernels }) => {
          if (kernels.length === 0) this.#known.delete(image);
        });
    }
    return result;
  }

  /** The templates of an image that was built before, by its name; those of none when they are not kept any more. */
  async templatesOf(image: string): Promise<TemplateFile> {
    const found = this.#known.get(image) ?? this.cache.get(image);
    return (await found) ?? WITHOUT;
  }

  async #find(image: string, bytes: Buffer, pid: number): Promise<TemplateFile> {
    const text = await this.texts.find(pid, bytes);
    const name = text ? TemplateCache.nameOf(Buffer.from(`${image}\n${text.path}\n${text.text}`, 'latin1')) : image;
    const cached = await this.cache.get(name);
    if (cached) return cached;
    const mine = this.#turn.then(() => this.#build(name, bytes, text));
    this.#turn = mine;
    return mine;
  }

  async #build(name: string, bytes: Buffer, text: FoundText | undefined): Promise<TemplateFile> {
    if (this.#closed.signal.aborted) return WITHOUT;
    const label = `image-${name.slice(0, 12)}`;
    try {
      const jobs = availableParallelism();
      const { signal } = this.#closed;
      const { product } = await buildTemplatesFromImage(bytes, label, { jobs, signal }, text);
      await this.cache.put(name, product);
      return product;
    } catch (error) {
      if (this.#closed.signal.aborted) return WITHOUT;
      const message = error instanceof InputError ? error.diagnostics[0]!.message : String(error);
      this.onFailure(`templates of ${label} could not be built: ${message}`);
      return WITHOUT;
    }
  }

  /** Nobody needs templates any more: what is under way ends, and images that are still asked for have none. */
  close(): void {
    this.#closed.abort();
  }
}

function variablesOf({ kernels }: TemplateFile): readonly string[] {
  const objects = kernels.flatMap((kernel) => kernel.objects);
  return [
    ...new Set(objects.filter(({ space }) => space === 'global' || space === 'constant').map(({ name }) => name)),
  ];
}

/** What templates come from. */
export type ImageTemplates = Pick<TemplateBuilder, 'templates' | 'templatesOf'>;

/** The modules of one process by number. */
export class ModuleImages {
  readonly #templates = new Map<number, TemplateFile | 'building'>();

  /**
   * @param pid the process
   * @param onReady called when the templates of a module are there, with the names of its variables that they know
   */
  constructor(
    readonly builder: ImageTemplates,
    readonly pid: number,
    readonly onReady: (module: number, variables: readonly string[]) => void,
  ) {}

  /** @returns the image's name */
  image(module: number, bytes: Buffer): string {
    const image = TemplateCache.nameOf(bytes);
    this.#take(module, this.builder.templates(bytes, image, this.pid));
    return image;
  }

  /** An image that an earlier supervisor has seen. */
  known(module: number, image: string): void {
    this.#take(module, this.builder.templatesOf(image));
  }

  #take(module: number, building: Promise<TemplateFile>): void {
    this.#templates.set(module, 'building');
    void building.then((templates) => {
      if (this.#templates.get(module) === 'building') this.#templates.set(module, templates);
      this.onReady(module, variablesOf(templates));
    });
  }

  /** `absent`: its image has not come. */
  find(module: number): TemplateFile | 'building' | 'absent' {
    return this.#templates.get(module) ?? 'absent';
  }

  gone(module: number): void {
    this.#templates.delete(module);
  }

  /** SHA-256 of the texts whose templates are in use. */
  get hashes(): readonly string[] {
    const files = [...this.#templates.values()].filter((file) => file !== 'building');
    return [...new Set(files.flatMap(({ modules }) => modules.map(({ hash }) => hash)))].sort();
  }
}
