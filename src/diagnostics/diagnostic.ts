/**
 * Findings as values. Every stage returns its product together with diagnostics; a diagnostic names a code of the one
 * table, a place, and what to do next. Line and column are computed only when a diagnostic is printed, so carrying an
 * offset is all that the hot paths pay.
 */
import { CODES, type DiagnosticCode } from './codes.js';

/** `error`: the named construct could not be used. `warning`: used, with a wider answer. `note`: information. */
export type Severity = 'error' | 'warning' | 'note';

/** A half-open range of character offsets `[offset, offset + length)` in a source text. */
export interface Span {
  readonly offset: number;
  readonly length: number;
}

/** One finding. Immutable; safe to send between threads. */
export interface Diagnostic {
  readonly code: DiagnosticCode;
  readonly severity: Severity;
  /** What is wrong, in one sentence without the place. */
  readonly message: string;
  /** Display name of the input (a path as the user gave it, `<stdin>`, or `file.so#section`). */
  readonly source?: string;
  /** One-based line, zero or absent when not known. */
  readonly line?: number;
  /** One-based column, counted in characters. */
  readonly column?: number;
  /** The source line's text (shortened around the place when it is long). */
  readonly sourceLine?: string;
  /** What was expected at that place, most likely first. */
  readonly expected?: readonly string[];
  /** What the user can do next. */
  readonly hint?: string;
}

/** Bad input: the user's file, folder, argument. The command line turns it into exit code 65. */
export class InputError extends Error {
  override readonly name = 'InputError';
  readonly diagnostics: readonly Diagnostic[];

  constructor(diagnostics: Diagnostic | readonly Diagnostic[]) {
    const list = Array.isArray(diagnostics) ? (diagnostics as readonly Diagnostic[]) : [diagnostics as Diagnostic];
    super(list.map((diagnostic) => formatDiagnostic(diagnostic)).join('\n'));
    this.diagnostics = list;
  }
}

/** Our own bug: an invariant did not hold. The command line turns it into exit code 70. */
export class InternalError extends Error {
  override readonly name = 'InternalError';
}

/** Marks a place that the type checker proves unreachable; throws {@link InternalError} if it is reached. */
export function unreachable(value: never): never {
  throw new InternalError(`unreachable case: ${JSON.stringify(value)}`);
}

/** Renders a diagnostic for a terminal: place, severity, code, message, source line with a caret, expectation, hint. */
export function formatDiagnostic(diagnostic: Diagnostic): string {
  const place = [diagnostic.source, diagnostic.line, diagnostic.line ? diagnostic.column : undefined]
    .filter((part) => part !== undefined && part !== 0)
    .join(':');
  const lines = [`${place ? `${place}: ` : ''}${diagnostic.severity} ${diagnostic.code}: ${diagnostic.message}`];
  if (diagnostic.sourceLine !== undefined) {
    lines.push(`    ${diagnostic.sourceLine}`);
  }
  if (diagnostic.expected?.length) lines.push(`    expected ${diagnostic.expected.join(', ')}`);
  if (diagnostic.hint) lines.push(`    hint: ${diagnostic.hint}`);
  return lines.join('\n');
}

/** The short description of a code, from the table. */
export function describeCode(code: DiagnosticCode): string {
  return CODES[code];
}
