/** `shadow` as a user meets it: a process of its own, judged by exit code and output. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const BIN = join(ROOT, 'bin/gcr-templates.js');
const STRIDE = join(ROOT, 'fixtures/ptx/ideas/loop-grid-stride.ptx');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-shadow-'));
  expect(run(['build', STRIDE, '-o', 't.json']).status).toBe(0);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(args: readonly string[], input?: string) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 50_000,
    killSignal: 'SIGKILL',
    maxBuffer: 1 << 28,
    ...(input !== undefined && { input }),
  });
  return { status, stdout, stderr };
}

/** `k_stride(out, n)`: four bytes each, from out on. */
const launch = (n: number, kernel = 'k_stride') => {
  const parameters = Buffer.alloc(12);
  parameters.writeBigUInt64LE(0x10010n);
  parameters.writeUInt32LE(n, 8);
  const sizes = { grid: [2, 1, 1], block: [32, 1, 1] };
  return JSON.stringify({ event: 'launch', kernel, ...sizes, params: parameters.toString('hex') });
};
const BEGIN = [
  '{"event":"module","ptx":"loop-grid-stride.ptx"}',
  '{"event":"alloc","address":"0x10000","size":131072}',
];
const trace = (...lines: string[]) => [...BEGIN, ...lines, ''].join('\n');

function shadow(text: string, ...options: string[]) {
  writeFileSync(join(folder, 'x.ndjson'), text);
  return run(['shadow', '--templates', 't.json', '--trace', 'x.ndjson', ...options]);
}

describe('shadow', () => {
  it('prints a line for each launch, and sums', () => {
    const { status, stdout, stderr } = shadow(trace(launch(100), launch(0)), '--chunk', '64K');
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^ +0 +k_stride +exact +1 range +400 bytes +1 chunk$/m);
    expect(stdout).toMatch(/^ +1 +k_stride +exact +0 ranges +0 bytes +0 chunks$/m);
    expect(stdout).toMatch(/^exact +2 +100\.0 % +400 +100\.0 %$/m);
  });

  it('prints the format of the documentation with --json', () => {
    const { status, stdout } = shadow(trace(launch(30_000), launch(1, 'none')), '--json', '--chunk', '64k');
    expect(status).toBe(3);
    const lines = stdout.split('\n');
    expect(lines[0]).toBe(
      '{"launch":0,"kernel":"k_stride","verdict":"exact","ranges":[["0x10010",120000]],"chunks":[["0x10000",2]],"reasons":[]}',
    );
    expect(lines[1]).toBe(
      '{"launch":1,"kernel":"none","verdict":"unknown","ranges":[["0x10000",131072]],"chunks":[["0x10000",2]],' +
        '"reasons":[{"code":"GCR5013","line":0,"instruction":"","message":"kernel none has no template"}]}',
    );
    expect(JSON.parse(lines[2]!)).toMatchObject({
      summary: {
        launches: 2,
        byVerdict: { exact: { launches: 1, bytes: 120_000 }, unknown: { launches: 1, bytes: 131_072 } },
        byReason: { GCR5013: 1 },
        overApproximation: [{ address: '0x10000', size: 131_072, launches: 1, bytes: 131_072 }],
        warnings: 1,
        provenance: true,
        unknown: 'all',
      },
    });
    expect(lines.slice(3)).toEqual(['']);
  });

  it('takes PTX as templates, and the trace from standard input', () => {
    const { status, stdout } = run(['shadow', '-t', STRIDE, '--trace', '-', '--json'], trace(launch(5)));
    expect(status).toBe(0);
    expect(stdout).toContain('"ranges":[["0x10010",20]]');
  });

  it('says that a heuristic was asked for', () => {
    expect(shadow(trace(launch(5)), '--unknown', 'args').stdout).toContain('bytes may be missed');
  });

  it.each([
    ['a wrong event', ['{"event":"reset"}'], 'x.ndjson:3: error GCR5006'],
    [
      'a double free',
      ['{"event":"free","address":"0x10000"}', '{"event":"free","address":"0x10000"}'],
      ':4: error GCR5012',
    ],
    ['an overlap', ['{"event":"alloc","address":"0x10fff","size":1}'], 'x.ndjson:3: error GCR5011'],
    ['an empty allocation', ['{"event":"alloc","address":"0x1","size":0}'], 'x.ndjson:3: error GCR5010'],
    ['another module', ['{"event":"module","ptx":"other.ptx"}'], 'x.ndjson:3: error GCR5014'],
    [
      'too few parameters',
      [
        launch(1)
          .replace('64000000', '')
          .replace(/"params":".*"/, '"params":""'),
      ],
      ':3: error GCR5001',
    ],
  ])('ends with 65 at %s, with its line; lines of before are whole', (_, lines, message) => {
    const { status, stdout, stderr } = shadow(trace(...lines), '--json');
    expect(status).toBe(65);
    expect(stderr).toContain(message);
    expect(stdout).toBe('');
    const later = shadow(trace(launch(1), ...lines), '--json');
    expect(later.stdout).toBe(
      '{"launch":0,"kernel":"k_stride","verdict":"exact","ranges":[["0x10010",4]],"reasons":[]}\n',
    );
  });

  it.each([
    ['no trace', ['shadow', '-t', 't.json']],
    ['no templates', ['shadow', '--trace', 'x.ndjson']],
    ['a chunk of nothing', ['shadow', '-t', 't.json', '--trace', 'x', '--chunk', '0']],
    ['a chunk that is no size', ['shadow', '-t', 't.json', '--trace', 'x', '--chunk', '64Q']],
    ['a policy that is none', ['shadow', '-t', 't.json', '--trace', 'x', '--unknown', 'some']],
    ['standard input twice', ['shadow', '-t', '-', '--trace', '-']],
  ])('ends with 64 on %s', (_, args) => {
    const { status, stderr } = run(args);
    expect(status).toBe(64);
    expect(stderr).toContain('--help');
  });

  it('ends with 65 when there is no such trace', () => {
    const { status, stderr } = run(['shadow', '-t', 't.json', '--trace', 'nowhere']);
    expect(status).toBe(65);
    expect(stderr).toContain('nowhere: error GCR1001');
  });

  it('does not mind a reader that goes away', () => {
    writeFileSync(join(folder, 'long.ndjson'), trace(...new Array<string>(20_000).fill(launch(1))));
    const command = `"${process.execPath}" "${BIN}" shadow -t t.json --trace long.ndjson 2>errors | head -n 1`;
    const { stdout } = spawnSync('bash', ['-c', command], { encoding: 'utf8', cwd: folder });
    expect(stdout.split('\n')).toHaveLength(2);
    expect(readFileSync(join(folder, 'errors'), 'utf8')).toBe('');
  });

  it('stops at an interruption, between whole lines', async () => {
    const child = spawn(process.execPath, [BIN, 'shadow', '-t', 't.json', '--trace', '-', '--json'], { cwd: folder });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (data) => {
      stdout += String(data);
    });
    // Something came, so it runs; the trace itself stays open.
    child.stdout.once('data', () => child.kill('SIGINT'));
    child.stderr.on('data', (data) => {
      stderr += String(data);
    });
    child.stdin.write(trace(...new Array<string>(2000).fill(launch(1))));
    const status = await new Promise<number | null>((resolve) => child.on('exit', resolve));
    expect(status).toBe(130);
    expect(stderr).toMatch(/interrupted after \d+ launches/);
    expect(stdout.endsWith('}\n')).toBe(true);
    for (const line of stdout.trimEnd().split('\n')) expect(JSON.parse(line)).toHaveProperty('ranges');
  });
});
