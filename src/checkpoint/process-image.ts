/**
 * Images of processes beside the chunks: a folder `images/<name>` of files that CRIU wrote. A folder is made under a `.tmp` name, and has its final one before
 * a manifest names it; whoever holds the exclusive lock removes what no manifest names. So a crash leaves garbage and no checkpoint without its image.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Manifest, Problem, ProcessImage } from './types.js';

const FOLDER = 'images';
const NAME = /^[0-9a-f]{16}$/;
const TEMPORARY = /^[0-9a-f]{16}\.tmp$/;
/** Files that are read at once. */
const READ_BYTES = 1 << 20;

export const imageFolder = (store: string, { folder }: Pick<ProcessImage, 'folder'>): string =>
  join(store, FOLDER, folder);

type Files = ProcessImage['files'];

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
  async finish(): Promise<{ readonly folder: string; readonly files: Files }> {
    const files: { name: string; bytes: number; sha256: string }[] = [];
    for (const name of (await readdir(this.path)).sort()) {
      const path = join(this.path, name);
      await synced(path);
      files.push({ name, ...(await measured(path)) });
    }
    await synced(this.path);
    await rename(this.path, imageFolder(this.store, { folder: this.name }));
    await synced(join(this.store, FOLDER));
    return { folder: this.name, files };
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

async function measured(path: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const piece of createReadStream(path, { highWaterMark: READ_BYTES })) {
    hash.update(piece);
    bytes += piece.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** What is wrong with the image of a checkpoint; with `read`, every byte is looked at. */
export async function checkImage(store: string, image: ProcessImage, read: boolean): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  for (const { name, bytes, sha256 } of image.files) {
    const file = join(FOLDER, image.folder, name);
    const path = join(store, file);
    const fail = (message: string) =>
      problems.push({
        file,
        message,
        remedy: 'the memory of this checkpoint is unharmed; its process cannot be restored',
      });
    const found = await lstat(path).catch(() => undefined);
    if (!found?.isFile()) fail('is missing');
    else if (found.size !== bytes) fail(`has ${found.size} bytes instead of ${bytes}`);
    else if (read && (await measured(path)).sha256 !== sha256) fail('is damaged');
  }
  return problems;
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
