/**
 * What commands and supervisors say to each other: one JSON object a line. A request has a version, a number of the client's choice and an
 * operation; every answer repeats the number. `report` lines come while an operation runs, then one `result` or `error`.
 */
import { type Diagnostic, InputError } from '../diagnostics/index.js';
import { TARGETS, type Target } from './chain.js';
import { RuntimeError, type RuntimeErrorKind } from './errors.js';

export const CONTROL_VERSION = 1;
/** Bytes of a line. */
export const MAX_LINE = 65_536;

export type ControlRequest =
  | { readonly operation: 'status' }
  | {
      readonly operation: 'checkpoint';
      readonly full?: boolean;
      readonly verify?: boolean;
      /** Take the control state off the device meanwhile. */
      readonly control?: boolean;
      /** With the host's side, by CRIU, so that it outlives the process. */
      readonly durable?: boolean;
      /** End the application when a durable one is done. */
      readonly stop?: boolean;
      /** Path of CRIU. */
      readonly criu?: string;
      readonly to?: Target;
      readonly note?: string;
    }
  | {
      readonly operation: 'suspend';
      readonly keepContext?: boolean;
      /** Let the process go when it is suspended: it waits for another supervisor. */
      readonly leave?: boolean;
      readonly to?: Target;
      readonly note?: string;
    }
  | { readonly operation: 'resume' }
  | { readonly operation: 'restore'; readonly id: string }
  | { readonly operation: 'drop'; readonly id: string };

export type ControlLine = { readonly number: number } & (
  | { readonly kind: 'report'; readonly step: string; readonly done?: number; readonly total?: number }
  | { readonly kind: 'result'; readonly result: unknown }
  | {
      readonly kind: 'error';
      readonly failure: RuntimeErrorKind | 'store' | 'internal';
      readonly diagnostics: readonly Diagnostic[];
    }
);

const bad = (message: string): RuntimeError =>
  new RuntimeError('failed', 'GCR8101', message, 'client and supervisor must be of the same version');

/** The members of each operation, and how they are checked: a type, or the values that there are. */
const OPERATIONS: Readonly<
  Record<ControlRequest['operation'], Readonly<Record<string, 'boolean' | 'string' | readonly string[]>>>
> = {
  status: {},
  checkpoint: {
    full: 'boolean',
    verify: 'boolean',
    control: 'boolean',
    durable: 'boolean',
    stop: 'boolean',
    criu: 'string',
    to: TARGETS,
    note: 'string',
  },
  suspend: { keepContext: 'boolean', leave: 'boolean', to: TARGETS, note: 'string' },
  resume: {},
  restore: { id: 'string' },
  drop: { id: 'string' },
};
const NEEDED: ReadonlySet<string> = new Set(['restore.id', 'drop.id']);
const MAX_TEXT = 4096;

/** @throws RuntimeError GCR8101; `number` is what could be read of the request's */
export function parseRequest(line: string): { readonly number: number; readonly request: ControlRequest } {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(line);
  } catch {
    throw bad('request is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('request is not an object');
  const { version, number, operation, ...members } = value;
  if (version !== CONTROL_VERSION)
    throw bad(`request has version ${JSON.stringify(version)} instead of ${CONTROL_VERSION}`);
  if (!Number.isSafeInteger(number)) throw bad('request has no number');
  if (typeof operation !== 'string' || !Object.hasOwn(OPERATIONS, operation)) throw bad('operation is not known');
  const known = OPERATIONS[operation as ControlRequest['operation']];
  for (const [name, member] of Object.entries(members)) {
    if (!Object.hasOwn(known, name)) throw bad(`${operation} has no member ${JSON.stringify(name.slice(0, 40))}`);
    const wanted = known[name]!;
    if (typeof wanted === 'string' ? typeof member !== wanted : !wanted.includes(member as string))
      throw bad(`${name} of ${operation} must be ${typeof wanted === 'string' ? `a ${wanted}` : wanted.join(' or ')}`);
    if (typeof member === 'string' && Buffer.byteLength(member) > MAX_TEXT)
      throw bad(`${name} has more than ${MAX_TEXT} bytes`);
  }
  for (const name of Object.keys(known))
    if (NEEDED.has(`${operation}.${name}`) && members[name] === undefined) throw bad(`${operation} needs ${name}`);
  return { number: number as number, request: { operation, ...members } as unknown as ControlRequest };
}

export function encodeRequest(number: number, request: ControlRequest): string {
  return `${JSON.stringify({ version: CONTROL_VERSION, number, ...request })}\n`;
}

/** The line that tells an error. */
export function errorLine(number: number, error: unknown): ControlLine {
  if (error instanceof InputError) {
    const failure = RuntimeError.is(error) ? error.kind : 'store';
    return { number, kind: 'error', failure, diagnostics: error.diagnostics };
  }
  const message = `internal error: ${(error as Error).stack ?? error}`;
  return { number, kind: 'error', failure: 'internal', diagnostics: [{ code: 'GCR8103', severity: 'error', message }] };
}

/** Cuts a stream of text into lines of bounded length. */
export class LineCutter {
  #text = '';

  /** @param line called for each whole line; @returns false when a line is too long */
  push(piece: string, line: (text: string) => void): boolean {
    this.#text += piece;
    for (let end = this.#text.indexOf('\n'); end >= 0; end = this.#text.indexOf('\n')) {
      if (end > MAX_LINE) return false;
      const text = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 1);
      line(text);
    }
    return this.#text.length <= MAX_LINE;
  }
}
