/**
 * A store of checkpoints, as programs use it: write, list, restore, compare, verify, prune, export, import. Format and
 * guarantees: docs/formats/store.md. The store knows nothing of GPUs; it is given allocations, lists of chunks, and a way to
 * read bytes. Several processes may use one store at once.
 */
import type { Writable } from 'node:stream';
import { type Backend, isStoreError, openBackend, type StorePlace } from '../native/index.js';
import { type Catalogue, findId, listIds, readCatalogue } from './catalogue.js';
import { type Contents, readChain, readContents, readManifest, type Step, walkContents } from './chain.js';
import { type Diff, diffContents } from './diff.js';
import { invalid, messageOf, StoreError, translated } from './errors.js';
import { MAX_NOTE_BYTES, manifestFile } from './manifest.js';
import { type Pruned, type PruneOptions, pruneBackend } from './prune.js';
import { demandPresent, openPlan, type RestorePlan } from './restore.js';
import { type Parent, WriteSession } from './session.js';
import { noStore, openStoreFile } from './store-file.js';
import { exportPlan, type Imported, importStream, type TransferOptions } from './transfer.js';
import type { DeviceInfo, KernelInfo, Manifest, ProcessInfo } from './types.js';
import { type Verification, type VerifyOptions, verifyBackend } from './verify.js';

/** How long a writer or reader waits for somebody who deletes, in milliseconds. */
const LOCK_TIMEOUT_MS = 10_000;

export interface BeginOptions {
  /** The id of the checkpoint that this one follows. */
  readonly parent?: string | null;
  /** `full`: all memory was looked at. `increment`: what changed since the parent. */
  readonly kind: 'full' | 'increment';
  readonly device?: DeviceInfo | null;
  readonly process?: ProcessInfo | null;
  readonly templates?: readonly string[];
  readonly launches?: Manifest['launches'];
  /** In any order and number; the least certain hundred are kept. */
  readonly kernels?: readonly KernelInfo[];
  /** At most 4,096 bytes. */
  readonly note?: string;
  readonly lockTimeoutMs?: number;
  /** Stops the session before its commit. */
  readonly signal?: AbortSignal;
}

function openTranslated(place: StorePlace, create: boolean): Backend {
  const name = 'directory' in place ? place.directory : place.mem;
  try {
    return translated(openBackend(place, { create }));
  } catch (error) {
    if (!isStoreError(error)) throw error;
    const message = messageOf(error);
    if (error.code === 'not-found') throw noStore(name, message);
    const code = error.code === 'damaged' || error.code === 'invalid' ? 'GCR7012' : 'GCR7015';
    throw new StoreError(error.code, '', code, name, message, 'give the folder of a store, or make this one usable');
  }
}

/** An open store. Close it when done. */
export class Store {
  readonly #backend: Backend;
  /** Sequence numbers by id: they never change, so each manifest is read for it once. */
  readonly #sequences = new Map<string, number>();
  /** What the last committed checkpoint of this process holds, so that the next increment need not read it. */
  #last: { readonly id: string; readonly contents: Contents } | undefined;

  private constructor(backend: Backend) {
    this.#backend = backend;
  }

  /**
   * @param place a folder, or a name of memory that lives as long as the process
   * @throws StoreError GCR7010 when there is no store, GCR7012 and GCR7013 when it cannot be used
   */
  static async open(place: StorePlace, { create = false }: { create?: boolean } = {}): Promise<Store> {
    const backend = openTranslated(place, create);
    try {
      await openStoreFile(backend, create);
      return new Store(backend);
    } catch (error) {
      backend.close();
      throw error;
    }
  }

  /** The folder, or the name of the memory. */
  get place(): string {
    return this.#backend.place;
  }

  close(): void {
    this.#backend.close();
  }

