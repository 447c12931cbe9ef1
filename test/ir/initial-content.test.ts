/**
 * The content that variables are loaded with: by the manual, and byte for byte as ptxas puts it into its image. The latter
 * is skipped, visibly, where ptxas is missing.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';
import type { KernelTemplate } from '../../src/templates/index.js';
import { fixtures, hasPtxas, withFolder } from '../ptx/helpers.js';

type MemoryObject = KernelTemplate['objects'][number];

const HEAD = '.version 8.0\n.target sm_80\n.address_size 64\n';

/** The variables of a text, each used by a kernel. */
async function variables(declarations: string, names: readonly string[]): Promise<MemoryObject[]> {
  const uses = names.map((name) => `mov.u64 %rd1, ${name}; st.global.u8 [%rd1], 0;`).join('\n');
  const text = `${HEAD}${declarations}\n.visible .entry k() { .reg .b64 %rd<2>; ${uses} ret; }\n`;
  const { product } = await buildTemplatesFromText(text);
  const found = product.kernels[0]?.objects ?? [];
  return names.map((name) => found.find((object) => object.name === name)!);
}

describe('initial content', () => {
  it.each([
    ['zeros without an initialiser', '.global .align 4 .u32 g[4];', ''],
    ['one value', '.global .align 4 .u32 g = 0x01020304;', '04030201'],
    ['a list, without the zeros at its end', '.global .align 2 .u16 g[4] = {1, 515, 0};', '01000302'],
    ['negative numbers', '.global .align 4 .s32 g[2] = {-1, -2};', 'fffffffffeffffff'],
    ['nested lists', '.global .align 1 .u8 g[2][3] = {{1}, {2, 3}};', '0100000203'],
    ['an open dimension', '.global .align 1 .b8 g[] = {104, 105};', '6869'],
    ['a vector', '.global .v2 .u16 g[2] = {{1, 2}, {3, 4}};', '01000200030004'],
    ['constant expressions', '.const .align 8 .u64 g = (1 << 40) | 3;', '030000000001'],
    ['floats', '.global .align 4 .f32 g[3] = {0f3F800000, 1.5, -2.0};', '0000803f0000c03f000000c0'],
    ['doubles', '.global .align 8 .f64 g[2] = {0d3FF0000000000000, .5};', '000000000000f03f000000000000e03f'],
  ])('is %s', async (_, declaration, initial) => {
    const [object] = await variables(declaration, ['g']);
    expect(object?.initial).toBe(initial);
    expect(object?.relocations).toBeUndefined();
  });

  it('has the addresses of variables and functions as relocations', async () => {
    const [table, packed] = await variables(
      `.global .align 4 .u32 data[4]; .const .u32 fixed; .func f() { ret; }
       .global .align 8 .u64 table[4] = {data, generic(data)+8-4, generic(fixed), f};
       .global .align 1 .u8 packed[2] = {0xFF(generic(data)+1), 0xFF00000000000000(data)};`,
      ['table', 'packed'],
    );
    const rest = { name: 'data', space: 'global' };
    expect(table).toMatchObject({
      initial: '',
      relocations: [
        { ...rest, offset: 0, bytes: 8, shift: 0, generic: false, addend: 0 },
        { ...rest, offset: 8, bytes: 8, shift: 0, generic: true, addend: 4 },
        { offset: 16, name: 'fixed', space: 'constant', generic: true },
        { offset: 24, name: 'f', space: 'function' },
      ],
    });
    expect(packed?.relocations).toEqual([
      { ...rest, offset: 0, bytes: 1, shift: 0, generic: true, addend: 1 },
      { ...rest, offset: 1, bytes: 1, shift: 56, generic: false, addend: 0 },
    ]);
  });

  it.each([
    ['is declared elsewhere', '.extern .global .align 4 .u32 g[4];'],
    ['may be defined elsewhere', '.weak .global .align 4 .u32 g = 5;'],
    ['may be merged', '.common .global .align 4 .u32 g;'],
    ['belongs to the host, too', '.global .attribute(.managed) .align 4 .u32 g = 5;'],
    ['is not exact in its type', '.global .align 4 .f32 g = 0.1;'],
    ['is larger than 64 KiB', '.global .align 4 .u32 g[16385] = {1};'],
  ])('is unknown where it %s', async (_, declaration) => {
    const [object] = await variables(declaration, ['g']);
    expect(object).toBeDefined();
    expect(object?.initial).toBeUndefined();
  });

  it('of memory that is no variable of the module is unknown', async () => {
    const [object] = await variables('.shared .align 4 .u32 g;', ['g']);
    expect(object?.initial).toBeUndefined();
  });
});

