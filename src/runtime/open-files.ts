/**
 * The files that a saved process had open for writing: how long they were, and what their ends were like. CRIU takes a file only with the size of then, but a program's
 * log goes on growing after a checkpoint; so before a process is made again it is known which files grew, and whether that is all that happened to them.
 *
 * What CRIU wrote is the only sure source of sizes: the process may write until CRIU stops it. The list is a file of the image, made durable and checked with it.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatBytes } from '../checkpoint/index.js';
import { RuntimeError } from './errors.js';

/** A file that a saved process had open for writing. */
export interface OpenFile {
  readonly path: string;
  readonly bytes: number;
  /** SHA-256 of the last 64 KiB before `bytes`, or of all of them. */
  readonly tail: string;
  /** Whether CRIU takes it with exactly this size. Of one that is only appended to it does not ask. */
  readonly exact: boolean;
}

/** A file that was cut to what it was; sizes in bytes. */
export interface CutFile {
  readonly path: string;
  readonly from: number;
  readonly to: number;
}

/** `grown` is as it was, with more behind it. */
type State = 'same' | 'grown' | 'shorter' | 'missing' | 'other';

const LIST = 'gcr-files.json';
/** CRIU's lists of what is open, and of those whose path leads nowhere or elsewhere; how they begin. */
const OPEN = { name: 'files.img', magic: 0x56303138 } as const;
const REMAPPED = { name: 'remap-fpath.img', magic: 0x59133954 } as const;
const COMMON_MAGIC = 0x54564319;
/** Fields of CRIU's `file_entry`, `reg_file_entry` and `remap_file_path_entry` (images/*.proto). */
const REGULAR = 3;
const FIELDS = { id: 1, flags: 2, position: 3, name: 6, size: 8, mode: 10 } as const;
const REMAPPED_ID = 1;
const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;
const TAIL_BYTES = 65_536;
const SHOWN_FILES = 5;

interface RegularFile {
  readonly id: number;
  readonly path: string;
  readonly flags: number;
  readonly position: number;
  readonly size: number | undefined;
}

/** The fields of a protobuf message: numbers, and the bytes of what has a length. @throws RangeError when it is none */
function fieldsOf(bytes: Buffer): Map<number, number | Buffer> {
  const fields = new Map<number, number | Buffer>();
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes.readUInt8(at++);
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const [field, type] = [Math.floor(key / 8), key % 8];
    if (type === VARINT) fields.set(field, varint());
    else if (type === DELIMITED) {
      const length = varint();
      if (at + length > bytes.length) throw new RangeError('a field is cut off');
      fields.set(field, bytes.subarray(at, at + length));
      at += length;
    } else if (type === FIXED64 || type === FIXED32) at += type === FIXED64 ? 8 : 4;
    else throw new RangeError(`no field has type ${type}`);
  }
  return fields;
}

/** The entries of one of CRIU's lists. @throws RangeError when it is of another form */
function entriesOf(image: Buffer, magic: number): Map<number, number | Buffer>[] {
  if (image.readUInt32LE(0) !== COMMON_MAGIC || image.readUInt32LE(4) !== magic)
    throw new RangeError('it begins otherwise');
  const entries: Map<number, number | Buffer>[] = [];
  for (let at = 8; at < image.length; ) {
    const end = at + 4 + image.readUInt32LE(at);
    if (end > image.length) throw new RangeError('an entry is cut off');
    entries.push(fieldsOf(image.subarray(at + 4, end)));
    at = end;
  }
  return entries;
}

/** Regular files that were open. @throws RangeError when the image is of another form */
function regularFilesIn(image: Buffer): readonly RegularFile[] {
  const entries = entriesOf(image, OPEN.magic).map((entry) => entry.get(REGULAR));
  return entries.filter(Buffer.isBuffer).flatMap((entry) => {
    const fields = fieldsOf(entry);
    const number = (field: number) => Number(fields.get(field) ?? 0);
    if ((number(FIELDS.mode) & constants.S_IFMT) !== constants.S_IFREG) return [];
    return {
      id: number(FIELDS.id),
      path: String(fields.get(FIELDS.name) ?? ''),
      flags: number(FIELDS.flags),
      position: number(FIELDS.position),
      size: fields.has(FIELDS.size) ? number(FIELDS.size) : undefined,
    };
  });
}

/** Numbers of files whose path does not lead to them: deleted ones, which CRIU keeps a copy of. */
async function remappedIn(folder: string): Promise<ReadonlySet<number>> {
  const image = await readFile(join(folder, REMAPPED.name)).catch(() => undefined);
  return new Set(image && entriesOf(image, REMAPPED.magic).map((entry) => Number(entry.get(REMAPPED_ID))));
}

const isWritten = ({ flags }: RegularFile): boolean => (flags & (constants.O_WRONLY | constants.O_RDWR)) !== 0;

/** The sizes of files that were open for writing, each path once. */
function sizesOf(files: readonly RegularFile[]): Map<string, { bytes: number; exact: boolean }> {
  const sizes = new Map<string, { bytes: number; exact: boolean }>();
  for (const file of files.filter(isWritten)) {
    const { path, size, position } = file;
    const before = sizes.get(path);
    // Of one that is only appended to, the end of what the process wrote.
    if (size !== undefined) sizes.set(path, { bytes: size, exact: true });
    else if (!before?.exact) sizes.set(path, { bytes: Math.max(position, before?.bytes ?? 0), exact: false });
  }
  return sizes;
}

