/** A sample of the fault campaign (scripts/store-faults.mjs), where the library that makes calls fail is built. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const built = existsSync(join(ROOT, 'build/native/test/faults.so'));
if (!built) console.warn('build/native/test/faults.so is missing: stores are not killed in the tests');

it.skipIf(!built)(
  'nothing committed is lost, whatever fails',
  () => {
    const script = join(ROOT, 'scripts/store-faults.mjs');
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [script, '--kills', '30', '--flips', '30', '--seed', '5'],
      {
        encoding: 'utf8',
        timeout: 280_000,
        killSignal: 'SIGKILL',
      },
    );
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^all +\d+ +\d+ +\d+ +0$/m);
  },
  300_000,
);
