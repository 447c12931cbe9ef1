/** The commands of a store as a user meets them: processes of their own, judged by exit code, output and what is left. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CHUNK_BYTES, type Manifest, Store } from '../../src/checkpoint/index.js';

const ROOT = join(import.meta.dirname, '../..');
const BIN = join(ROOT, 'bin/gcr-templates.js');

let folder: string;
const made: Manifest[] = [];
const weights = Buffer.alloc(5 * CHUNK_BYTES + 100, 1);
const state = Buffer.alloc(70_000, 2);

function run(args: readonly string[], input?: Buffer) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args], {
    cwd: folder,
    timeout: 50_000,
    killSignal: 'SIGKILL',
    maxBuffer: 1 << 28,
    ...(input && { input }),
  });
  return { status, stdout: stdout.toString(), stderr: stderr.toString(), bytes: stdout };
}

/** A store of four checkpoints in which the first chunk of the weights counts up. */
async function make(name: string): Promise<Manifest[]> {
  const store = await Store.open({ directory: join(folder, name) }, { create: true });
  const manifests: Manifest[] = [];
  for (let step = 0; step < 4; step++) {
    const session = await store.begin({
      kind: step === 0 ? 'full' : 'increment',
      parent: manifests.at(-1)?.id ?? null,
      device: { name: 'H200', uuid: 'GPU-0', driver: '580', memoryBytes: 1 },
      process: { pid: 7, command: ['train', '--fast'], host: 'node' },
      launches: { exact: 5, bounded: 0, allocation: 1, unknown: 0, contract: 0 },
      kernels: [{ name: 'scatter', verdict: 'allocation', launches: 1, bytes: 64, reason: 'GCR4001' }],
      note: `step ${step}`,
    });
    weights[0] = 100 + step;
    const ranges = step === 0 ? {} : { ranges: [{ from: 0, count: 1, origin: 'exact' as const }] };
    const first = { id: 1n, address: 0x7f0000000000n, size: weights.length, kind: 'device', label: 'weights' } as const;
    await session.add(first, { ...ranges, bytes: step === 0 ? weights : weights.subarray(0, CHUNK_BYTES) });
    const second = { id: 2n, address: 0x7f1000000000n, size: state.length, kind: 'variable', label: '' } as const;
    await session.add(second, step === 0 ? { bytes: state } : { ranges: [] });
    manifests.push(await session.commit());
  }
  store.close();
  return manifests;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-cli-store-'));
  made.push(...(await make('s')));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A hash of every file of a folder. */
const fingerprint = (name: string) =>
  readdirSync(join(folder, name), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(
      (entry) =>
        `${join(entry.parentPath, entry.name)} ${createHash('sha1')
          .update(readFileSync(join(entry.parentPath, entry.name)))
          .digest('hex')}`,
    )
    .sort();

describe('list and show', () => {
  it('list gives a line a checkpoint, and all with --json', () => {
    const { status, stdout, stderr } = run(['list', 's']);
    expect([status, stderr]).toEqual([0, '']);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(5);
    expect(lines[4]).toMatch(
      new RegExp(`^${made[3]!.id.slice(0, 12)} .* increment +${made[2]!.id.slice(0, 12)} +397.8 KB +1 .* step 3$`),
    );
    const { checkpoints, damaged } = JSON.parse(run(['list', 's', '--json']).stdout);
    expect(damaged).toEqual([]);
    expect(checkpoints).toEqual(made);
  });

  it('show tells about memory, launches and kernels', () => {
    const { status, stdout } = run(['show', 's', 'latest~1']);
    expect(status).toBe(0);
    expect(stdout).toContain(made[2]!.id);
    expect(stdout).toMatch(/changed +1 chunks: exact 100 %/);
    expect(stdout).toMatch(/1 +0x7f0000000000 +327780 +device +weights/);
    expect(stdout).toMatch(/scatter +allocation +1 +64 bytes +GCR4001/);
    expect(JSON.parse(run(['show', 's', made[0]!.id.slice(0, 9), '--json']).stdout)).toMatchObject({
      id: made[0]!.id,
      memory: [{ id: '1', address: '0x7f0000000000', size: weights.length }, { id: '2' }],
    });
  });
});

describe('diff', () => {
  it('says which allocations changed and how much', () => {
    const { status, stdout } = run(['diff', 's', 'latest~3', 'latest']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/1 +changed +1 +65.5 KB +20.0 % +weights/);
    expect(stdout).toContain('1 chunk (65.5 KB) changed; 1 allocation without a change');
    expect(JSON.parse(run(['diff', 's', 'latest', 'latest', '--json']).stdout)).toMatchObject({ changedChunks: 0 });
  });
});

describe('extract', () => {
  it.each(['1', 'weights', '0x7f0000000000'])('writes the bytes of allocation %s', (name) => {
    expect(run(['extract', 's', 'latest', '-a', name, '-o', 'w.bin']).status).toBe(0);
    expect(readFileSync(join(folder, 'w.bin')).equals(weights)).toBe(true);
    rmSync(join(folder, 'w.bin'));
  });

  it('writes to standard output', () => {
    expect(run(['extract', 's', 'latest~3', '-a', '2', '-o', '-']).bytes.equals(state)).toBe(true);
  });

  it('ends with 66 where there is no such allocation, checkpoint or store, and writes nothing', () => {
    for (const args of [
      ['s', 'latest', '-a', '9'],
      ['s', 'latest~9', '-a', '1'],
      ['s', 'xyz', '-a', '1'],
      ['none', 'latest', '-a', '1'],
    ]) {
      const { status, stderr } = run(['extract', ...args, '-o', 'no.bin']);
      expect(status, stderr).toBe(66);
      expect(stderr).toContain('hint:');
    }
    expect(existsSync(join(folder, 'no.bin'))).toBe(false);
  });
});

describe('export and import', () => {
  it('bring a checkpoint from one store to another, by file and by pipe', () => {
    expect(run(['export', 's', 'latest', '-o', 'x.gcr']).stdout).toContain(made[3]!.id);
    const piped = run(['export', 's', 'latest']);
    expect(piped.bytes.equals(readFileSync(join(folder, 'x.gcr')))).toBe(true);
    expect(run(['import', 'copy', 'x.gcr']).stdout).toMatch(/KB stored/);
    expect(run(['import', 'copy', '-'], piped.bytes).stdout).toContain('the store has it already');
    expect(run(['extract', 'copy', 'latest', '-a', 'weights', '-o', '-']).bytes.equals(weights)).toBe(true);
    expect(run(['verify', 'copy', '--read-data']).status).toBe(0);
  });

  it('import refuses what is cut off or no export, and leaves an empty store', () => {
    copyFileSync(join(folder, 'x.gcr'), join(folder, 'cut.gcr'));
    truncateSync(join(folder, 'cut.gcr'), 100_000);
    writeFileSync(join(folder, 'noise.gcr'), Buffer.alloc(1000, 7));
    for (const file of ['cut.gcr', 'noise.gcr']) {
      const { status, stderr } = run(['import', 'fresh', file]);
      expect(status).toBe(65);
      expect(stderr).toMatch(new RegExp(`${file}: error GCR7016`));
    }
    expect(run(['import', 'fresh', 'nowhere.gcr']).status).toBe(65);
    expect(run(['list', 'fresh']).stdout).toBe('no checkpoints\n');
    expect(run(['verify', 'fresh'])).toMatchObject({ status: 0 });
  });

  it('an import that is interrupted leaves the store as it was', async () => {
    const before = fingerprint('copy');
    const bytes = readFileSync(join(folder, 'x.gcr'));
    run(['export', 's', 'latest~1', '-o', 'y.gcr']);
    const other = readFileSync(join(folder, 'y.gcr'));
    expect(other.equals(bytes)).toBe(false);
    const child = spawn(process.execPath, [BIN, 'import', 'copy', '-'], { cwd: folder });
    let stderr = '';
    child.stderr.on('data', (data) => {
      stderr += String(data);
    });
    child.stdin.on('error', () => {});
    // More than pipe and stream hold, so when it is taken the command runs.
    await new Promise<void>((resolve) => child.stdin.write(other.subarray(0, -10), () => resolve()));
    await expect
      .poll(() => readdirSync(join(folder, 'copy/packs')).some((name) => name.endsWith('.tmp')), { timeout: 20_000 })
      .toBe(true);
    child.kill('SIGINT');
    expect(await new Promise((resolve) => child.on('exit', resolve))).toBe(130);
    expect(stderr).toContain('interrupted');
    expect(fingerprint('copy')).toEqual(before);
  });
});

describe('verify', () => {
  it('is content with a whole store, all of it or one checkpoint', () => {
    expect(run(['verify', 's', '--read-data'])).toMatchObject({ status: 0, stderr: '' });
    expect(run(['verify', 's', 'latest', '--read-data']).stdout).toContain(
      '1 checkpoint looked at, all chunks read: all can be restored',
    );
    expect(JSON.parse(run(['verify', 's', '--json']).stdout)).toEqual({
      problems: [],
      garbage: [],
      checkpoints: 4,
      unsound: [],
    });
  });

  it('names what is damaged with the remedy, and repairs an index', async () => {
    const manifests = await make('hurt');
    for (const name of readdirSync(join(folder, 'hurt/index'))) rmSync(join(folder, 'hurt/index', name));
    const broken = run(['verify', 'hurt']);
    expect(broken.status).toBe(65);
    expect(broken.stdout).toContain('cannot be restored');
    expect(broken.stderr).toContain('--repair-index');
    expect(run(['extract', 'hurt', 'latest', '-a', '1', '-o', '-'])).toMatchObject({ status: 65, stdout: '' });
    const repaired = run(['verify', 'hurt', '--repair-index', '--read-data']);
    expect(repaired.stderr).toBe('');
    expect(repaired.status).toBe(0);
    truncateSync(join(folder, 'hurt/manifests', `${manifests[1]!.id}.json`), 50);
    const { status, stderr, stdout } = run(['verify', 'hurt']);
    expect(status).toBe(65);
    expect(stderr).toContain(`hurt/manifests/${manifests[1]!.id}.json: error GCR7012`);
    expect(stdout).toContain(manifests[3]!.id.slice(0, 12));
    // The others can still be listed, and the damage does not go unsaid.
    expect(run(['list', 'hurt'])).toMatchObject({ status: 65 });
    expect(run(['prune', 'hurt', '--keep-last', '1'])).toMatchObject({ status: 65, stdout: '' });
    expect(run(['prune', 'hurt', '--keep-last', '9', '--drop-damaged']).status).toBe(0);
    expect(run(['verify', 'hurt', '--read-data']).status).toBe(0);
  });
});

describe('prune', () => {
  it('needs a rule', () => {
    for (const args of [[], ['--keep-last', '0'], ['--keep-last', '-1'], ['--keep-daily', 'x']]) {
      const { status, stderr } = run(['prune', 's', ...args]);
      expect(status).toBe(64);
      expect(stderr).toContain('--help');
    }
  });

  it('says what it would do, then does it', async () => {
    const manifests = await make('p');
    const before = fingerprint('p');
    const dry = run(['prune', 'p', '--keep-last', '1', '--dry-run']);
    expect(dry.stdout).toContain('3 checkpoints would be removed');
    expect(fingerprint('p')).toEqual(before);
    const { status, stdout } = run(['prune', 'p', '--keep-last', '1', '--json']);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      dryRun: false,
      kept: [manifests[3]!.id],
      rewritten: [manifests[3]!.id],
    });
    expect(run(['extract', 'p', 'latest', '-a', '1', '-o', '-']).bytes.equals(weights)).toBe(true);
    expect(run(['verify', 'p', '--read-data']).status).toBe(0);
  });

  it('ends with 75 while somebody writes, and waits for nobody forever', async () => {
    const store = await Store.open({ directory: join(folder, 's') });
    const session = await store.begin({ kind: 'full' });
    const { status, stderr } = run(['prune', 's', '--keep-last', '1']);
    expect(status).toBe(75);
    expect(stderr).toContain('GCR7014');
    await session.abort();
    store.close();
  }, 90_000);
});

