/** Folders, traces, caches, patterns and standard input: what is found, and what is told about the rest. */
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { collectSources, type PtxSource } from '../../src/sources/index.js';
import { entryNames, splitVersions } from '../../src/sources/split.js';
import { CONTAINERS, codes, collect, container, entries, KERNELS, machineCode, TRANSPOSE } from './support.js';

const RUN = 'neutrino/trace/Apr24_231539_1860576';
const ptx = (kernel: string, target = 90) =>
  `.version 8.0\n.target sm_${target}\n.address_size 64\n.visible .entry ${kernel}()\n{\n  ret;\n}\n`;

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'gcr-sources-'));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A new folder with these files; a name that ends in a slash is a folder. */
function folder(files: Readonly<Record<string, string | Buffer>>): string {
  const path = mkdtempSync(join(scratch, 'case-'));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(path, name, '..'), { recursive: true });
    if (name.endsWith('/')) mkdirSync(join(path, name), { recursive: true });
    else writeFileSync(join(path, name), content);
  }
  return path;
}

describe('Neutrino traces', () => {
  /** The kernel's folder number, the file taken, and the kernel wanted. */
  const shape = ({ origin, kernels }: PtxSource) => {
    if (origin.kind === 'neutrino')
      return `${/(\d+)_[0-9a-f]{40}$/.exec(origin.folder)![1]} ${origin.file} ${kernels?.join() ?? '*'}`;
    const path = origin.kind === 'container' ? origin.path : '';
    return `${/(\d+)_[0-9a-f]{40}\//.exec(path)![1]} ${/[^/]*$/.exec(path)![0]} ${kernels?.join() ?? '*'}`;
  };
  const kernelFolder = (number: number) => {
    const name = readdirSync(join(CONTAINERS, RUN, 'kernel')).find((entry) => entry.startsWith(`${number}_`))!;
    return `${RUN}/kernel/${name}`;
  };

  const WHOLE = [
    '0 original.ptx fill',
    '0 original.ptx fill',
    '1 original.bin fill2',
    '1 original.bin fill2',
    '2 pruned.ptx scale',
    '3 original.ptx fill',
    '5 pruned.ptx scale_late',
    '11 original.ptx unlogged',
    '12 original.ptx *',
  ];

  it.each(['neutrino', 'neutrino/trace', RUN])('%s gives the whole trace', async (input) => {
    const found = await collect(input);
    expect(found.product.sources.map(shape)).toEqual(WHOLE);
    expect(machineCode(found, false)).toEqual(['fi', 'hidden']);
    expect(codes(found)).toEqual(['GCR1008']);
    expect(found.diagnostics.map(({ severity, source }) => `${severity} ${/(\d+)_\w+$/.exec(source!)![1]}`)).toEqual([
      'warning 4',
      'warning 6',
      'note 12',
    ]);
  });

  it.each([
    ['several blocks, a wrong pruned.ptx', 0, ['0 original.ptx fill', '0 original.ptx fill'], [], []],
    ['the image alone', 1, ['1 original.bin fill2', '1 original.bin fill2'], [], []],
    ['the pruned text alone', 2, ['2 pruned.ptx scale'], [], []],
    ['a name that comes again', 3, ['3 original.ptx fill'], [], []],
    ['instrumented files alone', 4, [], ['hidden'], ['GCR1008']],
    ['a text without the kernel', 5, ['5 pruned.ptx scale_late'], [], []],
    ['the wrong entry alone', 6, [], ['fi'], ['GCR1008']],
    ['machine code alone', 10, [], [TRANSPOSE], []],
    ['a name from kernel.info', 11, ['11 original.ptx unlogged'], [], []],
    ['no name', 12, ['12 original.ptx *'], [], ['GCR1008']],
  ])('one kernel’s folder: %s', async (_what, number, sources, withoutPtx, expected) => {
    const found = await collect(kernelFolder(number));
    expect(found.product.sources.map(shape)).toEqual(sources);
    expect(machineCode(found, false)).toEqual(withoutPtx);
    expect(codes(found)).toEqual(expected);
  });

  it('takes a single file as it is', async () => {
    const found = await collect(`${kernelFolder(0)}/original.ptx`);
    expect(found.product.sources.map(({ kernels, origin }) => [kernels, origin.kind])).toEqual([
      [undefined, 'file'],
      [undefined, 'file'],
    ]);
    expect(entries(found)).toEqual(KERNELS);
  });

  it('never takes instrumented text', async () => {
    const { product } = await collect('neutrino');
    for (const { text } of product.sources) expect(text).not.toContain('instrumented');
  });

  it('finds the log of a folder given by a relative path', async () => {
    const before = process.cwd();
    // It has no kernel.info.
    const input = kernelFolder(3);
    try {
      for (const [from, path] of [
        [input, '.'],
        [join(input, '..'), basename(input)],
        [join(input, '../..'), `kernel/${basename(input)}/`],
      ] as const) {
        process.chdir(join(CONTAINERS, from));
        const found = await collectSources([path]);
        expect(found.product.sources[0]!.kernels, path).toEqual(['fill']);
      }
    } finally {
      process.chdir(before);
    }
  });

  it.each([
    [90, [90]],
    [80, [80]],
    [89, [80]],
    // Nothing fits: the device may be another.
    [75, [80, 90]],
  ])('takes the text for a device of sm_%i', async (deviceArchitecture, targets) => {
    const { product } = await collectSources([join(CONTAINERS, kernelFolder(0))], { deviceArchitecture });
    expect(product.sources.map(({ text }) => Number(/\.target sm_(\d+)/.exec(text)![1]))).toEqual(targets);
  });

  it('takes an older text when only that has the kernel', async () => {
    const name = `0_${createHash('sha1').update('only80').digest('hex')}`;
    const run = folder({
      'event.log': '[mod] cuModuleGetFunction 0 name only80\n',
      [`kernel/${name}/original.ptx`]: ptx('only80', 80) + ptx('other', 90),
    });
    const found = await collectSources([run], { deviceArchitecture: 90 });
    expect(entries(found)).toEqual(['only80']);
    expect(codes(found)).toEqual([]);
  });
});

