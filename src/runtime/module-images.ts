/**
 * The modules that an application loaded, and their templates, which are built while the application runs. Images are told apart by
 * their content, so a module that is loaded by a hundred processes is built once and kept between runs. Machine code without a text gets the
 * one that its compiler kept beside it, if there is one; then the text's content counts, too. This thread never touches an image: reading,
 * hashing, building and what is kept on disk are the business of a thread of its own (image-worker.ts), however large an image is.
 */
import { Worker } from 'node:worker_threads';
import {
  type PackedParts,
  PackedTemplates,
  packTemplates,
  TEMPLATE_FORMAT,
  TEMPLATE_VERSION,
} from '../templates/index.js';
import type { ImageAnswer, ImageQuestion } from './image-worker.js';
import { TemplateCache } from './template-cache.js';
import type { TextSearch } from './text-search.js';

const none = { format: TEMPLATE_FORMAT, version: TEMPLATE_VERSION, modules: [], kernels: [], missing: [] } as const;
const WITHOUT = new PackedTemplates(packTemplates(none));

/** An image in a sealed memory. */
export interface ImageFile {
  readonly fd: number;
  readonly bytes: number;
}

/** Who loaded an image. */
export interface ImageUser {
  readonly pid: number;
  /** Ten times the compute capabilities of its devices; empty when not known. */
  readonly devices: readonly number[];
}

type Question = ImageQuestion extends infer Q ? (Q extends { number: number } ? Omit<Q, 'number'> : never) : never;
/** An answer's content; its kind follows from the question's. */
type Answer<K extends 'name' | 'parts'> = Extract<ImageAnswer, { readonly [P in K]: unknown }>;

/** The thread; it begins anew after an end that nobody wanted. */
class ImageThread {
  readonly #waiting = new Map<number, { resolve(answer: ImageAnswer): void; reject(error: Error): void }>();
  #worker: Worker | undefined;
  #next = 1;
  #isClosed = false;

  constructor(readonly cacheFolder: string) {}

