/** The reader in Python knows the specification only; it must restore what the store wrote. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { history } from '../checkpoint/helpers.js';

const SCRIPT = join(import.meta.dirname, '../../examples/read_checkpoint.py');
const python = spawnSync('python3', ['--version']).status === 0;
if (!python) console.warn('no python3 here: examples/read_checkpoint.py is not run');

const folder = mkdtempSync(join(tmpdir(), 'gcr-python-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it.skipIf(!python)(
  'restores checkpoints of a history to the byte',
  async () => {
    const { store, snapshots } = await history({ directory: join(folder, 'store') }, 31, 12);
    store.close();
    for (const [i, [id, snapshot]] of [...snapshots].entries()) {
      if (i % 5 !== 1) continue;
      const target = join(folder, id);
      mkdirSync(target);
      const { status, stderr } = spawnSync('python3', [SCRIPT, join(folder, 'store'), id, target], {
        encoding: 'utf8',
      });
      expect(stderr).toBe('');
      expect(status).toBe(0);
      for (const [allocation, { bytes }] of snapshot)
        expect(readFileSync(join(target, `${allocation}.bin`)).equals(bytes), `allocation ${allocation}`).toBe(true);
    }
  },
  120_000,
);

it('has at most sixty lines', () => {
  expect(readFileSync(SCRIPT, 'utf8').trimEnd().split('\n').length).toBeLessThanOrEqual(60);
});