describe('Triton caches', () => {
  it('gives the text with the hash of the machine code beside it, and machine code without text', async () => {
    const found = await collect('triton-cache');
    expect(codes(found)).toEqual([]);
    expect(entries(found)).toEqual(['scale']);
    expect(machineCode(found)).toEqual(KERNELS);
    expect(machineCode(found, false)).toEqual(KERNELS);
    const { origin } = found.product.sources[0]!;
    if (origin.kind !== 'triton') throw new Error(`origin is ${origin.kind}`);
    const image = readFileSync(origin.path.replace(/ptx$/, 'cubin'));
    expect(origin.image).toBe(createHash('sha256').update(image).digest('hex'));
  });

  it('tells machine code by its content, not by its name', async () => {
    const path = folder({ 'kernel.bin': container('kernels.sm_90.cubin'), 'notes.cubin': 'no image' });
    const found = await collectSources([path]);
    expect(machineCode(found, false)).toEqual(KERNELS);
    expect(codes(found)).toEqual([]);
  });
});

describe('folders', () => {
  it('are read in the order of their names, each text once', async () => {
    const path = folder({ 'b.ptx': ptx('b'), 'a/c.ptx': ptx('c'), 'a.ptx': ptx('a'), 'notes.txt': 'nothing' });
    const found = await collectSources([path]);
    expect(found.product.sources.map(({ name }) => relative(path, name))).toEqual(['a/c.ptx', 'a.ptx', 'b.ptx']);
    expect(codes(found)).toEqual([]);
  });

  it('end at cycles of symbolic links', async () => {
    const path = folder({ 'a/x.ptx': ptx('x'), 'b/': '' });
    symlinkSync(path, join(path, 'a', 'up'));
    symlinkSync('.', join(path, 'self'));
    symlinkSync('../a', join(path, 'b', 'a'));
    const found = await collectSources([path]);
    expect(found.product.sources).toHaveLength(1);
    expect(codes(found)).toEqual([]);
  });

  it('are read although a link leads nowhere', async () => {
    const path = folder({ 'z.ptx': ptx('z') });
    symlinkSync('nowhere', join(path, 'broken.ptx'));
    symlinkSync('loop', join(path, 'loop'));
    const found = await collectSources([path]);
    expect(entries(found)).toEqual(['z']);
    expect(codes(found)).toEqual(['GCR1002']);
    expect(found.diagnostics.map(({ severity }) => severity)).toEqual(['warning', 'warning']);
  });

  it('may be given twice', async () => {
    const path = folder({ 'a/x.ptx': ptx('x') });
    const found = await collectSources([path, path, join(path, 'a')]);
    expect(found.product.sources).toHaveLength(1);
    expect(codes(found)).toEqual([]);
  });

  it('nested too deep are told', async () => {
    const path = folder({ [`${'d/'.repeat(80)}x.ptx`]: ptx('x') });
    const found = await collectSources([path]);
    expect(found.product.sources).toEqual([]);
    expect(found.diagnostics.map(({ code }) => code)).toContain('GCR1009');
  });
});