  /** @throws Error when it cannot answer, or has ended */
  async ask<K extends 'name' | 'parts'>(question: Question, number = this.#next++): Promise<Answer<K> & ImageAnswer> {
    if (this.#isClosed) throw new Error('closed');
    const answer = await new Promise<ImageAnswer>((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.#start().postMessage({ ...question, number } satisfies ImageQuestion);
    });
    if ('failure' in answer) throw new Error(answer.failure);
    return answer as Answer<K> & ImageAnswer;
  }

  /** The image that was read under a number is not needed any more. */
  forget(number: number): void {
    this.#worker?.postMessage({ kind: 'forget', number } satisfies ImageQuestion);
  }

  #start(): Worker {
    if (this.#worker) return this.#worker;
    const worker = new Worker(new URL('./image-worker.js', import.meta.url), { workerData: this.cacheFolder });
    this.#worker = worker;
    let why = new Error('the thread that reads images has ended');
    worker.on('message', (answer: ImageAnswer) => {
      const waiting = this.#waiting.get(answer.number);
      this.#waiting.delete(answer.number);
      waiting?.resolve(answer);
    });
    worker.on('error', (error) => {
      why = error;
    });
    worker.on('exit', () => {
      this.#worker = undefined;
      const waiting = [...this.#waiting.values()];
      this.#waiting.clear();
      for (const { reject } of waiting) reject(why);
    });
    // It must not keep the supervisor alive. Only now: listening to it would take that back.
    worker.unref();
    return worker;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    this.#isClosed = true;
    void this.#worker?.terminate();
  }
}

/** Builds templates of images; shared by the processes of a supervisor. */
export class TemplateBuilder {
  readonly #known = new Map<string, Promise<PackedTemplates>>();
  readonly #thread: ImageThread;

  /** @param cacheFolder where templates are kept between runs */
  constructor(
    cacheFolder: string,
    readonly texts: Pick<TextSearch, 'find'>,
    readonly onFailure: (message: string) => void,
  ) {
    this.#thread = new ImageThread(cacheFolder);
  }

  /**
   * The templates of an image; those of none when it cannot be used, which makes its launches unknown.
   *
   * @param named told the image's name, when it is known; then its memory may be closed, as it may when this has ended
   */
  async templates(file: ImageFile, user: ImageUser, named: (image: string) => void): Promise<PackedTemplates> {
    let image = '';
    try {
      const { name, isMachineCode, number } = await this.#thread.ask<'name'>({ kind: 'read', ...file });
      image = name;
      named(name);
      const key = keyOf(name, user.devices);
      let result = this.#known.get(key);
      if (result) this.#thread.forget(number);
      else {
        result = this.#find(number, key, isMachineCode ? { bytes: file.bytes, sha256: name } : undefined, user);
        this.#known.set(key, result);
      }
      return await result;
    } catch (error) {
      const label = image === '' ? 'an image' : `image-${image.slice(0, 12)}`;
      if (!this.#thread.isClosed)
        this.onFailure(`templates of ${label} could not be built: ${(error as Error).message}`);
      return WITHOUT;
    }
  }

  /** The templates of an image that was built before, by its name; those of none when they are not kept any more. */
  async templatesOf(image: string, user: ImageUser): Promise<PackedTemplates> {
    const key = keyOf(image, user.devices);
    const found = this.#known.get(key);
    if (found) return found.catch(() => WITHOUT);
    try {
      const { parts } = await this.#thread.ask<'parts'>({ kind: 'kept', key });
      return parts ? new PackedTemplates(parts) : WITHOUT;
    } catch {
      return WITHOUT;
    }
  }

  async #find(
    number: number,
    key: string,
    machineCode: { readonly bytes: number; readonly sha256: string } | undefined,
    { pid, devices }: ImageUser,
  ): Promise<PackedTemplates> {
    const text = machineCode && (await this.texts.find(pid, machineCode));
    const own = text ? TemplateCache.nameOf(Buffer.from(`${key}\n${text.path}\n${text.text}`, 'latin1')) : key;
    const answer = await this.#thread.ask<'parts'>({ kind: 'build', key: own, devices, text }, number);
    const templates = new PackedTemplates(answer.parts as PackedParts);
    // A text for machine code may appear later, for another process.
    if (machineCode && templates.size === 0) this.#known.delete(key);
    return templates;
  }

  /** Nobody needs templates any more: what is under way ends, and images that are still asked for have none. */
  close(): void {
    this.#thread.close();
  }
}

/** What templates are kept under: they are chosen for certain devices. */
const keyOf = (image: string, devices: readonly number[]): string =>
  TemplateCache.nameOf(Buffer.from([image, ...new Set(devices)].join('\n')));

/** What templates come from. */
export type ImageTemplates = Pick<TemplateBuilder, 'templates' | 'templatesOf'>;

/** The modules of one process by number. */
export class ModuleImages {
  readonly #templates = new Map<number, PackedTemplates | 'building'>();

  /**
   * @param onReady called when the templates of a module are there, with the names of its variables that they know
   * @param onNamed called with the name of the image of a module
   */
  constructor(
    readonly builder: ImageTemplates,
    readonly user: ImageUser,
    readonly onReady: (module: number, variables: readonly string[]) => void,
    readonly onNamed: (module: number, image: string) => void,
  ) {}

  /** @param close called when nobody needs the file any more */
  image(module: number, file: ImageFile, close: () => void): void {
    let isOpen = true;
    const closeOnce = (): void => {
      if (isOpen) close();
      isOpen = false;
    };
    const building = this.builder.templates(file, this.user, (image) => {
      closeOnce();
      this.onNamed(module, image);
    });
    this.#take(module, building.finally(closeOnce));
  }

  /** An image that an earlier supervisor has seen. */
  known(module: number, image: string): void {
    this.#take(module, this.builder.templatesOf(image, this.user));
  }

  #take(module: number, building: Promise<PackedTemplates>): void {
    this.#templates.set(module, 'building');
    void building.then((templates) => {
      if (this.#templates.get(module) === 'building') this.#templates.set(module, templates);
      this.onReady(module, templates.parts.variables);
    });
  }

  /** `absent`: its image has not come. */
  find(module: number): PackedTemplates | 'building' | 'absent' {
    return this.#templates.get(module) ?? 'absent';
  }

  gone(module: number): void {
    this.#templates.delete(module);
  }

  /** SHA-256 of the texts whose templates are in use. */
  get hashes(): readonly string[] {
    const made = [...this.#templates.values()].filter((templates) => templates !== 'building');
    return [...new Set(made.flatMap(({ parts }) => parts.modules.map(({ hash }) => hash)))].sort();
  }
}
