/** Where the native libraries are that an application is started with. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RuntimeError } from './errors.js';

const NATIVE = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'build', 'native');

export interface NativeLibraries {
  /** What is loaded in front of everything. */
  readonly recorder: string;
  /** The stand-in for the driver, and its folder; absent when the machine's own is used. */
  readonly driver?: { readonly file: string; readonly folder: string };
}

function demand(path: string, what: string): string {
  if (existsSync(path)) return path;
  const hint = 'run `npm run build:native` in the package; it needs cmake 3.20 and a C++20 compiler';
  throw new RuntimeError('refused', 'GCR8111', `${what} is not built (${path})`, hint);
}

/** @throws RuntimeError GCR8111 */
export function nativeLibraries(device: 'sim' | 'auto'): NativeLibraries {
  const recorder = demand(join(NATIVE, 'libgcr_recorder.so'), 'the recorder');
  if (device === 'auto') return { recorder };
  const folder = join(NATIVE, 'simdriver');
  return { recorder, driver: { folder, file: demand(join(folder, 'libcuda.so.1'), 'the simulated driver') } };
}
