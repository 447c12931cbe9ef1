/**
 * Damaged and hostile images: whatever the bytes are, there is an answer within a bounded time, nothing is thrown, and what
 * is not read is told. Times are the processor's.
 */
import { describe, expect, it } from 'vitest';
import { readContainer } from '../../src/sources/containers.js';
import { FATBIN_MAGIC } from '../../src/sources/fatbin.js';
import { processorTime } from '../processor-time.js';
import { codes, container, entries, type Found, fromBytes, KERNELS, machineCode } from './support.js';

const LIMIT_MS = 5000;

/** Reads bytes that may be anything; bounds what comes out by what can have gone in. */
function read(bytes: Buffer, what: string): Found {
  const start = processorTime();
  const found = fromBytes(bytes);
  expect(processorTime() - start, `${what}: time`).toBeLessThan(LIMIT_MS);
  codes(found);
  return found;
}

/** Everything that two readings can be compared by. */
const content = (found: Found) => [...entries(found), ...machineCode(found)];

interface Entry {
  readonly kind?: number;
  readonly payload: Buffer;
  readonly flags?: number;
  readonly compressed?: number;
  readonly size?: number;
}

function entry({ kind = 1, payload, flags = 0x11, compressed = payload.length, size = 0 }: Entry): Buffer {
  const header = Buffer.alloc(64);
  header.writeUInt16LE(kind, 0);
  header.writeUInt16LE(0x101, 2);
  header.writeUInt32LE(64, 4);
  const padded = Buffer.alloc(Math.ceil(payload.length / 8) * 8);
  payload.copy(padded);
  header.writeBigUInt64LE(BigInt(padded.length), 8);
  header.writeUInt32LE(compressed, 16);
  header.writeUInt32LE(90, 28);
  header.writeUInt32LE(flags, 40);
  header.writeBigUInt64LE(BigInt(size), 56);
  return Buffer.concat([header, padded]);
}

function fatbin(...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(FATBIN_MAGIC, 0);
  header.writeUInt16LE(1, 4);
  header.writeUInt16LE(16, 6);
  header.writeBigUInt64LE(BigInt(body.length), 8);
  return Buffer.concat([header, body]);
}

const TEXT = Buffer.from('.version 8.0\n.target sm_90\n.visible .entry k() { ret; }\n');

/** Offsets of the entries' headers in a fatbin that is whole. */
function entryOffsets(bytes: Buffer): number[] {
  const offsets: number[] = [];
  for (let at = 16; at < bytes.length; ) {
    offsets.push(at);
    at += bytes.readUInt32LE(at + 4) + Number(bytes.readBigUInt64LE(at + 8));
  }
  return offsets;
}

const LIES: readonly bigint[] = [0n, 1n, 0x7fff_ffffn, 0xffff_ffffn, 1n << 63n];

