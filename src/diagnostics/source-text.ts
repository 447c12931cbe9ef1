/**
 * A source text with its display name, and the map from offsets to lines and columns. Line starts are computed on first
 * use, once, so a text without findings never pays for them.
 */
import type { DiagnosticCode } from './codes.js';
import type { Diagnostic, Severity } from './diagnostic.js';

/** Longest piece of a source line shown in a message; a 100 MB line must not become a 100 MB message. */
const SHOWN_COLUMNS = 120;

/** What a diagnostic at a place of a {@link SourceText} needs beside the place. */
export interface DiagnosticDetails {
  readonly code: DiagnosticCode;
  readonly severity: Severity;
  readonly message: string;
  readonly expected?: readonly string[];
  readonly hint?: string;
}

/** A text, its display name, and offset → line/column. Offsets are indices into {@link SourceText.text}. */
export class SourceText {
  readonly name: string;
  readonly text: string;
  #lineStarts: Uint32Array | undefined;

  constructor(name: string, text: string) {
    this.name = name;
    this.text = text;
  }

  /** One-based line and column of an offset; offsets outside the text are clamped to it. O(log lines). */
  position(offset: number): { readonly line: number; readonly column: number } {
    const starts = this.#starts();
    const at = Math.min(Math.max(offset, 0), this.text.length);
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (starts[middle]! <= at) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: at - starts[low]! + 1 };
  }

  /** One-based line of an offset. */
  line(offset: number): number {
    return this.position(offset).line;
  }

  /** A diagnostic at an offset, with line, column and a caret under the place. */
  diagnostic(offset: number, details: DiagnosticDetails): Diagnostic {
    const { line, column } = this.position(offset);
    const start = this.#starts()[line - 1]!;
    let end = this.text.indexOf('\n', start);
    if (end < 0) end = this.text.length;
    if (end > start && this.text.charCodeAt(end - 1) === 13) end--;
    const at = start + column - 1;
    const from = at - start > SHOWN_COLUMNS / 2 ? at - SHOWN_COLUMNS / 2 : start;
    const to = Math.min(end, from + SHOWN_COLUMNS);
    const shown = this.text.slice(from, Math.max(to, from)).replace(/[^\x20-\x7e]/g, (c) => (c === '\t' ? ' ' : '·'));
    const before = from > start ? '…' : '';
    const after = to < end ? '…' : '';
    const caret = `${' '.repeat(Math.max(0, at - from + before.length))}^`;
    return { ...details, source: this.name, line, column, sourceLine: `${before}${shown}${after}\n    ${caret}` };
  }

  #starts(): Uint32Array {
    if (this.#lineStarts) return this.#lineStarts;
    let count = 1;
    for (let at = this.text.indexOf('\n'); at >= 0; at = this.text.indexOf('\n', at + 1)) count++;
    const starts = new Uint32Array(count);
    let index = 1;
    for (let at = this.text.indexOf('\n'); at >= 0; at = this.text.indexOf('\n', at + 1)) starts[index++] = at + 1;
    this.#lineStarts = starts;
    return starts;
  }
}