interface Section {
  /** Where its name stands in the table of names. */
  readonly name: number;
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
}

/** Variables of a 64-bit ELF image, with the bytes that stand in it before relocation; undefined for zeros. */
function imageVariables(image: Buffer): Map<string, { readonly bytes: Buffer | undefined; readonly places: number[] }> {
  const table = Number(image.readBigUInt64LE(40));
  const sections: Section[] = Array.from({ length: image.readUInt16LE(60) }, (_, index) => {
    const at = table + index * 64;
    const wide = (offset: number) => Number(image.readBigUInt64LE(at + offset));
    return {
      name: image.readUInt32LE(at),
      type: image.readUInt32LE(at + 4),
      offset: wide(24),
      size: wide(32),
      link: image.readUInt32LE(at + 40),
      info: image.readUInt32LE(at + 44),
    };
  });
  const text = (section: Section, at: number) => image.toString('latin1', section.offset + at).split('\0', 1)[0]!;
  const names = sections[image.readUInt16LE(62)]!;
  const symbols = sections.find(({ type }) => type === 2)!;
  const found = new Map<string, { bytes: Buffer | undefined; places: number[] }>();
  for (let at = symbols.offset; at < symbols.offset + symbols.size; at += 24) {
    const index = image.readUInt16LE(at + 6);
    const home = sections[index];
    const isObject = (image[at + 4]! & 15) === 1;
    if (!isObject || !home || !/^\.nv\.(global|constant3)/.test(text(names, home.name))) continue;
    const value = Number(image.readBigUInt64LE(at + 8));
    const size = Number(image.readBigUInt64LE(at + 16));
    const places: number[] = [];
    // Relocations with their addend, and those that have it in place.
    const applied = sections.filter(({ type, info }) => (type === 4 || type === 9) && info === index);
    for (const { type, offset, size: length } of applied) {
      for (let entry = offset; entry < offset + length; entry += type === 4 ? 24 : 16) {
        const place = Number(image.readBigUInt64LE(entry)) - value;
        if (place >= 0 && place < size) places.push(place);
      }
    }
    const bytes = home.type === 8 ? undefined : image.subarray(home.offset + value, home.offset + value + size);
    found.set(text(sections[symbols.link]!, image.readUInt32LE(at)), { bytes, places: places.sort((a, b) => a - b) });
  }
  return found;
}

describe.skipIf(!hasPtxas)('initial content and ptxas', () => {
  it('agree on every fixture with initialised variables', { timeout: 120_000 }, async () => {
    let compared = 0;
    for (const { name, text } of fixtures()) {
      if (text.length > 60_000 || !/^\s*(\.visible )?\.(global|const)\b.*[=\]]/m.test(text)) continue;
      const { product } = await buildTemplatesFromText(text, name);
      const objects = product.kernels
        .flatMap((kernel) => kernel.objects)
        .filter(({ initial }) => initial !== undefined);
      if (objects.length === 0) continue;
      const image = withFolder((folder) => {
        const [input, output] = [join(folder, 'a.ptx'), join(folder, 'a.cubin')];
        writeFileSync(input, text);
        for (const arch of [/^\s*\.target\s+(\w+)/m.exec(text)?.[1] ?? '', 'sm_80', 'sm_90a']) {
          try {
            execFileSync('ptxas', ['-arch', arch, input, '-o', output], { stdio: 'ignore', timeout: 30_000 });
            return readFileSync(output);
          } catch {
            // Not for this device; the next one may do.
          }
        }
        return undefined;
      });
      if (!image) continue;
      const truth = imageVariables(image);
      for (const object of objects) {
        const known = truth.get(object.name);
        if (!known) continue;
        const ours = Buffer.alloc(object.size);
        Buffer.from(object.initial!, 'hex').copy(ours);
        const theirs = Buffer.alloc(object.size);
        known.bytes?.copy(theirs);
        // Some relocations have their addend in place.
        for (const { offset, bytes } of object.relocations ?? []) theirs.fill(0, offset, offset + bytes);
        const what = `${object.name} in ${name}`;
        expect(ours.toString('hex'), what).toBe(theirs.toString('hex'));
        // A function's place is a relocation or already there, as the device has it.
        const functions = (object.relocations ?? []).filter(({ space }) => space === 'function');
        const inside = (place: number) => functions.some(({ offset }) => offset === place);
        const variables = (object.relocations ?? []).filter(({ space }) => space !== 'function');
        expect(
          variables.map(({ offset }) => offset),
          what,
        ).toEqual(known.places.filter((place) => !inside(place)));
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(5);
  });
});