describe('lying headers', () => {
  const FIXTURES = ['none', 'speed', 'size', 'default'].map((mode) => `kernels.${mode}.fatbin`);

  it.each(FIXTURES)('%s: every field of every header', (file) => {
    const original = container(file);
    const whole = content(fromBytes(original));
    const headers = [[0, 16] as const, ...entryOffsets(original).map((at) => [at, 64] as const)];
    for (const [start, length] of headers) {
      for (let at = start; at < start + length; at += 4) {
        for (const width of [4, 8]) {
          if (at + width > start + length) continue;
          for (const lie of LIES) {
            const bytes = Buffer.from(original);
            if (width === 8) bytes.writeBigUInt64LE(lie, at);
            else bytes.writeUInt32LE(Number(lie & 0xffff_ffffn), at);
            const what = `offset ${at}, ${width} bytes, ${lie}`;
            const found = read(bytes, what);
            // What is missing is told. (Losing the flag that says "compressed" makes rubbish of the text instead.)
            const lost = whole.filter((name) => !content(found).includes(name));
            if (lost.length > 0 && at - start !== 40) expect(codes(found), what).not.toEqual([]);
          }
        }
      }
    }
  });

  it.each([
    ['libkernels.so', 'ELF header', 0, 64],
    ['kernels.sm_90.cubin', 'ELF header', 0, 64],
  ])('%s: every field of the %s', (file, _what, start, length) => {
    const original = container(file);
    const whole = content(fromBytes(original));
    for (let at = start; at < length; at += 2) {
      for (const lie of LIES) {
        for (const width of [2, 4, 8]) {
          if (at + width > length) continue;
          const bytes = Buffer.from(original);
          const value = BigInt.asUintN(width * 8, lie);
          if (width === 2) bytes.writeUInt16LE(Number(value), at);
          else if (width === 4) bytes.writeUInt32LE(Number(value), at);
          else bytes.writeBigUInt64LE(value, at);
          const what = `offset ${at}, ${width} bytes, ${lie}`;
          const found = read(bytes, what);
          const lost = whole.filter((name) => !content(found).includes(name));
          if (lost.length > 0) expect(codes(found), what).not.toEqual([]);
        }
      }
    }
  });

  it.each(['libkernels.so', 'kernels.sm_90.cubin'])('%s: every field of the section table', (file) => {
    const original = container(file);
    const table = Number(original.readBigUInt64LE(40));
    const end = table + original.readUInt16LE(60) * 64;
    for (let at = table; at < end; at += 8) {
      for (const lie of LIES) {
        const bytes = Buffer.from(original);
        bytes.writeBigUInt64LE(lie, at);
        read(bytes, `offset ${at}, ${lie}`);
      }
    }
  });

  it('a fatbin of size 0 is told and the next one read', () => {
    const first = fatbin(entry({ payload: TEXT }));
    first.writeBigUInt64LE(0n, 8);
    const found = read(Buffer.concat([first, container('kernels.default.fatbin')]), 'size 0');
    expect(codes(found)).toEqual(['GCR1005']);
    expect(entries(found)).toEqual(KERNELS);
  });

  it('a fatbin that claims the next one as well is told and both are read', () => {
    const first = fatbin(entry({ payload: TEXT }));
    const second = container('kernels.default.fatbin');
    first.writeBigUInt64LE(BigInt(first.length - 16 + second.length), 8);
    const found = read(Buffer.concat([first, second]), 'size of both');
    expect(codes(found)).toEqual(['GCR1005']);
    expect(entries(found)).toEqual([...KERNELS, 'k'].sort());
  });

  it('an entry of an unknown kind is told and the next one read', () => {
    const found = read(fatbin(entry({ kind: 8, payload: TEXT }), entry({ payload: TEXT })), 'kind 8');
    expect(found.diagnostics.map(({ code, severity }) => [code, severity])).toEqual([['GCR1010', 'warning']]);
    expect(entries(found)).toEqual(['k']);
  });

  it('machine code that is none is told and the next entry read', () => {
    const found = read(fatbin(entry({ kind: 2, payload: TEXT }), entry({ payload: TEXT })), 'no cubin');
    expect(codes(found)).toEqual(['GCR1005']);
    expect(entries(found)).toEqual(['k']);
  });
});

