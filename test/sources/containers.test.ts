/** Each kind of image gives back every kernel and every text that the compiler put in. */
import { describe, expect, it } from 'vitest';
import { FatbinReader, newBudget } from '../../src/sources/fatbin.js';
import { entryNames } from '../../src/sources/split.js';
import type { MachineCodeKernel } from '../../src/sources/types.js';
import {
  CONTAINERS,
  codes,
  collect,
  container,
  entries,
  fromBytes,
  KERNELS,
  machineCode,
  TRANSPOSE,
} from './support.js';

const WITH_SCALE = [...KERNELS, 'scale'].sort();

interface Expected {
  readonly texts: readonly string[];
  readonly entries: readonly string[];
  readonly machineCode: readonly string[];
  readonly withoutPtx: readonly string[];
}

const whole = (texts: readonly string[]): Expected => ({
  texts,
  entries: KERNELS,
  machineCode: KERNELS,
  withoutPtx: [],
});
const BOTH = ['fatbin[0].entry[1].ptx(sm_80)', 'fatbin[0].entry[3].ptx(sm_90)'];
const SECOND = ['fatbin[1].entry[1].ptx(sm_80)', 'fatbin[1].entry[3].ptx(sm_90)'];

const CASES: readonly (readonly [file: string, expected: Expected])[] = [
  ['kernels.none.fatbin', whole(BOTH)],
  ['kernels.speed.fatbin', whole(BOTH)],
  ['kernels.balance.fatbin', whole(BOTH)],
  ['kernels.size.fatbin', whole(BOTH)],
  ['kernels.default.fatbin', whole(BOTH)],
  ['kernels.o', whole(BOTH)],
  ['kernels.rdc.o', whole(BOTH)],
  ['libkernels.so', { texts: [...BOTH, ...SECOND], entries: WITH_SCALE, machineCode: WITH_SCALE, withoutPtx: [] }],
  [
    'libkernels.a',
    {
      // The second member's name is in the archive's name table.
      texts: ['kernels.o', 'second-with-a-long-name.o'].flatMap((member) => BOTH.map((label) => `${member}: ${label}`)),
      entries: WITH_SCALE,
      machineCode: WITH_SCALE,
      withoutPtx: [],
    },
  ],
  ['app', { texts: BOTH, entries: KERNELS, machineCode: WITH_SCALE, withoutPtx: ['scale'] }],
  [
    'app.rdc',
    // The third fatbin is what was linked on the device; the first two are the objects'.
    { texts: [...BOTH, ...SECOND], entries: WITH_SCALE, machineCode: WITH_SCALE, withoutPtx: [] },
  ],
  ['no-ptx.fatbin', { texts: [], entries: [], machineCode: KERNELS, withoutPtx: KERNELS }],
  ['kernels.sm_90.cubin', { texts: [], entries: [], machineCode: KERNELS, withoutPtx: KERNELS }],
  ['ptx-only.fatbin', { texts: ['fatbin[0].entry[0].ptx(sm_90)'], entries: KERNELS, machineCode: [], withoutPtx: [] }],
];

