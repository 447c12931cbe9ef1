/**
 * Fatbin containers (docs/formats/fatbin.md): a header, then entries, each PTX text or a cubin, plain or compressed with
 * LZ4 or zstd. Sizes in the headers are claims: none is believed before it fits the bytes that are there.
 */
import { decompress as decompressZstd } from 'fzstd';
import type { Diagnostic, DiagnosticCode } from '../diagnostics/index.js';
import { u16, u32, u64 } from './bytes.js';
import { decompressLz4 } from './lz4.js';
import { withinTime } from './time-limit.js';

export const FATBIN_MAGIC = 0xba55ed50;
const HEADER_BYTES = 16;
const ENTRY_BYTES = 64;

const KIND_PTX = 1;
const KIND_ELF = 2;
const FLAG_LZ4 = 0x2000;
const FLAG_ZSTD = 0x8000;
const FLAG_ACCELERATED = 0x100000;
const FLAG_FAMILY = 0x200000;

export type Compression = 'none' | 'lz4' | 'zstd';

export interface FatbinEntry {
  readonly kind: 'ptx' | 'elf' | 'other';
  /** Index of its fatbin among those of the file, and of the entry in it. */
  readonly fatbin: number;
  readonly index: number;
  /** `sm_90`. */
  readonly architecture: string;
  /** Of the architecture: `a` for one device's own features, `f` for its family's. */
  readonly suffix: '' | 'a' | 'f';
  readonly compression: Compression;
  /** Decompressed. */
  readonly bytes: Buffer;
}

/** Bounds on what an image may make us allocate. */
export interface FatbinLimits {
  readonly maxEntryBytes: number;
  readonly maxTotalBytes: number;
}

/** What is left of the limits; shared by all fatbins of an image. */
export interface FatbinBudget extends FatbinLimits {
  bytes: number;
  entries: number;
  reports: number;
}

/** Entries and diagnostics of an image: far above real files, and below what memory could not hold. */
const MAX_ENTRIES = 1 << 20;
const MAX_REPORTS = 1000;

export function newBudget(limits: FatbinLimits): FatbinBudget {
  return { ...limits, bytes: limits.maxTotalBytes, entries: MAX_ENTRIES, reports: MAX_REPORTS };
}

/** Plain bytes that a compressed byte can stand for: more is a lie. LZ4 cannot, zstd does not for real code. */
const MAX_RATIO = { lz4: 255, zstd: 4096 } as const;

export class FatbinReader {
  readonly entries: FatbinEntry[] = [];
  readonly diagnostics: Diagnostic[] = [];
  /** Number of the next fatbin: `first`, and one more for each that was read. */
  fatbins: number;

  constructor(
    readonly name: string,
    readonly budget: FatbinBudget,
    first = 0,
  ) {
    this.fatbins = first;
  }