describe('compressed entries', () => {
  const LZ4 = 0x2011;
  const ZSTD = 0x8011;
  /** Literals only; a frame with one raw block. */
  const lz4 = Buffer.concat([Buffer.from([0xf0, TEXT.length - 15]), TEXT]);
  const zstd = Buffer.concat([
    Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x20, TEXT.length, (TEXT.length << 3) | 1, TEXT.length >> 5, 0]),
    TEXT,
  ]);
  const METHODS = [
    ['lz4', LZ4, lz4],
    ['zstd', ZSTD, zstd],
  ] as const;

  describe.each(METHODS)('%s', (_name, flags, payload) => {
    it('is read when all is well', () => {
      const found = read(fatbin(entry({ payload, flags, size: TEXT.length })), 'well');
      expect(codes(found)).toEqual([]);
      expect(found.product.sources.map(({ text }) => text)).toEqual([TEXT.toString()]);
    });

    it.each([-TEXT.length + 1, -8, -1, 1, 8, 1000])('with a plain size off by %i', (off) => {
      const bytes = fatbin(entry({ payload, flags, size: TEXT.length + off }), entry({ payload: TEXT }));
      const found = read(bytes, `size off by ${off}`);
      expect(codes(found)).toEqual(['GCR1006']);
      // The rest is still read.
      expect(found.product.sources).toHaveLength(1);
    });

    it('cut at every byte', () => {
      for (let length = 0; length < payload.length; length++) {
        const bytes = fatbin(entry({ payload, flags, compressed: length, size: TEXT.length }));
        const found = read(bytes, `cut at ${length}`);
        expect(found.product.sources, `cut at ${length}`).toEqual([]);
        expect(['GCR1005', 'GCR1006']).toContain(codes(found).join());
      }
    });

    it.each([
      ['512 MiB', 2 ** 29 - 25, 'GCR1005'],
      ['more than a text can have', 2 ** 29, 'GCR1009'],
      ['2^53', Number.MAX_SAFE_INTEGER, 'GCR1009'],
    ])('that claims to be %s allocates nothing', (_size, size, code) => {
      const before = process.memoryUsage().arrayBuffers;
      const found = read(fatbin(entry({ payload, flags, size })), `${size}`);
      expect(codes(found)).toEqual([code]);
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 << 20);
    });

    it('that fits in its bytes and not in the limit', () => {
      const bytes = fatbin(entry({ payload, flags, size: TEXT.length }), entry({ payload, flags, size: TEXT.length }));
      const { product, diagnostics } = readContainer('input', bytes, { maxTotalBytes: TEXT.length });
      expect(product.ptx).toHaveLength(1);
      expect(diagnostics.map(({ code }) => code)).toEqual(['GCR1009']);
    });
  });

  it('whose last zstd block leaves room in the frame', () => {
    // A stored block, then a run of newlines.
    const frame = Buffer.concat([
      Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x60, 0, 1]),
      Buffer.from([(TEXT.length << 3) & 255, TEXT.length >> 5, 0]),
      TEXT,
      Buffer.from([3 | ((0x1_00 << 3) & 255), 0x1_00 >> 5, 0, 0x0a]),
    ]);
    for (const [size, count] of [
      [TEXT.length + 0x100, 1],
      [TEXT.length + 0xff, 0],
      [TEXT.length + 0x101, 0],
    ] as const) {
      const { product } = readContainer('input', fatbin(entry({ payload: frame, flags: ZSTD, size })));
      expect(product.ptx).toHaveLength(count);
    }
  });

  it('with a window of gigabytes allocate nothing', () => {
    const frame = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0, 0]);
    const found = read(fatbin(entry({ payload: frame, flags: ZSTD, size: 100 })), 'window');
    expect(codes(found)).toEqual(['GCR1006']);
  });
});

describe('cut files', () => {
  it.each([
    'kernels.size.fatbin',
    'kernels.speed.fatbin',
    'ptx-only.fatbin',
    'large.size.fatbin',
    'kernels.sm_90.cubin',
    'kernels.o',
    'libkernels.a',
  ])('%s, at every seventh byte', (file) => {
    const bytes = container(file);
    const whole = content(fromBytes(bytes));
    for (let length = 0; length < bytes.length; length += 7) {
      const found = read(bytes.subarray(0, length), `cut at ${length}`);
      expect(whole).toEqual(expect.arrayContaining(content(found)));
      if (length === 0) expect(codes(found)).toEqual(['GCR1004']);
      // An image is told by its first 16 bytes.
      else if (length >= 16 && content(found).length < whole.length)
        expect(codes(found), `cut at ${length}`).not.toEqual([]);
    }
  });
});

describe('changed files', () => {
  /** A linear congruential generator: the same changes in every run. */
  function generator(seed: number): (below: number) => number {
    let state = seed >>> 0;
    return (below) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
  }

  const INTERESTING = [0, 1, 2, 0x10, 0x40, 0x7f, 0x80, 0xff];

  function mutate(bytes: Buffer, random: (below: number) => number): Buffer {
    let result = Buffer.from(bytes);
    for (let changes = 1 + random(6); changes > 0; changes--) {
      // Half of the changes hit the front, where the headers are.
      const at = random(random(2) === 0 ? Math.min(256, result.length) : result.length);
      switch (random(5)) {
        case 0:
          result[at] = random(256);
          break;
        case 1:
          result[at] = INTERESTING[random(INTERESTING.length)]!;
          break;
        case 2:
          result[at]! ^= 1 << random(8);
          break;
        case 3:
          result = Buffer.concat([result.subarray(0, at), result.subarray(at + random(64))]);
          break;
        default:
          result.copy(result, random(result.length), at, at + random(64));
      }
      if (result.length === 0) return result;
    }
    return result;
  }

  it.each([
    ['kernels.size.fatbin', 600],
    ['kernels.speed.fatbin', 500],
    ['kernels.none.fatbin', 200],
    ['large.size.fatbin', 100],
    ['kernels.sm_90.cubin', 400],
    ['libkernels.so', 300],
    ['libkernels.a', 300],
  ])('%s, %i times', (file, count) => {
    const bytes = container(file);
    const random = generator(20240607);
    for (let index = 0; index < count; index++) read(mutate(bytes, random), `${file}, change ${index}`);
  });
});

