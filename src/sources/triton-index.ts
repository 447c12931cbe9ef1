/**
 * Which PTX text belongs to machine code that a program loaded: a Triton cache keeps both side by side under one stem, in folders
 * named by a hash. Folders are listed as images are asked for, each once, and never for longer than the asker allows; what was not
 * listed by then is listed at the next question. Files are told apart by size first and content last, so a text is found only
 * beside the very bytes that run.
 *
 * Nothing here throws for what a folder holds. It runs on a thread of its own (runtime/text-worker.ts), so it may block.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** A cache's folders lie one below its root, those of TorchInductor two. */
const MAX_DEPTH = 2;
/** A folder that changed this recently may not be complete yet. */
const YOUNG_MS = 30_000;
/** Files of machine code that are kept in mind, over all folders. */
const MAX_FILES = 1 << 20;
const MAX_TEXT_BYTES = 1 << 28;

/** What is looked for. */
export interface WantedImage {
  readonly bytes: number;
  readonly sha256: string;
}

/** A text with where it was found. */
export interface FoundText {
  readonly path: string;
  /** Decoded as latin1. */
  readonly text: string;
}

interface Listed {
  readonly changedMs: number;
  /** Whether it had been left alone for a while when it was listed. */
  readonly settled: boolean;
  readonly folders: readonly string[];
}

export class TritonIndex {
  readonly #listed = new Map<string, Listed>();
  /** Paths of machine code, without their ending, by size. */
  readonly #stems = new Map<number, Set<string>>();
  #files = 0;

  /**
   * @param roots folders to look in; those that are not there are passed over
   * @param owner texts of another user count only when that is the superuser
   * @param untilMs when to give up, as `Date.now()` counts
   */
  find(roots: readonly string[], wanted: WantedImage, owner: number, untilMs: number): FoundText | undefined {
    const tried = new Set<string>();
    const match = () => {
      for (const stem of this.#stems.get(wanted.bytes) ?? []) {
        if (tried.has(stem)) continue;
        tried.add(stem);
        const found = textBeside(stem, wanted, owner);
        if (found) return found;
      }
      return undefined;
    };
    let found = match();
    for (const root of roots) {
      const folders = this.#folders(root, 0, untilMs);
      while (!found && !folders.next().done) found = match();
    }
    return found;
  }

  /** Lists what is new in a folder and in those below it; stops for its user after each. */
  *#folders(folder: string, depth: number, untilMs: number): Generator<void> {
    if (Date.now() > untilMs) return;
    const before = this.#listed.get(folder);
    // A folder of files is named by what made them: once they are there, no others come.
    if (before?.settled && before.folders.length === 0 && depth > 0) return;
    let listed: Listed;
    try {
      listed = this.#list(folder, before);
    } catch {
      return;
    }
    this.#listed.set(folder, listed);
    yield;
    if (depth < MAX_DEPTH) for (const child of listed.folders) yield* this.#folders(child, depth + 1, untilMs);
  }

  #list(folder: string, before: Listed | undefined): Listed {
    const changedMs = statSync(folder).mtimeMs;
    if (before?.settled && before.changedMs === changedMs) return before;
    const settled = changedMs < Date.now() - YOUNG_MS;
    const folders: string[] = [];
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isFile() && path.endsWith('.cubin')) this.#add(path);
    }
    return { changedMs, settled, folders };
  }

  #add(path: string): void {
    const { size } = statSync(path);
    const stems = this.#stems.get(size) ?? new Set();
    this.#stems.set(size, stems);
    const stem = path.slice(0, -'.cubin'.length);
    if (this.#files >= MAX_FILES || stems.has(stem)) return;
    stems.add(stem);
    this.#files++;
  }
}

/** The text beside machine code, if that is what is wanted. */
function textBeside(stem: string, wanted: WantedImage, owner: number): FoundText | undefined {
  try {
    const code = readFileSync(`${stem}.cubin`);
    if (code.length !== wanted.bytes || createHash('sha256').update(code).digest('hex') !== wanted.sha256)
      return undefined;
    const path = `${stem}.ptx`;
    const { uid, size } = statSync(path);
    if ((uid !== owner && uid !== 0) || size > MAX_TEXT_BYTES) return undefined;
    return { path, text: readFileSync(path, 'latin1') };
  } catch {
    // Gone since it was listed, without a text, or not ours to read.
    return undefined;
  }
}