describe('report', () => {
  it('writes one page that needs nothing else', () => {
    expect(run(['report', 's', '-o', 'r.html'])).toMatchObject({ status: 0, stderr: '' });
    const page = readFileSync(join(folder, 'r.html'), 'utf8');
    expect(page).not.toMatch(/<script|https?:|url\(|@import/);
    for (const { id } of made) expect(page).toContain(id.slice(0, 8));
    expect(page).toContain('weights');
  });
});

describe('all of them', () => {
  it.each(['list', 'show', 'diff', 'verify', 'extract', 'prune', 'export', 'import', 'report'])(
    '%s has help with examples',
    (name) => {
      const { status, stdout } = run([name, '--help']);
      expect(status).toBe(0);
      expect(stdout).toContain(`Examples:\n  gcr-templates ${name} `);
      expect(stdout).toContain('--json');
    },
  );

  it('end with 66 for a folder that is no store', () => {
    mkdirSync(join(folder, 'plain'));
    writeFileSync(join(folder, 'plain/file'), 'x');
    for (const args of [
      ['list', 'plain'],
      ['verify', 'plain'],
      ['report', 'plain', '-o', 'x.html'],
      ['list', 'plain/file'],
      ['list', 'nowhere'],
    ]) {
      const { status, stderr } = run(args);
      expect(stderr).toMatch(/error GCR70/);
      expect([65, 66], args.join(' ')).toContain(status);
    }
    expect(readdirSync(join(folder, 'plain'))).toEqual(['file']);
  });
});