describe('inputs', () => {
  const EMPTY = () => folder({ 'notes.txt': 'nothing' });

  it.each([
    ['a missing file', () => join(scratch, 'missing.ptx'), 'GCR1001'],
    ['a pattern without a match', () => join(scratch, 'missing-*.ptx'), 'GCR1001'],
    ['a path with a NUL', () => 'a\0b', 'GCR1001'],
    ['a folder without device code', () => EMPTY(), 'GCR1004'],
    ['an empty file', () => join(folder({ 'a.ptx': '' }), 'a.ptx'), 'GCR1004'],
    ['a file of white space', () => join(folder({ 'a.ptx': ' \n\t\n' }), 'a.ptx'), 'GCR1004'],
    ['a binary file', () => join(folder({ a: Buffer.from([1, 2, 3, 0, 255]) }), 'a'), 'GCR1003'],
    ['an ELF file without device code', () => join(folder({ a: hostElf() }), 'a'), 'GCR1004'],
    ['a device', () => '/dev/null', 'GCR1003'],
  ])('%s', async (_name, input, code) => {
    const found = await collectSources([input()]);
    expect(found.product).toEqual({ sources: [], machineCode: [] });
    expect(codes(found)).toEqual([code]);
    expect(found.diagnostics[0]!.severity).toBe('error');
  });

  it('do not stop each other', async () => {
    const path = folder({ 'a.ptx': ptx('a') });
    const found = await collectSources([join(path, 'missing'), join(path, 'a.ptx')]);
    expect(entries(found)).toEqual(['a']);
    expect(codes(found)).toEqual(['GCR1001']);
  });

  it('may be patterns', async () => {
    const path = folder({ 'b.ptx': ptx('b'), 'sub/c.ptx': ptx('c'), 'a.ptx': ptx('a'), 'd.txt': ptx('d') });
    expect(entries(await collectSources([join(path, '*.ptx')]))).toEqual(['a', 'b']);
    expect(entries(await collectSources([join(path, '**/*.ptx')]))).toEqual(['a', 'b', 'c']);
  });

  it('may look like patterns', async () => {
    const path = folder({ 'k[1].ptx': ptx('odd') });
    expect(entries(await collectSources([join(path, 'k[1].ptx')]))).toEqual(['odd']);
  });

  it.each([
    ['text', () => Buffer.from(ptx('piped')), ['piped']],
    ['text with a byte order mark and NULs behind', () => Buffer.from(`\uFEFF${ptx('piped')}\0\0`), ['piped']],
    ['an image', () => container('kernels.default.fatbin'), KERNELS],
  ])('may be %s on standard input', async (_name, bytes, expected) => {
    const found = await collectSources(['-'], { stdin: bytes });
    expect(entries(found)).toEqual(expected);
    expect(found.product.sources[0]!.name).toMatch(/^<stdin>/);
    expect(found.product.sources[0]!.text.charCodeAt(0)).toBeLessThan(128);
    expect(codes(found)).toEqual([]);
  });

  it('may be a copy of a whole tree', async () => {
    const path = join(scratch, 'tree');
    cpSync(CONTAINERS, path, { recursive: true });
    const found = await collectSources([path]);
    expect(machineCode(found, false)).toEqual(['fi', 'hidden']);
    expect(entries(found)).toEqual(expect.arrayContaining([...KERNELS, 'scale', 'scale_late', 'unlogged']));
  });
});

/** An ELF header with an empty section table. */
function hostElf(): Buffer {
  const bytes = Buffer.alloc(128);
  bytes.write('\x7fELF\x02\x01\x01', 'latin1');
  bytes.writeUInt16LE(62, 18);
  bytes.writeBigUInt64LE(64n, 40);
  bytes.writeUInt16LE(64, 58);
  bytes.writeUInt16LE(1, 60);
  return bytes;
}

describe('several .version blocks', () => {
  const A = ptx('a', 80);
  const B = ptx('b', 90);

  it.each([
    ['one', A, [A]],
    ['two', A + B, [A, B]],
    ['comments go with the block behind them', `${A}// about b\n\n${B}`, [A, `// about b\n\n${B}`]],
    ['in a comment', `// .version 1.0\n${A}/* .version 1.0 */\n`, [`// .version 1.0\n${A}/* .version 1.0 */\n`]],
    ['in a string', `${A}.file 1 ".version"\n`, [`${A}.file 1 ".version"\n`]],
    ['in braces', `${A}.section .x { .version }\n`, [`${A}.section .x { .version }\n`]],
    ['none', 'nothing at all', ['nothing at all']],
    ['behind a comment without an end', `${A}/* ${B}`, [`${A}/* ${B}`]],
  ])('%s', (_name, text, expected) => {
    const blocks = splitVersions(text);
    expect(blocks.map((block) => block.text)).toEqual(expected);
    expect(blocks.map((block) => block.text).join('')).toBe(text);
    for (const block of blocks) {
      const offset = text.indexOf(block.text);
      expect(block.lineOffset).toBe(text.slice(0, offset).split('\n').length - 1);
    }
  });

  it('become sources that are numbered', async () => {
    const path = join(folder({ 'dump.ptx': A + B }), 'dump.ptx');
    const { product } = await collectSources([path]);
    expect(product.sources.map(({ name, lineOffset }) => [name, lineOffset])).toEqual([
      [`${path}[0]`, 0],
      [`${path}[1]`, 7],
    ]);
    expect(product.sources.map(({ text }) => [...entryNames(text)])).toEqual([['a'], ['b']]);
  });
});
