/** What recording costs is measured within one process, too: with the recorder's functions taken out of it and put in again. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Programs } from '../../bench/gpu/programs.mjs';
import { isBuilt } from '../runtime/supervised.js';

const PROGRAM = join(import.meta.dirname, 'launches.py');
const hasPython = spawnSync('python3', ['--version']).status === 0;
if (!hasPython) console.warn('no python3 here: bench/gpu/hooks.py is not tried');

const folder = mkdtempSync(join(tmpdir(), 'gcr-hooks-'));
const programs = new Programs({ folder, memory: folder, simulated: 'started by run' });
afterAll(async () => {
  await programs.close();
  rmSync(folder, { recursive: true, force: true });
});

describe.skipIf(!isBuilt || !hasPython)('bench/gpu/hooks.py', () => {
  it('takes the recorder out of a program and puts it in again', { timeout: 60_000 }, async () => {
    const program = await programs.recorded(['python3', PROGRAM]);
    // What the launches since the last checkpoint were judged by; a checkpoint takes in all that was told.
    const told = async () => {
      const { manifest } = (await program.operate('checkpoint')) as unknown as { manifest: { launches: object } };
      const launches: number[] = Object.values(manifest.launches);
      return launches.reduce((sum, count) => sum + count, 0);
    };
    const after = async (steps: number) => {
      const [word, , count] = await program.ask(`decode ${steps}`);
      expect([word, count]).toEqual(['did', String(steps)]);
      return told();
    };
    // The first launch was made before the program said that it is ready.
    expect(await after(3)).toBe(4);
    const places = async (state: string) => Number((await program.ask(`hooks ${state}`))[2]);
    // Where pointers are that functions are called by, and copies of them that nobody uses any more, which may change.
    expect(await places('off')).toBeGreaterThanOrEqual(3);
    expect(await after(5)).toBe(0);
    expect(await places('on')).toBeGreaterThanOrEqual(3);
    expect(await after(2)).toBe(2);
    await places('off');
    expect(await after(1)).toBe(0);
    await places('on');
    expect(await after(1)).toBe(1);
    // The kernel's numbers follow from the step's: all 13 ran.
    const recorded = await program.end();
    const plain = await programs.recorded(['python3', PROGRAM]);
    await plain.ask('decode 12');
    expect(recorded).toBe(await plain.end());
  });

  it('says so when there is no recorder', () => {
    const { status, stderr } = spawnSync('python3', ['-c', "import hooks; hooks.command('off')"], {
      cwd: join(import.meta.dirname, '../../bench/gpu'),
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toBe('libgcr_recorder.so is not loaded\n');
  });
});
