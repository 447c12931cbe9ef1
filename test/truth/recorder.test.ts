/**
 * The recorder of truth against a stand-in for the driver (`fake_cuda.cpp`): plans are read and checked, contents and
 * addresses put in place, changed bytes found, and faults, hangs and refusals survived. Needs g++ and no GPU.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const hasCompiler = spawnSync('g++', ['--version']).status === 0;
if (!hasCompiler) console.warn('no g++: the recorder is not tested');

const BASE = 0x2000000000;
const HEAD = {
  format: 'gcr-truth-plan',
  version: 1,
  arena: {
    base: BASE,
    size: 8 << 20,
    segments: [
      [0, 2 << 20],
      [4 << 20, 2 << 20],
    ],
  },
};

/** A parameter block of 64-bit words. */
function words(...values: number[]): string {
  const block = Buffer.alloc(8 * values.length);
  for (const [index, value] of values.entries()) block.writeBigUInt64LE(BigInt(value), 8 * index);
  return block.toString('hex');
}

describe.skipIf(!hasCompiler)('the recorder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gcr-recorder-'));
  const binary = join(folder, 'gcr-truth');
  const driver = join(folder, 'libfake.so');

  beforeAll(() => {
    const sources = readdirSync(join(ROOT, 'native/truth')).filter((name) => name.endsWith('.cpp'));
    const files = [...sources.map((name) => join(ROOT, 'native/truth', name)), join(ROOT, 'native/driver/driver.cpp')];
    const flags = ['-std=c++20', '-O1', '-Wall', '-Wextra', '-Werror'];
    execFileSync('g++', [...flags, '-I', join(ROOT, 'native'), ...files, '-ldl', '-o', binary]);
    const fake = join(import.meta.dirname, 'fake_cuda.cpp');
    execFileSync('g++', [...flags, '-shared', '-fPIC', fake, '-o', driver]);
    writeFileSync(join(folder, 'all.ptx'), 'store stride chase fault hang die bump print same absent-variable');
    writeFileSync(join(folder, 'refuse.ptx'), 'refuse store');
    writeFileSync(join(folder, 'crash.ptx'), 'crash store');
    writeFileSync(join(folder, 'two.ptx'), 'refuse!store!');
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const base = { file: 'all.ptx', case: 'plain', grid: [1, 1, 1], block: [1, 1, 1], sharedMemory: 0, buffers: [] };
  const empty = { variables: [], contents: [], relocations: [], parameters: '' };
  const toBuffer = { buffers: [[256, 4096]], relocations: [['p', 0, 'b0', 0]] };

  function record(launches: readonly object[], ...options: string[]) {
    const plan = join(folder, 'plan.jsonl');
    const output = join(folder, 'out.json');
    const lines = [HEAD, ...launches.map((launch) => ({ ...base, ...empty, ...launch }))];
    writeFileSync(plan, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const common = [plan, folder, output, '--driver', driver, '--compare', 'host', '--timeout', '2'];
    const run = spawnSync(binary, [...common, ...options], { encoding: 'utf8', timeout: 60_000 });
    expect(run.stdout).toBe('');
    if (run.status !== 0) return { error: run.stderr, launches: [] };
    return { ...JSON.parse(readFileSync(output, 'utf8')), summary: run.stderr };
  }

  const hex = (offset: number) => `0x${(BASE + offset).toString(16)}`;

  it('finds what changed, in the buffer and outside of it, and lists equal distances shortly', () => {
    const { launches, device, driver, arena } = record([
      { ...toBuffer, kernel: 'store', parameters: words(0, 10) },
      { ...toBuffer, kernel: 'stride', parameters: words(0, 5), relocations: [['p', 0, 'b0', -8]] },
      {
        kernel: 'store',
        parameters: words(0, 1),
        buffers: [[4 << 20, 64]],
        relocations: [['p', 0, 'b0', (2 << 20) - 1]],
      },
      { ...toBuffer, kernel: 'store', parameters: words(0, 0) },
    ]);
    expect([device, driver, arena]).toEqual(['Fake "GPU"', 13000, hex(0)]);
    expect(launches.map(({ status }: { status: string }) => status)).toEqual(['ok', 'ok', 'ok', 'ok']);
    expect(launches[0].written).toEqual([[hex(256), 10]]);
    expect(launches[0].parameters).toBe(words(BASE + 256, 10));
    expect(launches[0].allocations).toEqual([[hex(256), 4096]]);
    expect(launches[1].written).toEqual([[hex(248), 1, 24, 5]]);
    expect(launches[2].written).toEqual([[hex((6 << 20) - 1), 1]]);
    expect(launches[3].written).toEqual([]);
  });

  it('puts contents, addresses in them and tensor maps in place', () => {
    const { launches } = record([
      {
        kernel: 'chase',
        parameters: words(0, 3),
        buffers: [
          [0, 64],
          [1024, 64],
        ],
        contents: [['b0', 0, '00'.repeat(16)]],
        relocations: [
          ['p', 0, 'b0', 0],
          ['b0', 0, 'b1', 4],
          ['b0', 8, 'v0', 2],
        ],
        variables: [['counter', true]],
      },
      {
        kernel: 'print',
        parameters: '00'.repeat(136),
        buffers: [[4096, 4096]],
        maps: [
          {
            place: 'p',
            offset: 8,
            buffer: 'b0',
            bufferOffset: 16,
            dataType: 7,
            dimensions: [16],
            strides: [],
            box: [8],
            elementStrides: [1],
            interleave: 0,
            swizzle: 0,
          },
        ],
      },
    ]);
    expect(launches[0].written).toEqual([[hex(1028), 3]]);
    const [[name, place, size, keep]] = launches[0].variables;
    expect([name, size, keep]).toEqual(['counter', 4, true]);
    const counter = Buffer.alloc(8);
    counter.writeBigUInt64LE(BigInt(place) + 2n);
    expect(launches[0].fixed).toEqual([[hex(0), words(BASE + 1028) + counter.toString('hex')]]);
    expect(launches[1].parameters).toBe(words(0, BASE + 4096 + 16) + 'ee'.repeat(120));
    expect(launches[1].maps[0]).toMatchObject({ parameter: 8, address: hex(4096 + 16), dimensions: [16], box: [8] });
  });

  it('passes parameters one by one where the plan gives their layout', () => {
    const layout = [
      [8, 8],
      [0, 8],
    ];
    const relocations = [['p', 8, 'b0', 0]];
    const { launches } = record([{ ...toBuffer, kernel: 'store', parameters: words(10, 0), relocations, layout }]);
    expect(launches[0].written).toEqual([[hex(256), 10]]);
    expect(record([{ ...toBuffer, kernel: 'store', parameters: words(10, 0), layout: [[12, 8]] }]).error).toMatch(
      /line 2: content outside of its place/,
    );
  });

  it('compares module variables', () => {
    const variables = [
      ['counter', true],
      ['table', false],
      ['nowhere', false],
    ];
    const { launches } = record([{ kernel: 'bump', variables }]);
    expect(launches[0].variables.map(([name]: [string]) => name)).toEqual(['counter', 'table']);
    const counter = BigInt(launches[0].variables[0][1]);
    expect(launches[0].written).toEqual([[`0x${(counter + 1n).toString(16)}`, 1]]);
  });

  it('survives faults, hangs, deaths and refusals, and goes on', () => {
    const store = { ...toBuffer, kernel: 'store', parameters: words(0, 2) };
    const { launches, summary } = record([
      store,
      { kernel: 'fault' },
      store,
      { kernel: 'hang' },
      store,
      { kernel: 'die' },
      { ...store, file: 'refuse.ptx' },
      { ...store, file: 'crash.ptx' },
      { ...store, file: 'crash.ptx' },
      { ...store, file: 'two.ptx', slice: [7, 13] },
      { kernel: 'missing' },
      { kernel: 'bump', block: [2048, 1, 1] },
      { kernel: 'bump', sharedMemory: 300_000 },
      { kernel: 'chase', relocations: [['p', 0, 'v0', 0]], parameters: words(0), variables: [['nowhere', true]] },
      store,
    ]);
    const statuses = launches.map(({ status, reason }: { status: string; reason?: string }) =>
      reason ? `${status}: ${reason}` : status,
    );
    expect(statuses).toEqual([
      'ok',
      'faulted: run: CUDA_ERROR_ILLEGAL_ADDRESS',
      'ok',
      'hung: no end after 2 s',
      'ok',
      'faulted: the process ended',
      'refused: CUDA_ERROR_INVALID_PTX: ptxas fatal: not today',
      'refused: the driver ended while it loaded the module',
      'refused: the driver ended while it loaded the module',
      'ok',
      'refused: kernel: CUDA_ERROR_OTHER',
      'refused: launch: CUDA_ERROR_OTHER',
      'refused: shared memory: CUDA_ERROR_OTHER',
      'refused: the module has no variable nowhere',
      'ok',
    ]);
    expect(summary).toContain('15 launches: 5 ok 2 faulted 1 hung 7 refused');
    expect(launches[1].parameters).toBe('');
  }, 60_000);

  it('refuses plans that are not right, and says where', () => {
    const bad = (launch: object) => record([{ kernel: 'store' }, { kernel: 'store', ...launch }]).error;
    expect(bad({ grid: [0, 1, 1] })).toMatch(/line 3: a launch size is not positive/);
    expect(bad({ buffers: [[3 << 20, 8]] })).toMatch(/line 3: a buffer is not inside one segment/);
    expect(bad({ relocations: [['p', 0, 'b0', 0]] })).toMatch(/line 3: no place 'b0'/);
    expect(bad({ ...toBuffer, parameters: '00' })).toMatch(/line 3: content outside of its place/);
    expect(bad({ contents: [['b0', 0, '0']], buffers: [[0, 8]] })).toMatch(/line 3: half a byte/);
    expect(bad({ grid: [1.5, 1, 1] })).toMatch(/line 3: number is not whole/);
    expect(record([], '--timeout', 'soon').error).toMatch(/bad option --timeout soon/);
    expect(record([{ kernel: 'store' }], '--driver', '/nowhere.so').error).toMatch(/no driver/);
  });
});
