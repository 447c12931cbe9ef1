/** Errors of operations on a running process. All are `InputError`s that say what to do next; `kind` is for the exit code. */
import { type DiagnosticCode, InputError } from '../diagnostics/index.js';

export type RuntimeErrorKind = 'refused' | 'busy' | 'not-found' | 'failed';

export class RuntimeError extends InputError {
  constructor(
    readonly kind: RuntimeErrorKind,
    code: DiagnosticCode,
    message: string,
    hint?: string,
  ) {
    super({ code, severity: 'error', message, ...(hint !== undefined && { hint }) });
  }

  static is(error: unknown): error is RuntimeError {
    return error instanceof RuntimeError;
  }
}

export const cancelled = (): RuntimeError =>
  new RuntimeError('failed', 'GCR8112', 'the operation was cancelled; the application goes on');

/** @throws RuntimeError GCR8112 */
export function checkCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw cancelled();
}
