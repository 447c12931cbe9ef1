/**
 * Looks at everything in a store and reports all that is wrong, each with the file and what to do. Nothing is changed, but
 * by `repairIndex`, which rebuilds the index from the packs before looking.
 */
import type { Backend } from '../native/index.js';
import { readCatalogue } from './catalogue.js';
import { readChain, readManifest } from './chain.js';
import { StoreError } from './errors.js';
import { inspect } from './inspect.js';
import { checkImage, strayImages } from './process-image.js';
import { openPlan } from './restore.js';
import { openStoreFile } from './store-file.js';
import { byteProgress, type Manifest, type OnProgress, type Problem } from './types.js';

export interface VerifyOptions {
  /** Only this checkpoint and what it is an increment of. */
  readonly id?: string;
  /** Also read every chunk and check its hash. */
  readonly readData?: boolean;
  readonly repairIndex?: boolean;
  readonly lockTimeoutMs?: number;
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
}

export interface Verification {
  readonly problems: readonly Problem[];
  /** What costs space and harms nothing: left by writers that died. */
  readonly garbage: readonly Problem[];
  /** Checkpoints looked at, and those that cannot be restored. */
  readonly checkpoints: number;
  readonly unsound: readonly string[];
  /** What `repairIndex` found in the packs. */
  readonly rebuilt?: { readonly packs: number; readonly chunks: number };
}

/** @internal `Store.verify` and `verifyStore` open the backend */
export async function verifyBackend(backend: Backend, options: VerifyOptions): Promise<Verification> {
  const timeout = options.lockTimeoutMs ?? 0;
  let rebuilt: { packs: number; chunks: number } | undefined;
  if (options.repairIndex) {
    const exclusive = await backend.lock('exclusive', timeout);
    try {
      rebuilt = await backend.rebuildIndex();
    } finally {
      exclusive.release();
    }
  }
  const lock = await backend.lock('shared', timeout);
  const problems: Problem[] = [];
  const garbage: Problem[] = [];
  try {
    await collect(problems, () => openStoreFile(backend, false));
    const found =
      options.id === undefined
        ? await everything(backend, options, problems, garbage)
        : await one(backend, options, problems);
    return { problems: distinct(problems), garbage, ...found, ...(rebuilt && { rebuilt }) };
  } finally {
    lock.release();
  }
}

async function everything(backend: Backend, options: VerifyOptions, problems: Problem[], garbage: Problem[]) {
  const { readData = false, onProgress, signal } = options;
  const { checkpoints, damaged } = await readCatalogue(backend);
  problems.push(...damaged.map(({ file, message, remedy }) => ({ file, message, remedy })));
  const unsound = damaged.map(({ id }) => id);
  await collect(problems, async () => {
    const found = await backend.check({ readData, ...byteProgress(onProgress), ...(signal && { signal }) });
    for (const { file, message, remedy, harmless } of found)
      (harmless ? garbage : problems).push({ file, message, remedy });
  });
  await look(backend, checkpoints, problems, unsound, signal);
  await lookAtImages(backend.place, checkpoints, readData, problems, unsound);
  for (const name of await strayImages(backend.place, checkpoints))
    garbage.push({ file: `images/${name}`, message: 'is named by no manifest', remedy: 'the next prune removes it' });
  return { checkpoints: checkpoints.length + damaged.length, unsound };
}

async function one(backend: Backend, options: VerifyOptions, problems: Problem[]) {
  const { readData = false, onProgress, signal } = options;
  const id = options.id!;
  const unsound: string[] = [];
  await collect(problems, async () => {
    const chain = await readChain(backend, await readManifest(backend, id));
    await look(backend, chain, problems, unsound, signal);
  });
  await collect(problems, async () => {
    await lookAtImages(backend.place, [await readManifest(backend, id)], readData, problems, unsound);
  });
  if (problems.length === 0 && readData) {
    const lock = await backend.lock('shared', options.lockTimeoutMs ?? 0);
    await collect(problems, async () => {
      const plan = await openPlan(backend, lock, id);
      try {
        let done = 0;
        for await (const { bytes } of plan.pieces()) {
          signal?.throwIfAborted();
          done += bytes.length;
          onProgress?.(done, plan.manifest.allocations.bytes);
        }
      } finally {
        plan.close();
      }
    });
    lock.release();
  }
  return { checkpoints: 1, unsound: problems.length === 0 ? [] : [id] };
}

async function lookAtImages(
  store: string,
  checkpoints: readonly Manifest[],
  readData: boolean,
  problems: Problem[],
  unsound: string[],
): Promise<void> {
  for (const { id, image } of checkpoints) {
    const found = image ? await checkImage(store, image, readData) : [];
    problems.push(...found);
    if (found.length > 0 && !unsound.includes(id)) unsound.push(id);
  }
}

async function look(
  backend: Backend,
  checkpoints: readonly Manifest[],
  problems: Problem[],
  unsound: string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  await collect(problems, async () => {
    const reader = backend.reader();
    try {
      for await (const { manifest, problems: found, sound } of inspect(backend, reader, checkpoints)) {
        signal?.throwIfAborted();
        problems.push(...found);
        if (!sound) unsound.push(manifest.id);
      }
    } finally {
      reader.close();
    }
  });
}

/** Damage is a finding; that a disk cannot be read at all, or a lock not be had, is an error. */
async function collect(problems: Problem[], look: () => Promise<void>): Promise<void> {
  try {
    await look();
  } catch (error) {
    if (!(error instanceof StoreError) || error.kind === 'io' || error.kind === 'locked') throw error;
    problems.push(error.problem());
  }
}

function distinct(problems: readonly Problem[]): readonly Problem[] {
  return [...new Map(problems.map((problem) => [`${problem.file}\0${problem.message}`, problem])).values()];
}
