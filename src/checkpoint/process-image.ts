/**
 * Images of processes beside the chunks: a folder `images/<name>` of files that CRIU wrote. A folder is made under a `.tmp` name, and has its final one before
 * a manifest names it; whoever holds the exclusive lock removes what no manifest names. So a crash leaves garbage and no checkpoint without its image.
 */
import { randomBytes } from 'node:crypto';
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileDigests, PIECE_BYTES } from './file-digests.js';
import type { Manifest, Problem, ProcessImage } from './types.js';

const FOLDER = 'images';
const NAME = /^[0-9a-f]{16}$/;
const TEMPORARY = /^[0-9a-f]{16}\.tmp$/;
/** Files that are made durable side by side; others use the same few threads of the system's. */
const SYNCED_AT_ONCE = 3;

export const imageFolder = (store: string, { folder }: Pick<ProcessImage, 'folder'>): string =>
  join(store, FOLDER, folder);

type Content = Pick<ProcessImage, 'folder' | 'files' | 'pieceBytes'>;

/** An image that is being written. */
export class ImageWriter {
  private constructor(
    readonly store: string,
    readonly name: string,
  ) {}

  /** @throws Error of the file system */
  static async begin(store: string): Promise<ImageWriter> {
    const writer = new ImageWriter(store, randomBytes(8).toString('hex'));
    await mkdir(writer.path, { recursive: true, mode: 0o700 });
    return writer;
  }

  /** Where the files go. */
  get path(): string {
    return join(this.store, FOLDER, `${this.name}.tmp`);
  }

  /** Makes everything durable under the final name. A manifest may name it from then on. */
  async finish(): Promise<Content> {
    const names = (await readdir(this.path)).sort();
    const paths = names.map((name) => join(this.path, name));
    const sized = await Promise.all(paths.map(async (path) => ({ path, bytes: (await lstat(path)).size })));
    const [digests, durable] = await Promise.allSettled([fileDigests(sized, PIECE_BYTES), allSynced(paths)]);
    if (digests.status === 'rejected') throw digests.reason;
    if (durable.status === 'rejected') throw durable.reason;
    const files = names.map((name, i) => ({ name, bytes: sized[i]!.bytes, sha256: digests.value[i]! }));
    await synced(this.path);
    await rename(this.path, imageFolder(this.store, { folder: this.name }));
    await synced(join(this.store, FOLDER));
    return { folder: this.name, files, pieceBytes: PIECE_BYTES };
  }

  /** Removes it, whether it was finished or not. */
  async abort(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
    await rm(imageFolder(this.store, { folder: this.name }), { recursive: true, force: true });
  }
}

async function synced(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function allSynced(paths: readonly string[]): Promise<void> {
  const rest = paths.values();
  const some = async () => {
    for (const path of rest) await synced(path);
  };
  await Promise.all(Array.from({ length: SYNCED_AT_ONCE }, some));
}

/** What is wrong with the image of a checkpoint; with `read`, every byte is looked at. @throws Error of the file system */
export async function checkImage(store: string, image: ProcessImage, read: boolean): Promise<readonly Problem[]> {
  const folder = imageFolder(store, image);
  const looks = image.files.map(async ({ name, bytes }) => {
    const found = await lstat(join(folder, name)).catch(() => undefined);
    if (!found?.isFile()) return 'is missing';
    return found.size === bytes ? undefined : `has ${found.size} bytes instead of ${bytes}`;
  });
  const wrong = await Promise.all(looks);
  if (read) {
    const whole = [...wrong.keys()].filter((i) => wrong[i] === undefined);
    const sized = whole.map((i) => ({ path: join(folder, image.files[i]!.name), bytes: image.files[i]!.bytes }));
    const digests = await fileDigests(sized, image.pieceBytes);
    for (const [at, i] of whole.entries()) if (digests[at] !== image.files[i]!.sha256) wrong[i] = 'is damaged';
  }
  return wrong.flatMap((message, i) => {
    if (message === undefined) return [];
    const remedy = 'the memory of this checkpoint is unharmed; its process cannot be restored';
    return [{ file: join(FOLDER, image.folder, image.files[i]!.name), message, remedy }];
  });
}

/** Names in the folder of images that no manifest has. */
export async function strayImages(store: string, manifests: readonly Manifest[]): Promise<readonly string[]> {
  const named = new Set(manifests.flatMap(({ image }) => (image ? [image.folder] : [])));
  const names = await readdir(join(store, FOLDER)).catch(() => []);
  return names.filter((name) => TEMPORARY.test(name) || (NAME.test(name) && !named.has(name)));
}

/** Removes images that no manifest has. Only under the exclusive lock. */
export async function removeStrayImages(store: string, manifests: readonly Manifest[]): Promise<void> {
  for (const name of await strayImages(store, manifests))
    await rm(join(store, FOLDER, name), { recursive: true, force: true });
}
