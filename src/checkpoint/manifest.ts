/**
 * Manifests: one file a checkpoint; its appearance is the commit. `decodeManifest` gives back nothing that is not of the
 * documented shape, so whoever has a `Manifest` need not look at types or ranges again. Whether it fits its map and its
 * parent is checked in chain.ts.
 */
import { decodeCheckedJson, encodeCheckedJson, Members } from './checked-json.js';
import { damaged, StoreError } from './errors.js';
import {
  type KernelInfo,
  LAUNCH_VERDICTS,
  type LaunchVerdict,
  type Manifest,
  ORIGINS,
  type ProcessImage,
} from './types.js';

/** A manifest is at most this large, so that a reader's memory is bounded. */
export const MAX_MANIFEST_BYTES = 16 << 20;
/** A map is at most this large: 44 million chunks, 2.9 TB of memory. */
export const MAX_MAP_BYTES = 2 ** 30;
export const MAX_KERNELS = 100;
export const MAX_NOTE_BYTES = 4_096;

/** Processes and threads, and files, of one process image. */
const MAX_NUMBERS = 100_000;
const MAX_IMAGE_FILES = 100_000;
/** Pieces that an image's files are digested in, in bytes: so many that it takes threads, and so few that they cost nothing. */
const PIECE_LIMITS = { least: 2 ** 20, most: 2 ** 30 } as const;
/** Never a path. */
const IMAGE_FILE = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

const FORMAT = 'gcr-checkpoint';
const VERSION = 1;
const ID = /^[0-9a-f]{16}$/;
const HASH = /^[0-9a-f]{32}$/;
const FILE = /^manifests\/([0-9a-f]{16})\.json$/;

export const manifestFile = (id: string): string => `manifests/${id}.json`;
export const mapFile = (hash: string): string => `manifests/${hash}.map`;
/** The id of a manifest by its name in the store; `undefined` for any other name. */
export const idOfFile = (name: string): string | undefined => FILE.exec(name)?.[1];

export function encodeManifest(manifest: Manifest): Uint8Array {
  const { id, ...rest } = manifest;
  return encodeCheckedJson({ format: FORMAT, version: VERSION, id, ...rest });
}

const counts = <T extends string>(members: Members, names: readonly T[]): Record<T, number> =>
  Object.fromEntries(names.map((name) => [name, members.count(name)])) as Record<T, number>;

/** As {@link counts}; a manifest of before there were contracts does not count them. */
const countsWithContracts = <T extends string>(members: Members, names: readonly T[]): Record<T, number> =>
  Object.fromEntries(
    names.map((name) => [name, name === 'contract' && !(name in members.values) ? 0 : members.count(name)]),
  ) as Record<T, number>;

function readKernel(kernel: Members): KernelInfo {
  return {
    name: kernel.text('name'),
    verdict: kernel.oneOf('verdict', LAUNCH_VERDICTS),
    launches: kernel.count('launches'),
    bytes: kernel.count('bytes'),
    reason: kernel.text('reason'),
  };
}

const nullableText = (members: Members, name: string): string | null =>
  members.values[name] === null ? null : members.text(name);

function readPieceBytes(image: Members): number {
  const bytes = image.count('pieceBytes');
  const { least, most } = PIECE_LIMITS;
  return bytes >= least && bytes <= most ? bytes : image.fail('pieceBytes', `from ${least} to ${most}`);
}

function readImage(image: Members): ProcessImage {
  const numbers = image.values['numbers'];
  if (
    !Array.isArray(numbers) ||
    numbers.length > MAX_NUMBERS ||
    !numbers.every((n) => Number.isSafeInteger(n) && n > 0)
  )
    image.fail('numbers', 'a list of process numbers');
  return {
    folder: image.text('folder', ID),
    files: image.list('files', MAX_IMAGE_FILES, (file) => ({
      name: file.text('name', IMAGE_FILE),
      bytes: file.count('bytes'),
      sha256: file.text('sha256', /^[0-9a-f]{64}$/),
    })),
    ...(image.values['pieceBytes'] !== undefined && { pieceBytes: readPieceBytes(image) }),
    criu: image.text('criu'),
    kernel: image.text('kernel'),
    machine: image.text('machine'),
    module: nullableText(image, 'module'),
    root: image.count('root'),
    numbers: numbers as readonly number[],
    stdio: image.texts('stdio'),
    socket: image.text('socket'),
    driver: nullableText(image, 'driver'),
    simulatedDevice: nullableText(image, 'simulatedDevice'),
  };
}

