/** The thread that looks for texts (text-search.ts): one question at a time, each answered. */
import { parentPort } from 'node:worker_threads';
import { type FoundText, TritonIndex, type WantedImage } from '../sources/index.js';

export interface TextQuestion {
  readonly number: number;
  readonly roots: readonly string[];
  readonly wanted: WantedImage;
  readonly owner: number;
  readonly milliseconds: number;
}

export interface TextAnswer {
  readonly number: number;
  readonly found?: FoundText;
}

const index = new TritonIndex();

parentPort!.on('message', ({ number, roots, wanted, owner, milliseconds }: TextQuestion) => {
  const found = index.find(roots, wanted, owner, Date.now() + milliseconds);
  parentPort!.postMessage({ number, ...(found && { found }) } satisfies TextAnswer);
});
