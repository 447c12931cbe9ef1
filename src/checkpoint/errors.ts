/**
 * Errors of the store. Whatever the native engine reports becomes an `InputError` here that names the file and says what
 * to do next; nothing else in this folder sees errors of the engine. `kind` keeps what happened for those who go on from
 * it (a manifest that vanished, a name that is taken).
 */
import { join } from 'node:path';
import { type DiagnosticCode, InputError } from '../diagnostics/index.js';
import {
  type Backend,
  type ChunkReader,
  type ChunkWriter,
  isStoreError,
  type StoreErrorCode,
} from '../native/index.js';
import type { Problem } from './types.js';

/** An error about one file of a store. */
export class StoreError extends InputError {
  constructor(
    readonly kind: StoreErrorCode,
    /** The name inside the store, for example `manifests/0123456789abcdef.json`. */
    readonly file: string,
    code: DiagnosticCode,
    place: string,
    message: string,
    hint: string,
  ) {
    super({ code, severity: 'error', message, source: file === '' ? place : join(place, file), hint });
  }

  /** The same as a finding of `verify`. */
  problem(): Problem {
    const { message, hint } = this.diagnostics[0]!;
    return { file: this.file, message, remedy: hint ?? '' };
  }
}

const DAMAGED_HINT: readonly (readonly [RegExp, string])[] = [
  [/^store\.json$/, 'copy store.json from a backup, or from any other store: only the time in it differs'],
  [/^index\//, 'run `gcr-templates verify STORE --repair-index`: the index is rebuilt from the packs'],
  [
    /^packs\//,
    'copy this pack from a backup of the store; without one, `gcr-templates prune` drops checkpoints that cannot be restored',
  ],
  [
    /^manifests\//,
    'copy this file from a backup of the store, or give the checkpoints that need it up with `gcr-templates prune --drop-damaged`',
  ],
];

/** What to do about a file that is damaged or missing. */
export function remedyFor(file: string): string {
  return DAMAGED_HINT.find(([pattern]) => pattern.test(file))?.[1] ?? 'copy this file from a backup of the store';
}

/** A file of the store that is not as the format says. */
export function damaged(place: string, file: string, message: string): StoreError {
  return new StoreError('damaged', file, 'GCR7012', place, message, remedyFor(file));
}

/** A request that contradicts itself or the store. */
export function invalid(place: string, message: string, hint = 'see docs/formats/store.md'): StoreError {
  return new StoreError('invalid', '', 'GCR7017', place, message, hint);
}

/** The engine's message without the file, which a diagnostic shows by itself. */
export function messageOf({ file, message }: { readonly file: string; readonly message: string }): string {
  return message.startsWith(`${file}: `) ? message.slice(file.length + 2) : message;
}

function translate(error: unknown, place: string): unknown {
  if (!isStoreError(error)) return error;
  const { code, file } = error;
  const inside = file === place ? '' : file;
  const message = messageOf(error);
  const make = (diagnostic: DiagnosticCode, hint: string) =>
    new StoreError(code, inside, diagnostic, place, message, hint);
  switch (code) {
    case 'not-found':
    case 'damaged':
    case 'invalid':
      return make('GCR7012', remedyFor(inside));
    case 'locked':
      return make('GCR7014', 'wait until the other process has finished, then try again');
    case 'no-space':
      return make('GCR7015', 'free space on this disk, for example with `gcr-templates prune`, then try again');
    case 'read-only':
      return make('GCR7015', 'make the folder writable for this user, then try again');
    case 'io':
      return make('GCR7015', 'look into the system log for errors of this disk; the store itself was left as it was');
    case 'exists':
      return make('GCR7015', 'try again');
  }
}

/** A backend whose errors are all `StoreError`s. */
export function translated(backend: Backend): Backend {
  const { place } = backend;
  const wrap =
    <A extends unknown[], T>(run: (...args: A) => Promise<T>) =>
    async (...args: A): Promise<T> => {
      try {
        return await run(...args);
      } catch (error) {
        throw translate(error, place);
      }
    };
  const make = <T>(open: () => T): T => {
    try {
      return open();
    } catch (error) {
      throw translate(error, place);
    }
  };
  const writer = (inner: ChunkWriter): ChunkWriter => ({
    write: wrap((bytes) => inner.write(bytes)),
    writeNamed: wrap((slots, names, lengths) => inner.writeNamed(slots, names, lengths)),
    finish: wrap(() => inner.finish()),
    abort: wrap(() => inner.abort()),
  });
  const reader = (inner: ChunkReader): ChunkReader => ({
    read: wrap((names, target) => inner.read(names, target)),
    has: wrap((names, lastLength) => inner.has(names, lastLength)),
    close: () => inner.close(),
  });
  return {
    place,
    get: wrap((name, limit) => backend.get(name, limit)),
    put: wrap((name, bytes, mode) => backend.put(name, bytes, mode)),
    list: wrap((folder) => backend.list(folder)),
    stat: wrap((name) => backend.stat(name)),
    remove: wrap((name) => backend.remove(name)),
    lock: wrap((mode, timeoutMs) => backend.lock(mode, timeoutMs)),
    writer: (options) => writer(make(() => backend.writer(options))),
    reader: (options) => reader(make(() => backend.reader(options))),
    compact: wrap((live, options) => backend.compact(live, options)),
    check: wrap((options) => backend.check(options)),
    rebuildIndex: wrap(() => backend.rebuildIndex()),
    close: () => backend.close(),
  };
}
