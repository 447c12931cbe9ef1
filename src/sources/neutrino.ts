/**
 * Neutrino trace folders (OSDI '25): trace root, one run, or one kernel's folder. The kernel's exact name comes from the
 * run's `event.log`, matched by the hash in the folder's name; the text from `original.ptx`, which the tool only prunes by
 * prefix. Instrumented files (`probed.*`) are never used.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/** A kernel's folder and the file to take its text from. */
export interface NeutrinoKernel {
  readonly folder: string;
  /** `original.ptx`, `original.bin` and `pruned.ptx` as far as they are there, by preference. */
  readonly files: readonly string[];
  /** The exact kernel name, when the run's log or `kernel.info` tells it. */
  readonly name?: string;
}

/** Largest `event.log` that is read for names. */
const MAX_LOG = 256 << 20;
const FILES = ['original.ptx', 'original.bin', 'pruned.ptx'] as const;
const INSTRUMENTED = ['probed.ptx', 'probed.bin'] as const;
const FOLDER_NAME = /^\d+_[0-9a-f]{40}$/;

function isFile(path: string): boolean {
  return existsSync(path) && statSync(path).isFile();
}

function isFolder(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

/**
 * Whether a folder is one kernel's folder of a trace. One that holds instrumented files only is such a folder too: it must
 * not be taken for a folder of PTX files.
 */
export function isKernelFolder(folder: string): boolean {
  const has = [...FILES, ...INSTRUMENTED].filter((file) => isFile(join(folder, file)));
  const named = FOLDER_NAME.test(basename(resolve(folder)));
  return has.length > 0 && (named || has.length > 1 || isFile(join(folder, 'kernel.info')));
}

/** Whether a folder is one run: it has a `kernel` folder and a log or probe. */
export function isRunFolder(folder: string): boolean {
  return isFolder(join(folder, 'kernel')) && (isFile(join(folder, 'event.log')) || isFile(join(folder, 'probe.toml')));
}

/**
 * Exact kernel names in a run's log: those that the program asked the driver for. The log is read as bytes, since
 * other lines can carry garbage.
 */
export function namesInLog(path: string): string[] {
  if (!isFile(path) || statSync(path).size > MAX_LOG) return [];
  const text = readFileSync(path, 'latin1');
  const names = new Set<string>();
  for (const match of text.matchAll(
    /(?:cuModuleGetFunction|cuLibraryGetKernel)[^\n]*?\bname[ :=]+([A-Za-z_$%][\w$]*)/g,
  )) {
    names.add(match[1]!);
  }
  return [...names];
}

function kernelName(folder: string, hashes: ReadonlyMap<string, string>): string | undefined {
  const hash = basename(resolve(folder)).replace(/^\d+_/, '');
  const exact = hashes.get(hash);
  if (exact !== undefined) return exact;
  const info = join(folder, 'kernel.info');
  if (!isFile(info)) return undefined;
  const [line] = readFileSync(info, 'latin1').split('\n');
  return /^[A-Za-z_$%][\w$]*/.exec(line?.trim() ?? '')?.[0];
}

function kernel(folder: string, hashes: ReadonlyMap<string, string>): NeutrinoKernel {
  const files = FILES.filter((candidate) => isFile(join(folder, candidate)));
  const name = kernelName(folder, hashes);
  return { folder, files, ...(name !== undefined && { name }) };
}

function hashedNames(run: string): Map<string, string> {
  return new Map(
    namesInLog(join(run, 'event.log')).map((name) => [createHash('sha1').update(name).digest('hex'), name]),
  );
}

/** The kernels of one run, in order of their folders' numbers. */
export function kernelsOfRun(run: string): NeutrinoKernel[] {
  const hashes = hashedNames(run);
  return readdirSync(join(run, 'kernel'))
    .map((name) => join(run, 'kernel', name))
    .filter(isFolder)
    .sort((a, b) => Number.parseInt(basename(a), 10) - Number.parseInt(basename(b), 10) || (a < b ? -1 : 1))
    .map((folder) => kernel(folder, hashes));
}

/** One kernel's folder; its run's log is two levels up. */
export function kernelOfFolder(folder: string): NeutrinoKernel {
  return kernel(folder, hashedNames(dirname(dirname(resolve(folder)))));
}