/**
 * @param id what the file's name says; `undefined` when there is no name (an exported checkpoint)
 * @throws StoreError GCR7012 or GCR7013
 */
export function decodeManifest(bytes: Uint8Array, place: string, file: string, id?: string): Manifest {
  const members = new Members(decodeCheckedJson(bytes, place, file), place, file);
  if (members.text('format') !== FORMAT) throw damaged(place, file, 'is not a manifest');
  const version = members.count('version');
  if (version !== VERSION) {
    const hint = 'use the gcr-templates that wrote it, or a newer one';
    throw new StoreError('invalid', file, 'GCR7013', place, `is a manifest of version ${version}`, hint);
  }
  const created = members.text('created');
  if (Number.isNaN(Date.parse(created))) members.fail('created', 'a time');
  const map = members.object('map');
  const chunks = members.object('chunks');
  const note = members.optionalText('note');
  const manifest: Manifest = {
    id: members.text('id', ID),
    sequence: members.count('sequence'),
    created,
    parent: (members.values['parent'] ?? null) === null ? null : members.text('parent', ID),
    kind: members.oneOf('kind', ['full', 'increment']),
    map: {
      hash: map.text('hash', HASH),
      bytes: map.count('bytes'),
      complete: map.flag('complete'),
      depth: map.count('depth'),
    },
    allocations: counts(members.object('allocations'), ['count', 'bytes']),
    chunks: counts(chunks, ['listed', 'changed', 'zero', 'stored', 'storedBytes']),
    origins: countsWithContracts(members.object('origins'), ORIGINS),
    device: members.nullable('device', (device) => ({
      name: device.text('name'),
      uuid: device.text('uuid'),
      driver: device.text('driver'),
      memoryBytes: device.count('memoryBytes'),
    })),
    process: members.nullable('process', (process) => ({
      pid: process.count('pid'),
      command: process.texts('command'),
      host: process.text('host'),
    })),
    templates: members.texts('templates'),
    launches: members.nullable('launches', (launches) => countsWithContracts(launches, LAUNCH_VERDICTS)),
    kernels: members.list('kernels', MAX_KERNELS, readKernel),
    ...(note !== undefined && { note }),
    ...(members.values['image'] !== undefined && { image: readImage(members.object('image')) }),
  };
  if (id !== undefined && manifest.id !== id) throw damaged(place, file, `says that it is checkpoint ${manifest.id}`);
  if (manifest.parent === manifest.id) throw damaged(place, file, 'names itself as its parent');
  if (manifest.map.complete !== (manifest.map.depth === 0)) throw damaged(place, file, 'depth and completeness differ');
  if (!manifest.map.complete && manifest.parent === null) throw damaged(place, file, 'is an increment of nothing');
  if (manifest.map.bytes > MAX_MAP_BYTES) throw damaged(place, file, `map of ${manifest.map.bytes} bytes is too large`);
  return manifest;
}

/** Kernels as a manifest lists them: the least certain first, then by bytes, each of them once, cut after a hundred. */
export function leastCertain(kernels: readonly KernelInfo[]): readonly KernelInfo[] {
  const merged = new Map<string, KernelInfo>();
  for (const kernel of kernels) {
    const key = JSON.stringify([kernel.name, kernel.verdict, kernel.reason]);
    const before = merged.get(key);
    const { name, verdict, launches, bytes, reason } = kernel;
    merged.set(key, {
      name,
      verdict,
      launches: launches + (before?.launches ?? 0),
      bytes: bytes + (before?.bytes ?? 0),
      reason,
    });
  }
  const rank = (verdict: LaunchVerdict) => LAUNCH_VERDICTS.indexOf(verdict);
  return [...merged.values()]
    .sort((a, b) => rank(b.verdict) - rank(a.verdict) || b.bytes - a.bytes || (a.name < b.name ? -1 : 1))
    .slice(0, MAX_KERNELS);
}

/** The order of checkpoints: by sequence; two writers at once may have chosen the same, then by id. */
export function bySequence(a: Manifest, b: Manifest): number {
  return a.sequence - b.sequence || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}
