/** The exit codes of every command: one table, printed by `--help` and in the README. The high ones follow sysexits(3). */
import type { Diagnostic, DiagnosticCode } from '../diagnostics/index.js';

export const EXIT = {
  ok: 0,
  /** Finished, and some kernel's or launch's write set is `unknown` (or it has no template). */
  unknown: 3,
  usage: 64,
  badInput: 65,
  /** No such store, checkpoint, allocation or supervised process. */
  notFound: 66,
  /** An application cannot be supervised, saved or restored as asked, or its supervisor does not answer. */
  unavailable: 69,
  /** A bug of ours, or a worker that ran out of memory. */
  internal: 70,
  cannotWrite: 73,
  /** A store cannot be read or written: disk full, read-only, a failing device. */
  ioError: 74,
  /** A store is in use by another process, or a supervised process busy: trying again later helps. */
  locked: 75,
  programNotStarted: 126,
  programNotFound: 127,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Codes that end a command with something else than `badInput`. */
const BY_CODE: Partial<Record<DiagnosticCode, ExitCode>> = {
  GCR7010: EXIT.notFound,
  GCR7011: EXIT.notFound,
  GCR7014: EXIT.locked,
  GCR7015: EXIT.ioError,
  GCR7018: EXIT.notFound,
  GCR8102: EXIT.notFound,
  GCR8103: EXIT.unavailable,
  GCR8104: EXIT.locked,
  GCR8105: EXIT.unavailable,
  GCR8106: EXIT.locked,
  GCR8107: EXIT.unavailable,
  GCR8108: EXIT.unavailable,
  GCR8109: EXIT.unavailable,
  GCR8110: EXIT.internal,
  GCR8111: EXIT.unavailable,
  GCR8112: EXIT.interrupted,
  GCR8113: EXIT.unavailable,
  GCR8114: EXIT.unavailable,
  GCR8115: EXIT.unavailable,
  GCR8116: EXIT.unavailable,
  GCR8117: EXIT.unavailable,
  GCR8118: EXIT.unavailable,
  GCR9002: EXIT.cannotWrite,
  GCR9003: EXIT.internal,
};

/** The exit code for bad input with these diagnostics. */
export function exitCodeOf(diagnostics: readonly Diagnostic[]): ExitCode {
  return diagnostics.map(({ code }) => BY_CODE[code]).find((code) => code !== undefined) ?? EXIT.badInput;
}

export const EXIT_HELP = `Exit codes:
  0    done, every kernel's (launch's) write set is known at least by its allocation
  3    done, some kernel or launch ended 'unknown' or has no template
  64   wrong usage
  65   bad input; what could be built was still written. A store, checkpoint or export that is damaged
  66   no such store, checkpoint, allocation or supervised process
  69   an application cannot be supervised, saved or restored as asked, or its supervisor does not answer
  70   a bug in gcr-templates (a template that missed a write, too), or too little memory
  73   the output could not be written
  74   a store could not be read or written (disk full, read-only, I/O error)
  75   a store is in use or a supervised process is busy; try again. run: the application was left suspended
  126  run: the application could not be started; 127: it was not found
  130  interrupted; an output file or store of before is untouched`;