  /**
   * Begins a checkpoint; `commit` or `abort` the session.
   *
   * @throws StoreError GCR7011 when there is no such parent, GCR7012 when the parent cannot be restored (make a full one
   *   without a parent then), GCR7014 when somebody is deleting
   */
  async begin(options: BeginOptions): Promise<WriteSession> {
    const { kind, parent = null, note, signal } = options;
    const backend = this.#backend;
    if (kind === 'increment' && parent === null) throw invalid(this.place, 'an increment needs a parent');
    if (note !== undefined && Buffer.byteLength(note) > MAX_NOTE_BYTES)
      throw invalid(this.place, `a note has at most ${MAX_NOTE_BYTES} bytes`);
    const lock = await backend.lock('shared', options.lockTimeoutMs ?? LOCK_TIMEOUT_MS);
    try {
      const known = parent === null ? undefined : await this.#parent(parent);
      return new WriteSession({
        backend,
        lock,
        parent: known,
        writer: backend.writer(),
        description: {
          kind,
          created: new Date().toISOString(),
          device: options.device ?? null,
          process: options.process ?? null,
          templates: options.templates ?? [],
          launches: options.launches ?? null,
          kernels: options.kernels ?? [],
          ...(note !== undefined && { note }),
        },
        ...(signal && { signal }),
        nextSequence: () => this.#nextSequence(),
        onCommit: ({ id, sequence }, contents) => {
          this.#sequences.set(id, sequence);
          this.#last = { id, contents };
        },
      });
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  async #parent(id: string): Promise<Parent> {
    const backend = this.#backend;
    const chain = await readChain(backend, await this.#manifest(id));
    const { depth } = chain[0]!.map;
    const listed = chain.filter(({ map }) => !map.complete).reduce((sum, { chunks }) => sum + chunks.listed, 0);
    if (this.#last?.id === id) return { id, depth, listed, contents: this.#last.contents };
    const contents = await readContents(backend, chain);
    const reader = backend.reader();
    try {
      // An increment of what cannot be restored could not be restored either.
      await demandPresent(backend, reader, chain[0]!, contents);
    } finally {
      reader.close();
    }
    return { id, depth, listed, contents };
  }

  async #manifest(id: string): Promise<Manifest> {
    try {
      return await readManifest(this.#backend, id);
    } catch (error) {
      if (!(error instanceof StoreError && error.kind === 'not-found')) throw error;
      const hint = '`gcr-templates list` shows the checkpoints of a store';
      throw new StoreError('not-found', manifestFile(id), 'GCR7011', this.place, `no checkpoint ${id}`, hint);
    }
  }

  async #nextSequence(): Promise<number> {
    const ids = await listIds(this.#backend);
    if (ids.some((id) => !this.#sequences.has(id))) {
      const { checkpoints } = await readCatalogue(this.#backend);
      for (const { id, sequence } of checkpoints) this.#sequences.set(id, sequence);
    }
    const largest = ids.reduce((most, id) => Math.max(most, this.#sequences.get(id) ?? 0), 0);
    if (largest >= Number.MAX_SAFE_INTEGER) throw invalid(this.place, 'its sequence numbers are used up');
    return largest + 1;
  }

  /** All checkpoints, the oldest first, and manifests that cannot be read. */
  list(onProgress?: (done: number, total: number) => void): Promise<Catalogue> {
    return readCatalogue(this.#backend, onProgress);
  }

  /**
   * The id that a name means: the beginning of one id only, `latest`, or `latest~2` for the second before it in the order of `list`.
   *
   * @throws StoreError GCR7011
   */
  find(name: string): Promise<string> {
    return findId(this.#backend, name);
  }

  /** The manifest of a checkpoint. @throws StoreError GCR7011, GCR7012 */
  manifest(id: string): Promise<Manifest> {
    return this.#manifest(id);
  }

  /** Allocations and names of chunks of a checkpoint; content and its presence are not looked at. */
  contents(id: string): Promise<Contents> {
    return this.#shared(() => this.#contentsOf(id));
  }

  /**
   * Checks all that can be checked before the first byte is read, and says how to read it. Close the plan.
   *
   * @throws StoreError GCR7011, GCR7012
   */
  async restorePlan(id: string): Promise<RestorePlan> {
    await this.#manifest(id);
    const lock = await this.#backend.lock('shared', LOCK_TIMEOUT_MS);
    try {
      return await openPlan(this.#backend, lock, id);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Contents of several checkpoints, one after the other; cheap where each is the parent of the next. */
  async *walk(manifests: readonly Manifest[]): AsyncGenerator<Step, void, undefined> {
    const lock = await this.#backend.lock('shared', LOCK_TIMEOUT_MS);
    try {
      yield* walkContents(this.#backend, manifests);
    } finally {
      lock.release();
    }
  }

  /** What changed from checkpoint `a` to checkpoint `b`. */
  diff(a: string, b: string): Promise<Diff> {
    return this.#shared(async () => diffContents(await this.#contentsOf(a), await this.#contentsOf(b)));
  }

  async #contentsOf(id: string): Promise<Contents> {
    return readContents(this.#backend, await readChain(this.#backend, await this.#manifest(id)));
  }

  /** Looks at everything; see {@link verifyStore} for a store that does not even open. */
  verify(options: VerifyOptions = {}): Promise<Verification> {
    return verifyBackend(this.#backend, { lockTimeoutMs: LOCK_TIMEOUT_MS, ...options });
  }

  /** Deletes what no rule keeps. @throws StoreError GCR7012 when something is damaged, GCR7014 when the store is in use */
  prune(options: PruneOptions): Promise<Pruned> {
    return pruneBackend(this.#backend, { lockTimeoutMs: LOCK_TIMEOUT_MS, ...options });
  }

  /** Writes a checkpoint into a stream, which is not ended. Errors of the stream are thrown as they are. */
  async exportTo(id: string, stream: Writable, options: TransferOptions = {}): Promise<void> {
    const plan = await this.restorePlan(id);
    try {
      await exportPlan(plan, stream, options);
    } finally {
      plan.close();
    }
  }

  /**
   * Reads an exported checkpoint into the store.
   *
   * @param source the stream's name for messages
   * @throws InputError GCR7016 when it is damaged; nothing is then in the store
   */
  importFrom(stream: AsyncIterable<Uint8Array>, source: string, options: TransferOptions = {}): Promise<Imported> {
    const parts = {
      has: async (id: string) => (await this.#backend.stat(manifestFile(id))) !== undefined,
      nextSequence: () => this.#nextSequence(),
    };
    return this.#shared(() => importStream(this.#backend, stream, source, parts, options));
  }

  async #shared<T>(run: () => Promise<T>): Promise<T> {
    const lock = await this.#backend.lock('shared', LOCK_TIMEOUT_MS);
    try {
      return await run();
    } finally {
      lock.release();
    }
  }
}

/** `Store.verify` for a store whose store.json may be damaged, too. @throws StoreError GCR7010 when there is none */
export async function verifyStore(place: StorePlace, options: VerifyOptions = {}): Promise<Verification> {
  const backend = openTranslated(place, false);
  try {
    return await verifyBackend(backend, { lockTimeoutMs: LOCK_TIMEOUT_MS, ...options });
  } finally {
    backend.close();
  }
}
