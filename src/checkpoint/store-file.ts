/** `store.json`: says that a folder is a store, and of which kind. Nothing else is read before it was found to be known. */
import type { Backend } from '../native/index.js';
import { decodeCheckedJson, encodeCheckedJson, Members } from './checked-json.js';
import { damaged, StoreError } from './errors.js';
import { CHUNK_BYTES } from './types.js';

export const STORE_FILE = 'store.json';
const FORMAT = 'gcr-store';
const VERSION = 1;
const HASH = 'gcr-nh128-1';
const LIMIT = 1 << 16;

export function encodeStoreFile(created: string): Uint8Array {
  return encodeCheckedJson({ format: FORMAT, version: VERSION, chunkBytes: CHUNK_BYTES, hash: HASH, created });
}

/** @throws StoreError GCR7012 when damaged, GCR7013 when written by something newer */
export function checkStoreFile(bytes: Uint8Array, place: string): void {
  const members = new Members(decodeCheckedJson(bytes, place, STORE_FILE), place, STORE_FILE);
  if (members.text('format') !== FORMAT) throw damaged(place, STORE_FILE, 'is not of a store');
  const [version, hash, chunkBytes] = [members.count('version'), members.text('hash'), members.count('chunkBytes')];
  if (version === VERSION && hash === HASH && chunkBytes === CHUNK_BYTES) return;
  const found = `version ${version}, hash ${hash}, chunks of ${chunkBytes} bytes`;
  const message = `is a store of a kind that is not known here: ${found}`;
  const hint = 'use the gcr-templates that wrote it, or a newer one';
  throw new StoreError('invalid', STORE_FILE, 'GCR7013', place, message, hint);
}

/** Reads and checks `store.json`; writes it first into a new, empty store when asked to. */
export async function openStoreFile(backend: Backend, create: boolean): Promise<void> {
  const missing = (await backend.stat(STORE_FILE)) === undefined;
  if (missing) {
    const used = await Promise.all(['manifests', 'packs'].map((folder) => namesIn(backend, folder)));
    if (used.some((names) => names.length > 0)) throw damaged(backend.place, STORE_FILE, 'is missing');
    if (!create) throw noStore(backend.place, 'is not a store: it has no store.json');
    try {
      await backend.put(STORE_FILE, encodeStoreFile(new Date().toISOString()), 'create');
    } catch (error) {
      // Somebody else was making the same store.
      if (!(error instanceof StoreError && error.kind === 'exists')) throw error;
    }
  }
  checkStoreFile(await backend.get(STORE_FILE, LIMIT), backend.place);
}

async function namesIn(backend: Backend, folder: string): Promise<string[]> {
  try {
    return await backend.list(folder);
  } catch (error) {
    if (error instanceof StoreError && error.kind === 'not-found') return [];
    throw error;
  }
}

export function noStore(place: string, message: string): StoreError {
  const hint = 'give the folder of a store; `gcr-templates import` makes a new one';
  return new StoreError('not-found', '', 'GCR7010', place, message, hint);
}