describe('files made to cost much', () => {
  /** An ELF file of `count` sections that are all alike. */
  function elf(machine: number, count: number, name: string, type: number, body: Buffer): Buffer {
    const names = Buffer.from(`\0${name}\0`);
    const table = Math.ceil((64 + names.length + body.length) / 8) * 8;
    const bytes = Buffer.alloc(table + (count + 1) * 64);
    bytes.write('\x7fELF\x02\x01\x01', 'latin1');
    bytes.writeUInt16LE(machine, 18);
    bytes.writeBigUInt64LE(BigInt(table), 40);
    bytes.writeUInt16LE(64, 58);
    bytes.writeUInt16LE(0, 60);
    names.copy(bytes, 64);
    body.copy(bytes, 64 + names.length);
    // Section 0 holds the count and is the name table.
    bytes.writeBigUInt64LE(64n, table + 24);
    bytes.writeBigUInt64LE(BigInt(count + 1), table + 32);
    for (let at = table + 64; at < bytes.length; at += 64) {
      bytes.writeUInt32LE(1, at);
      bytes.writeUInt32LE(type, at + 4);
      bytes.writeBigUInt64LE(BigInt(64 + names.length), at + 24);
      bytes.writeBigUInt64LE(BigInt(body.length), at + 32);
    }
    return bytes;
  }

  const repeated = (bytes: Buffer, times: number) => Buffer.concat(new Array<Buffer>(times).fill(bytes));

  it('a hundred thousand symbol tables that are the same bytes', () => {
    const symbol = Buffer.alloc(24, 0x12);
    read(elf(190, 100_000, '.symtab', 2, repeated(symbol, 100_000)), 'symbol tables');
  });

  it('a hundred thousand section names without an end', () => {
    const bytes = elf(190, 100_000, 'x'.repeat(8 << 20), 1, Buffer.alloc(0));
    read(bytes, 'names');
  });

  it('fifty thousand fatbin sections that are the same bytes', () => {
    const body = fatbin(...new Array<Buffer>(2000).fill(entry({ payload: TEXT })));
    const found = read(elf(62, 50_000, '.nv_fatbin', 1, body), 'sections');
    expect(codes(found)).toEqual(['GCR1005']);
    expect(found.product.sources).toHaveLength(2000);
  });

  it('a million fatbins with a wrong size', () => {
    const header = Buffer.alloc(16, 0xff);
    header.writeUInt32LE(FATBIN_MAGIC, 0);
    const found = read(repeated(header, 1_000_000), 'headers');
    expect(codes(found)).toEqual(['GCR1005']);
    expect(found.diagnostics.length).toBeLessThan(5000);
  });

  it('thousands of fatbins whose headers end at the same entries', () => {
    const count = 4000;
    const headers = Buffer.alloc(count * 16);
    for (let index = 0; index < count; index++) {
      headers.writeUInt32LE(FATBIN_MAGIC, index * 16);
      headers.writeUInt16LE(headers.length - index * 16, index * 16 + 6);
      headers.writeBigUInt64LE(1n << 60n, index * 16 + 8);
    }
    const body = repeated(entry({ payload: Buffer.from('.x') }), 20_000);
    const found = read(Buffer.concat([headers, body]), 'shared entries');
    expect(found.product.sources.length).toBeLessThanOrEqual(20_000);
  });

  it('archives in archives in archives', () => {
    const headers: Buffer[] = [];
    const depth = 50_000;
    for (let level = 0; level < depth; level++) {
      const size = (depth - level) * 68;
      headers.push(Buffer.from(`!<arch>\n${'x/'.padEnd(48)}${String(size - 68).padEnd(10)}\`\n`));
    }
    const found = read(Buffer.concat(headers), 'archives');
    expect(codes(found)).toEqual(['GCR1005']);
  });

  it('a text of NULs', () => {
    const payload = Buffer.alloc(4 << 20);
    payload.write('.x');
    payload.write('x', payload.length - 1);
    read(fatbin(entry({ payload })), 'NULs');
  });
});
