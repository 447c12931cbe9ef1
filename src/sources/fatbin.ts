/**
 * Fatbin containers (docs/formats/fatbin.md): a header, then entries, each PTX text or a cubin, plain or compressed with
 * LZ4 or zstd. Sizes in the headers are claims: none is believed before it fits the bytes that are there.
 */
import { decompress as decompressZstd } from 'fzstd';
import type { Diagnostic, DiagnosticCode } from '../diagnostics/index.js';
import { u16, u32, u64 } from './bytes.js';
import { decompressLz4 } from './lz4.js';

export const FATBIN_MAGIC = 0xba55ed50;
const HEADER_BYTES = 16;
const ENTRY_BYTES = 64;

const KIND_PTX = 1;
const KIND_ELF = 2;
const FLAG_LZ4 = 0x2000;
const FLAG_ZSTD = 0x8000;

export type Compression = 'none' | 'lz4' | 'zstd';

export interface FatbinEntry {
  readonly kind: 'ptx' | 'elf' | 'other';
  /** Index of its fatbin among those of the section, and of the entry in it. */
  readonly fatbin: number;
  readonly index: number;
  /** `sm_90`. */
  readonly architecture: string;
  readonly compression: Compression;
  /** Decompressed. */
  readonly bytes: Buffer;
}

/** Bounds on what an image may make us allocate. */
export interface FatbinLimits {
  readonly maxEntryBytes: number;
  readonly maxTotalBytes: number;
}

/** zstd gives at least this share back: more is a bomb. Real PTX compresses about tenfold. */
const MAX_RATIO = 4096;

export class FatbinReader {
  readonly entries: FatbinEntry[] = [];
  readonly diagnostics: Diagnostic[] = [];
  #fatbins = 0;
  #total = 0;

  constructor(
    readonly name: string,
    readonly limits: FatbinLimits,
  ) {}

  #report(code: DiagnosticCode, message: string, severity: Diagnostic['severity'] = 'error'): void {
    const hint =
      code === 'GCR1010' ? undefined : 'the rest of the file is still read; build it again if it was cut or changed';
    this.diagnostics.push({ code, severity, message, source: this.name, ...(hint && { hint }) });
  }

  /** Reads all fatbins in `bytes`: one after the other, with padding between. */
  read(bytes: Buffer, where: string): void {
    let at = 0;
    while (at + HEADER_BYTES <= bytes.length) {
      if (u32(bytes, at) !== FATBIN_MAGIC) {
        at += 8;
        continue;
      }
      const headerBytes = u16(bytes, at + 6)!;
      const size = u64(bytes, at + 8);
      const start = at + headerBytes;
      const fatbin = this.#fatbins++;
      if (headerBytes < HEADER_BYTES || size === undefined || start + size > bytes.length) {
        this.#report('GCR1005', `${where}: fatbin ${fatbin} says it has ${size} bytes, but the bytes end before`);
        // What is there is still read.
        this.#readEntries(bytes.subarray(Math.min(start, bytes.length)), fatbin, where);
        at += HEADER_BYTES;
        continue;
      }
      this.#readEntries(bytes.subarray(start, start + size), fatbin, where);
      at = start + size;
      at += (8 - (at % 8)) % 8;
    }
  }

  #readEntries(bytes: Buffer, fatbin: number, where: string): void {
    let at = 0;
    for (let index = 0; at + ENTRY_BYTES <= bytes.length; index++) {
      // The next fatbin begins: only met when this one's size was wrong.
      if (u32(bytes, at) === FATBIN_MAGIC) return;
      const headerBytes = u32(bytes, at + 4)!;
      const padded = u64(bytes, at + 8);
      const label = `${where}: fatbin ${fatbin}, entry ${index}`;
      if (headerBytes < ENTRY_BYTES || padded === undefined || at + headerBytes + padded > bytes.length) {
        this.#report('GCR1005', `${label} says it has ${headerBytes} + ${padded} bytes, but the fatbin ends before`);
        return;
      }
      const payload = bytes.subarray(at + headerBytes, at + headerBytes + padded);
      this.#entry(bytes, at, payload, fatbin, index, label);
      at += headerBytes + padded;
    }
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
    if (compression !== 'none') {
      if (size === undefined || size > this.limits.maxEntryBytes || this.#total + size > this.limits.maxTotalBytes) {
        this.#report('GCR1009', `${label} says it decompresses to ${size} bytes, more than this version allows`);
        return;
      }
      if (compressed > payload.length || size > compressed * MAX_RATIO) {
        this.#report(
          'GCR1005',
          `${label} says it has ${compressed} compressed and ${size} plain bytes, which cannot be`,
        );
        return;
      }
      this.#total += size;
      content = decompress(compression, payload.subarray(0, compressed), size);
      if (!content) {
        this.#report('GCR1006', `${label} (${compression}) does not decompress to ${size} bytes`);
        return;
      }
    }
    this.entries.push({ kind, fatbin, index, architecture, compression, bytes: content });
  }
}

function decompress(compression: 'lz4' | 'zstd', input: Buffer, size: number): Buffer | undefined {
  if (compression === 'lz4') return decompressLz4(input, size);
  try {
    const output = decompressZstd(input, new Uint8Array(size));
    return output.length === size ? Buffer.from(output.buffer, output.byteOffset, output.length) : undefined;
  } catch {
    return undefined;
  }
}
