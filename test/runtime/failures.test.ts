/** Cases of `scripts/gpu/failures.mjs` that nothing else plays on the simulated device: kernels that hang, checkpoints of another process or device, no room. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../sim/helpers.js';
import { isBuilt } from './supervised.js';

describe.skipIf(!isBuilt)('what goes wrong in the middle', () => {
  it.each(['a kernel hangs', 'another', 'no room at resume'])('%s', { timeout: 240_000 }, (only) => {
    const args = [join(ROOT, 'scripts/gpu/failures.mjs'), '--device', 'sim', '--jobs', '2', '--only', only];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 220_000 });
    const lines = stdout.split('\n');
    expect({ status, failed: lines.filter((line) => line.startsWith('FAILED')) }, stdout + stderr).toEqual({
      status: 0,
      failed: [],
    });
    expect(lines.filter((line) => line.startsWith('ok')).length).toBeGreaterThan(5);
  });
});
