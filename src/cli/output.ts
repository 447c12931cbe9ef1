/**
 * What commands print and write: diagnostics and progress to standard error, results to standard output, files under a
 * temporary name that is renamed when they are whole.
 */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
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

/** One line of progress on a terminal, redrawn at most ten times a second; nothing elsewhere. */
export class Progress {
  readonly #active = process.stderr.isTTY === true;
  #last = 0;
  #drawn = false;

  constructor(readonly label: string) {}

  update(done: number, total: number): void {
    if (!this.#active) return;
    const now = Date.now();
    if (now - this.#last < 100 && done < total) return;
    this.#last = now;
    this.#drawn = true;
    process.stderr.write(`\r\x1b[K${this.label} ${done}/${total} (${Math.floor((100 * done) / total)} %)`);
  }

  clear(): void {
    if (this.#drawn) process.stderr.write('\r\x1b[K');
    this.#drawn = false;
  }
}

/** A file that appears whole or not at all: written beside its place, then renamed. `-` is standard output. */
export class OutputFile {
  readonly #temporary: string;
  #descriptor: number | undefined;

  /** @throws InputError GCR9002 when the folder cannot be written to */
  constructor(readonly path: string) {
    this.#temporary = `${path}.${process.pid}.tmp`;
    if (path === '-') return;
    try {
      this.#descriptor = openSync(this.#temporary, 'w');
    } catch (error) {
      throw cannotWrite(path, error);
    }
  }

  write(text: string): void {
    const bytes = Buffer.from(text, 'utf8');
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#descriptor ?? 1, bytes, at);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (this.path === '-' && code === 'EAGAIN') return this.#retry(bytes);
      throw cannotWrite(this.path, error);
    }
  }

  /** A pipe that is full for the moment: waits a little. */
  #retry(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      try {
        at += writeSync(1, bytes, at);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw cannotWrite(this.path, error);
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
      }
    }
  }

  commit(): void {
    if (this.#descriptor === undefined) return;
    try {
      fsyncSync(this.#descriptor);
      closeSync(this.#descriptor);
      this.#descriptor = undefined;
      renameSync(this.#temporary, this.path);
    } catch (error) {
      this.discard();
      throw cannotWrite(this.path, error);
    }
  }

  discard(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
    if (this.path !== '-') rmSync(this.#temporary, { force: true });
  }
}

function cannotWrite(path: string, error: unknown): InputError {
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