/** Undefined when the file is shorter. */
async function tailOf(file: FileHandle, bytes: number): Promise<string | undefined> {
  const wanted = Math.min(bytes, TAIL_BYTES);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(wanted), 0, wanted, bytes - wanted);
  return bytesRead === wanted ? createHash('sha256').update(buffer).digest('hex') : undefined;
}

/** Opens a regular file, which a symbolic link is not, and looks at it; undefined when there is none. */
async function withFile<T>(path: string, flags: number, look: (file: FileHandle, size: number) => Promise<T>) {
  let file: FileHandle;
  try {
    file = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  try {
    const status = await file.stat();
    return status.isFile() ? await look(file, status.size) : undefined;
  } finally {
    await file.close();
  }
}

/** Writes the list of files beside what CRIU wrote in `folder`; none when that is of a form that is not known. @throws Error of the file system */
export async function listOpenFiles(folder: string): Promise<void> {
  let files: readonly RegularFile[];
  let remapped: ReadonlySet<number>;
  try {
    files = regularFilesIn(await readFile(join(folder, OPEN.name)));
    remapped = await remappedIn(folder);
  } catch (error) {
    if (error instanceof RangeError) return;
    throw error;
  }
  const list: OpenFile[] = [];
  for (const [path, { bytes, exact }] of sizesOf(files.filter(({ id }) => !remapped.has(id)))) {
    const tail = await withFile(path, constants.O_RDONLY, (file) => tailOf(file, bytes));
    if (tail !== undefined) list.push({ path, bytes, tail, exact });
  }
  await writeFile(join(folder, LIST), JSON.stringify(list), { mode: 0o600 });
}

async function openFilesOf(folder: string): Promise<readonly OpenFile[]> {
  // Where there is no list CRIU says what does not fit.
  const text = await readFile(join(folder, LIST), 'utf8').catch(() => '[]');
  const list: unknown = JSON.parse(text);
  const fits = (file: Partial<OpenFile> | null) =>
    typeof file?.path === 'string' && Number.isSafeInteger(file.bytes) && file.bytes! >= 0;
  if (!Array.isArray(list) || !list.every(fits))
    throw new RuntimeError('refused', 'GCR8117', `${join(folder, LIST)} is no list of files`);
  return list;
}

async function stateOf({ bytes, tail }: OpenFile, file: FileHandle, size: number): Promise<State> {
  if (size === bytes) return 'same';
  if (size < bytes) return 'shorter';
  return (await tailOf(file, bytes)) === tail ? 'grown' : 'other';
}

const REFUSED: Readonly<Record<Exclude<State, 'same' | 'grown'>, string>> = {
  missing: 'is missing',
  shorter: 'is shorter',
  other: 'is another one or was written over, and longer',
};

/**
 * Looks whether the files that a process had open for writing are as it needs them.
 *
 * @param cut whether files that only grew are to be cut; nothing is cut yet
 * @returns those that grew and are to be cut
 * @throws RuntimeError GCR8117 when CRIU would not take them
 */
export async function checkOpenFiles(
  folder: string,
  cut: boolean,
  onNote: (message: string) => void,
): Promise<readonly OpenFile[]> {
  const grown: OpenFile[] = [];
  const shown: string[] = [];
  for (const file of await openFilesOf(folder)) {
    let now = 0;
    const found = await withFile(file.path, constants.O_RDONLY, (handle, size) => {
      now = size;
      return stateOf(file, handle, size);
    });
    const state = found ?? 'missing';
    if (state === 'same') continue;
    if (state !== 'grown') {
      if (state !== 'missing' && !file.exact) continue;
      const message = `${file.path} ${REFUSED[state]} than when the process was saved, with ${file.bytes} bytes`;
      const hint = 'the process had it open for writing; bring it back as it was, or let the process begin anew';
      throw new RuntimeError('refused', 'GCR8117', message, hint);
    }
    const by = `by ${formatBytes(now - file.bytes)}`;
    if (!file.exact && !cut) {
      onNote(`${file.path} has grown ${by} since the process was saved, which appends to it; --truncate-files cuts it`);
      continue;
    }
    grown.push(file);
    if (shown.length < SHOWN_FILES) shown.push(`${file.path} ${by}`);
  }
  if (grown.length > 0 && !cut) {
    const rest = grown.length > shown.length ? ` and ${grown.length - shown.length} more` : '';
    const message = `files of the process have grown since it was saved: ${shown.join(', ')}${rest}`;
    const hint =
      'it writes again what it wrote since then; --truncate-files cuts them back, and what was added is lost';
    throw new RuntimeError('refused', 'GCR8117', message, hint);
  }
  return grown;
}

/** Cuts files that {@link checkOpenFiles} gave, unless they have changed meanwhile. @throws RuntimeError GCR8117, Error of the file system */
export async function cutFiles(
  files: readonly OpenFile[],
  onNote: (message: string) => void,
): Promise<readonly CutFile[]> {
  const cut: CutFile[] = [];
  for (const file of files) {
    const { path, bytes } = file;
    await withFile(path, constants.O_RDWR, async (handle, size) => {
      if ((await stateOf(file, handle, size)) !== 'grown') return;
      await handle.truncate(bytes);
      onNote(`${path} was cut from ${size} to ${bytes} bytes`);
      cut.push({ path, from: size, to: bytes });
    });
  }
  return cut;
}
