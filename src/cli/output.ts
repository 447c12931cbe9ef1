/**
 * What commands print and write: diagnostics and progress to standard error, results to standard output, files under a
 * temporary name that is renamed when they are whole.
 */
import {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { formatBytes } from '../checkpoint/index.js';
import { type Diagnostic, formatDiagnostic, InputError } from '../diagnostics/index.js';

/** Diagnostics shown at most; the rest is counted. A folder of broken files must not scroll the summary away. */
const SHOWN = 50;

/** Prints diagnostics to standard error, errors first. */
export function printDiagnostics(diagnostics: readonly Diagnostic[]): void {
  const order = { error: 0, warning: 1, note: 2 } as const;
  const sorted = [...diagnostics].sort((a, b) => order[a.severity] - order[b.severity]);
  for (const diagnostic of sorted.slice(0, SHOWN)) process.stderr.write(`${formatDiagnostic(diagnostic)}\n`);
  if (sorted.length > SHOWN) process.stderr.write(`… and ${sorted.length - SHOWN} more\n`);
}

/** The reader of our standard output went away (`| head`): no error, and nothing more to do. */
export class ReaderGone extends Error {
  override readonly name = 'ReaderGone';
}

/** One line of progress on a terminal, redrawn at most ten times a second; nothing elsewhere. */
export class Progress {
  readonly #active: boolean;
  readonly #started = Date.now();
  #last = 0;
  #drawn = false;

  /** @param wanted whether to draw at all; `unit`: bytes are shown with their rate */
  constructor(
    readonly label: string,
    wanted = true,
    readonly unit: 'things' | 'bytes' = 'things',
  ) {
    this.#active = wanted && process.stderr.isTTY === true;
  }

  update(done: number, total: number): void {
    if (!this.#active) return;
    const now = Date.now();
    if (now - this.#last < 100 && done < total) return;
    this.#last = now;
    this.#drawn = true;
    const share = total === 0 ? 100 : Math.floor((100 * done) / total);
    const seconds = (now - this.#started) / 1000;
    const text =
      this.unit === 'things'
        ? `${done}/${total} (${share} %)`
        : `${formatBytes(done)} of ${formatBytes(total)} (${share} %)${seconds > 0 ? `, ${formatBytes(done / seconds)}/s` : ''}`;
    process.stderr.write(`\r\x1b[K${this.label} ${text}`);
  }

  clear(): void {
    if (this.#drawn) process.stderr.write('\r\x1b[K');
    this.#drawn = false;
  }
}

/**
 * A file that appears whole or not at all: written beside its place, then renamed. A link is followed to the file it
 * means; what is no ordinary file (`/dev/null`, a pipe) is written to as it is. `-` is standard output.
 */
export class OutputFile {
  readonly #target: string;
  readonly #temporary: string | undefined;
  #descriptor: number | undefined;

  /** @throws InputError GCR9002 when the place cannot be written to */
  constructor(readonly path: string) {
    this.#target = path;
    if (path === '-') return;
    try {
      const known = lstatSync(path, { throwIfNoEntry: false });
      if (known?.isSymbolicLink()) this.#target = realpathSync(path);
      const kind = known?.isSymbolicLink() ? statSync(this.#target) : known;
      const direct = kind !== undefined && !kind.isFile() && !kind.isDirectory();
      if (kind?.isDirectory()) throw new Error('is a directory');
      // The new file takes the old one's place and permissions; one that may not be written is not replaced either.
      if (kind) accessSync(this.#target, constants.W_OK);
      this.#temporary = direct ? undefined : `${this.#target}.${process.pid}.tmp`;
      this.#descriptor = openSync(this.#temporary ?? this.#target, 'w', kind?.mode);
    } catch (error) {
      throw cannotWrite(path, error);
    }
  }

  write(content: string | Uint8Array): void {
    const bytes = typeof content === 'string' ? Buffer.from(content, 'utf8') : content;
    for (let at = 0; at < bytes.length; ) {
      try {
        at += writeSync(this.#descriptor ?? 1, bytes, at);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EPIPE' && this.path === '-') throw new ReaderGone();
        // A pipe that is full for the moment.
        if (code !== 'EAGAIN') throw cannotWrite(this.path, error);
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
      }
    }
  }

  commit(): void {
    if (this.#descriptor === undefined) return;
    try {
      if (this.#temporary !== undefined) fsyncSync(this.#descriptor);
      closeSync(this.#descriptor);
      this.#descriptor = undefined;
      if (this.#temporary !== undefined) renameSync(this.#temporary, this.#target);
    } catch (error) {
      this.discard();
      throw cannotWrite(this.path, error);
    }
  }

  /** Leaves the place as it was. */
  discard(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
    if (this.#temporary !== undefined) rmSync(this.#temporary, { force: true });
  }
}

export function cannotWrite(path: string, error: unknown): InputError {
  return new InputError({
    code: 'GCR9002',
    severity: 'error',
    message: (error as Error).message,
    source: path === '-' ? '<stdout>' : path,
    hint: 'choose another place with -o',
  });
}

/** Columns of text, padded; the last is left as it is. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length);
  }
  return rows
    .map((row) =>
      row
        .map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `name` shortened in the middle to `width` characters: mangled names differ at both ends. */
export function shorten(name: string, width = 60): string {
  if (name.length <= width) return name;
  const half = Math.floor((width - 1) / 2);
  return `${name.slice(0, half)}…${name.slice(name.length - (width - 1 - half))}`;
}