describe('images as nvcc makes them', () => {
  it.each(CASES)('%s', async (file, expected) => {
    const found = await collect(`bin/${file}`);
    expect(codes(found)).toEqual([]);
    const prefix = `${CONTAINERS}bin/${file}#`;
    expect(found.product.sources.map(({ name }) => name)).toEqual(expected.texts.map((label) => prefix + label));
    for (const { origin, text } of found.product.sources) {
      expect(origin).toMatchObject({ kind: 'container', path: `${CONTAINERS}bin/${file}` });
      expect(text).toMatch(/^\s*(\/\/|\.version)/);
      expect(text.trimEnd()).toMatch(/\}$/);
    }
    expect(entries(found)).toEqual(expected.entries);
    expect(machineCode(found)).toEqual(expected.machineCode);
    expect(machineCode(found, false)).toEqual(expected.withoutPtx);
  });

  it('names the machine code of both architectures', () => {
    const { machineCode } = fromBytes(container('kernels.default.fatbin')).product;
    const own = { name: TRANSPOSE, hasPtx: true };
    expect(machineCode.filter(({ name }) => name === TRANSPOSE)).toEqual([
      { ...own, source: 'input#fatbin[0].entry[0].cubin(sm_80)', architecture: 'sm_80', compiledFor: 'sm_80' },
      { ...own, source: 'input#fatbin[0].entry[2].cubin(sm_90)', architecture: 'sm_90', compiledFor: 'sm_90' },
    ]);
  });

  it.each([
    ['targets.cross.fatbin', 'sm_90', 'sm_80'],
    ['targets.accelerated.fatbin', 'sm_90a', 'sm_90'],
    ['targets.family.fatbin', 'sm_103f', 'sm_100'],
    ['targets.sm_90a.cubin', 'sm_90a', 'sm_90'],
  ])('tells of %s that it runs on %s and was compiled for %s', (file, architecture, compiledFor) => {
    const { machineCode } = fromBytes(container(file)).product;
    expect(machineCode.filter(({ name }) => name === 'place')).toMatchObject([{ architecture, compiledFor }]);
  });

  it('tells of machine code of older compilers what its flags say', () => {
    const bytes = Buffer.from(container('targets.sm_90a.cubin'));
    const told = (flags: number) => {
      bytes[8] = 7;
      bytes.writeUInt32LE(flags, 48);
      const [{ architecture, compiledFor }] = fromBytes(bytes).product.machineCode as [MachineCodeKernel];
      return [architecture, compiledFor];
    };
    expect(told(0x500556)).toEqual(['sm_86', 'sm_80']);
    expect(told(0x5a0d5a)).toEqual(['sm_90a', 'sm_90']);
    expect(told(0x00055a)).toEqual(['sm_90', 'sm_90']);
  });

  it('numbers the fatbins of a file across its sections', () => {
    const { machineCode } = fromBytes(container('app.rdc')).product;
    const sources = machineCode.filter(({ name }) => name === 'scale').map(({ source }) => source);
    expect(sources).toEqual([
      'input#fatbin[1].entry[0].cubin(sm_80)',
      'input#fatbin[1].entry[2].cubin(sm_90)',
      'input#fatbin[2].entry[0].cubin(sm_80)',
      'input#fatbin[2].entry[1].cubin(sm_90)',
    ]);
  });

  it('names the architecture of a bare cubin', () => {
    const { machineCode } = fromBytes(container('kernels.sm_90.cubin')).product;
    expect(new Set(machineCode.map(({ architecture }) => architecture))).toEqual(new Set(['sm_90']));
  });

  it('finds the kernels of a cubin without its symbol table', () => {
    const bytes = Buffer.from(container('kernels.sm_90.cubin'));
    const table = Number(bytes.readBigUInt64LE(40));
    for (let index = 0; index < bytes.readUInt16LE(60); index++) {
      const type = table + index * 64 + 4;
      if (bytes.readUInt32LE(type) === 2) bytes.writeUInt32LE(1, type);
    }
    expect(machineCode(fromBytes(bytes), false)).toEqual(KERNELS);
  });

  it('takes text in another input for the text of a kernel', async () => {
    const found = await collect('bin/no-ptx.fatbin', 'bin/ptx-only.fatbin');
    expect(machineCode(found, true)).toEqual(KERNELS);
    expect(machineCode(found, false)).toEqual([]);
  });
});

it('reads archives in BSD form', () => {
  const name = Buffer.from('second-with-a-long-name.o\0\0\0');
  const image = container('no-ptx.fatbin');
  const header = ['#1/28'.padEnd(48), String(name.length + image.length).padEnd(10), '`\n'].join('');
  const found = fromBytes(Buffer.concat([Buffer.from(`!<arch>\n${header}`), name, image]));
  expect(codes(found)).toEqual([]);
  expect(machineCode(found, false)).toEqual(KERNELS);
  expect(found.product.machineCode[0]!.source).toBe('input#second-with-a-long-name.o: fatbin[0].entry[0].cubin(sm_90)');
});

describe('compression', () => {
  const MODES = ['none', 'speed', 'balance', 'size', 'default'] as const;

  function read(name: string) {
    const reader = new FatbinReader(name, newBudget({ maxEntryBytes: 1 << 20, maxTotalBytes: 1 << 20 }));
    reader.read(container(`${name}.fatbin`), 'file', true);
    expect(reader.diagnostics).toEqual([]);
    return reader.entries;
  }

  it.each([
    ['none', ['none', 'none', 'none', 'none']],
    ['speed', ['none', 'lz4', 'none', 'lz4']],
    ['balance', ['none', 'zstd', 'none', 'zstd']],
    ['size', ['zstd', 'zstd', 'zstd', 'zstd']],
    ['default', ['none', 'zstd', 'none', 'zstd']],
  ])('%s compresses entries as %j', (mode, compression) => {
    expect(read(`kernels.${mode}`).map((entry) => entry.compression)).toEqual(compression);
  });

  it('makes no difference to a text of several blocks', () => {
    const [lz4, zstd] = ['large.speed', 'large.size'].map(read);
    expect(lz4!.map(({ compression }) => compression)).toEqual(['lz4']);
    expect(zstd!.map(({ compression }) => compression)).toEqual(['zstd']);
    expect(lz4![0]!.bytes.length).toBeGreaterThan(1 << 17);
    expect(lz4![0]!.bytes.equals(zstd![0]!.bytes)).toBe(true);
    expect(entryNames(zstd![0]!.bytes.toString('latin1')).size).toBe(70);
  });

  it('makes no difference to text and machine code', () => {
    // A plain text is padded to eight bytes.
    const plain = (mode: string) =>
      read(`kernels.${mode}`).map(({ bytes }) => bytes.toString('latin1').replace(/\0{0,7}$/, ''));
    for (const mode of MODES) expect(plain(mode), mode).toEqual(plain('none'));
  });
});
