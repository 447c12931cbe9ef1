/**
 * The thread that reads module images and makes their templates (module-images.ts): whatever takes time that grows with an image is done
 * here. An image is named first, so that nobody builds what somebody has; images are built one at a time, each with as many threads as help.
 */
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { InputError } from '../diagnostics/index.js';
import { buildTemplatesFromImage } from '../pipeline/index.js';
import type { FoundText } from '../sources/index.js';
import { buffersOf, type PackedParts, packTemplates, type TemplateFile } from '../templates/index.js';
import { TemplateCache } from './template-cache.js';
import { isMachineCode } from './text-search.js';

/** To the thread. `number` is one's own for what follows. */
export type ImageQuestion =
  /** Reads an image from a file, which may be closed when the answer has come. */
  | { readonly kind: 'read'; readonly number: number; readonly fd: number; readonly bytes: number }
  /** Templates of the image that was read, kept under `key`. */
  | {
      readonly kind: 'build';
      readonly number: number;
      readonly key: string;
      readonly devices: readonly number[];
      readonly text: FoundText | undefined;
    }
  /** The image that was read is not needed. */
  | { readonly kind: 'forget'; readonly number: number }
  /** Templates that are kept under a key. */
  | { readonly kind: 'kept'; readonly number: number; readonly key: string };

/** Each question but `forget` is answered once. */
export type ImageAnswer =
  | { readonly number: number; readonly name: string; readonly isMachineCode: boolean }
  | { readonly number: number; readonly parts: PackedParts | undefined }
  | { readonly number: number; readonly failure: string };

/** Images up to this size are built in this thread, which takes no longer than starting others. */
const SMALL_IMAGE = 256 << 10;
/** Bytes hashed or read at once. */
const PIECE = 64 << 20;

const cache = new TemplateCache(workerData as string);
const read = new Map<number, Buffer>();
let turn: Promise<unknown> = Promise.resolve();

function readImage(fd: number, bytes: number): Buffer {
  const image = Buffer.allocUnsafeSlow(bytes);
  let at = 0;
  while (at < bytes) {
    const count = readSync(fd, image, at, Math.min(bytes - at, PIECE), at);
    if (count === 0) break;
    at += count;
  }
  return image.subarray(0, at);
}

function nameOf(image: Buffer): string {
  const hash = createHash('sha256');
  for (let at = 0; at < image.length; at += PIECE) hash.update(image.subarray(at, at + PIECE));
  return hash.digest('hex');
}

async function templatesOf(
  image: Buffer,
  { key, devices, text }: Extract<ImageQuestion, { readonly kind: 'build' }>,
): Promise<TemplateFile> {
  const kept = await cache.get(key);
  if (kept) return kept;
  const jobs = image.length > SMALL_IMAGE ? { jobs: availableParallelism() } : {};
  const { product } = await buildTemplatesFromImage(image, `image-${key.slice(0, 12)}`, { ...jobs, devices }, text);
  await cache.put(key, product);
  return product;
}

function answer(answer: ImageAnswer): void {
  parentPort!.postMessage(answer, 'parts' in answer && answer.parts ? buffersOf(answer.parts) : []);
}

const failed = (number: number, error: unknown): void =>
  answer({ number, failure: error instanceof InputError ? error.diagnostics[0]!.message : String(error) });

parentPort!.on('message', (question: ImageQuestion) => {
  const { number } = question;
  switch (question.kind) {
    case 'read':
      try {
        const image = readImage(question.fd, question.bytes);
        read.set(number, image);
        answer({ number, name: nameOf(image), isMachineCode: isMachineCode(image) });
      } catch (error) {
        failed(number, error);
      }
      return;
    case 'forget':
      read.delete(number);
      return;
    case 'build': {
      const image = read.get(number)!;
      read.delete(number);
      turn = turn
        .then(async () => answer({ number, parts: packTemplates(await templatesOf(image, question)) }))
        .catch((error) => failed(number, error));
      return;
    }
    case 'kept':
      void cache
        .get(question.key)
        .then((kept) => answer({ number, parts: kept && packTemplates(kept) }))
        .catch((error) => failed(number, error));
      return;
  }
});