  #report(code: DiagnosticCode, message: string, severity: Diagnostic['severity'] = 'error'): void {
    if (this.budget.reports === 0) return;
    const last = --this.budget.reports === 0 ? '; no further damage of this file is told' : '';
    const hint =
      code === 'GCR1010'
        ? 'compile the kernel to PTX as well, for example with -gencode arch=compute_90,code=compute_90'
        : 'the rest of the file is still read; build it again if it was cut or changed';
    this.diagnostics.push({ code, severity, message: message + last, source: this.name, hint });
  }

  /**
   * Reads all fatbins in `bytes`: one after the other, with padding between.
   *
   * @param only whether `bytes` hold nothing else, so that anything else is damage
   */
  read(bytes: Buffer, where: string, only: boolean): void {
    let at = 0;
    let told = !only;
    while (at + HEADER_BYTES <= bytes.length) {
      if (u32(bytes, at) !== FATBIN_MAGIC) {
        if (!told && u32(bytes, at) !== 0) {
          this.#report('GCR1005', `${where}: the bytes from ${at} on belong to no fatbin`);
          told = true;
        }
        at += 8;
        continue;
      }
      const headerBytes = u16(bytes, at + 6)!;
      const size = u64(bytes, at + 8);
      const start = at + headerBytes;
      const fatbin = this.fatbins++;
      const fits = headerBytes >= HEADER_BYTES && size !== undefined && start + size <= bytes.length;
      if (!fits) {
        this.#report(
          'GCR1005',
          `${where}: fatbin ${fatbin} says it has ${size ?? 'more than 2^53'} bytes, but the bytes end before`,
        );
      }
      // What is there is still read. Entries end where they end, whatever the header says; nothing is read twice.
      const from = Math.min(headerBytes >= HEADER_BYTES ? start : at + HEADER_BYTES, bytes.length);
      const to = fits ? start + size : bytes.length;
      const end = from + this.#readEntries(bytes.subarray(from, to), fatbin, where);
      at = Math.max(at + HEADER_BYTES, end);
      at += (8 - (at % 8)) % 8;
      told = !only || end < to;
    }
  }

  /** Reads entries one after the other; where they end. */
  #readEntries(bytes: Buffer, fatbin: number, where: string): number {
    let at = 0;
    for (let index = 0; at + ENTRY_BYTES <= bytes.length; index++) {
      // The next fatbin begins: only met when this one's size was wrong.
      if (u32(bytes, at) === FATBIN_MAGIC) {
        this.#report('GCR1005', `${where}: fatbin ${fatbin} ends before its size`);
        return at;
      }
      const headerBytes = u32(bytes, at + 4)!;
      const padded = u64(bytes, at + 8);
      const label = `${where}: fatbin ${fatbin}, entry ${index}`;
      if (headerBytes < ENTRY_BYTES || padded === undefined || at + headerBytes + padded > bytes.length) {
        this.#report('GCR1005', `${label} says it has ${headerBytes} + ${padded} bytes, but the fatbin ends before`);
        return at;
      }
      if (this.budget.entries-- <= 0) {
        this.#report('GCR1009', `${label}: this version reads ${MAX_ENTRIES} entries of a file`);
        return bytes.length;
      }
      const payload = bytes.subarray(at + headerBytes, at + headerBytes + padded);
      this.#entry(bytes, at, payload, fatbin, index, label);
      at += headerBytes + padded;
    }
    if (at < bytes.length) {
      this.#report('GCR1005', `${where}: fatbin ${fatbin} ends in ${bytes.length - at} bytes that are no entry`);
    }
    return bytes.length;
  }

  #entry(bytes: Buffer, at: number, payload: Buffer, fatbin: number, index: number, label: string): void {
    const kindNumber = u16(bytes, at)!;
    const compressed = u32(bytes, at + 16)!;
    const architecture = `sm_${u32(bytes, at + 28)}`;
    const flags = u32(bytes, at + 40)!;
    const size = u64(bytes, at + 56);
    const kind = kindNumber === KIND_PTX ? 'ptx' : kindNumber === KIND_ELF ? 'elf' : 'other';
    if (kind === 'other') {
      this.#report('GCR1010', `${label} is of kind ${kindNumber}, which is not known`, 'warning');
      return;
    }
    const compression: Compression = flags & FLAG_ZSTD ? 'zstd' : flags & FLAG_LZ4 ? 'lz4' : 'none';
    let content: Buffer | undefined = payload;
    if (payload.length > this.budget.maxEntryBytes) {
      this.#report('GCR1009', `${label} has ${payload.length} bytes, more than this version allows`);
      return;
    }
    if (compression !== 'none') {
      if (size === undefined || size > this.budget.maxEntryBytes || size > this.budget.bytes) {
        this.#report('GCR1009', `${label} says it decompresses to ${size} bytes, more than this version allows`);
        return;
      }
      if (compressed > payload.length || size > compressed * MAX_RATIO[compression]) {
        this.#report(
          'GCR1005',
          `${label} says it has ${compressed} compressed and ${size} plain bytes, which cannot be`,
        );
        return;
      }
      this.budget.bytes -= size;
      content = decompress(compression, payload.subarray(0, compressed), size);
      if (!content) {
        this.#report('GCR1006', `${label} (${compression}) does not decompress to ${size} bytes`);
        return;
      }
    }
    const suffix = flags & FLAG_ACCELERATED ? 'a' : flags & FLAG_FAMILY ? 'f' : '';
    this.entries.push({ kind, fatbin, index, architecture, suffix, compression, bytes: content });
  }
}

function decompress(compression: 'lz4' | 'zstd', input: Buffer, size: number): Buffer | undefined {
  return compression === 'lz4' ? decompressLz4(input, size) : decompressFrame(input, size);
}

/** A frame made for it keeps the library busy for minutes: it gets this long, and longer the more it says it holds. */
const ZSTD_MS = 2000;
const ZSTD_BYTES_PER_MS = 10_000;

const ZSTD_MAGIC = 0xfd2fb528;
const EMPTY_LAST_BLOCK = Buffer.from([1, 0, 0]);
const BLOCK_RLE = 1;

/** Where the header of a frame's last block is; undefined when the frame does not end with the input. */
function lastBlock(input: Buffer): number | undefined {
  if (u32(input, 0) !== ZSTD_MAGIC) return undefined;
  const descriptor = input[4] ?? 0;
  const single = (descriptor >> 5) & 1;
  const sizeBytes = descriptor >> 6 ? 1 << (descriptor >> 6) : single;
  const checksum = descriptor & 4;
  for (let at = 6 - single + [0, 1, 2, 4][descriptor & 3]! + sizeBytes; at + 3 <= input.length; ) {
    const header = input.readUIntLE(at, 3);
    const next = at + 3 + (((header >> 1) & 3) === BLOCK_RLE ? 1 : header >> 3);
    if (header & 1) return next + checksum === input.length ? at : undefined;
    at = next;
  }
  return undefined;
}

/**
 * Decompresses a zstd frame to exactly `size` bytes. The library fills the buffer that it is given and does not say how
 * far. Stored blocks it copies with `set`, so an empty one behind the last tells where the content ends.
 */
function decompressFrame(input: Buffer, size: number): Buffer | undefined {
  const last = lastBlock(input);
  if (last === undefined) return undefined;
  const checksum = input.length - ((input[4]! >> 2) & 1) * 4;
  const frame = Buffer.concat([input.subarray(0, checksum), EMPTY_LAST_BLOCK, input.subarray(checksum)]);
  frame[last]! &= 0xfe;
  const output = new Uint8Array(size);
  let end = -1;
  Object.defineProperties(output, {
    set: {
      value: (content: Uint8Array, at: number) => {
        Uint8Array.prototype.set.call(output, content, at);
        end = at + content.length;
      },
    },
    // The library compares the buffer with a number, which would print all of it.
    [Symbol.toPrimitive]: { value: () => 0 },
  });
  try {
    withinTime(() => decompressZstd(frame, output), ZSTD_MS + size / ZSTD_BYTES_PER_MS);
  } catch {
    return undefined;
  }
  return end === size ? Buffer.from(output.buffer, 0, size) : undefined;
}
