/** Cases of `scripts/gpu/failures.mjs` that nothing else plays on the simulated device: kernels that hang, checkpoints of another process or device, no room. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../sim/helpers.js';
import { isBuilt } from './supervised.js';

// Side by side: most of the time they wait for the deadlines of operations.
describe.skipIf(!isBuilt)('what goes wrong in the middle', () => {
  it.concurrent.each(['a kernel hangs', 'another', 'no room at resume'])('%s', { timeout: 240_000 }, async (only) => {
    const args = [join(ROOT, 'scripts/gpu/failures.mjs'), '--device', 'sim', '--jobs', '4', '--only', only];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 220_000 });
    const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
    const lines = stdout.split('\n');
    expect({ status, failed: lines.filter((line) => line.startsWith('FAILED')) }, stdout + stderr).toEqual({
      status: 0,
      failed: [],
    });
    expect(lines.filter((line) => line.startsWith('ok')).length).toBeGreaterThan(5);
  });
});
