/**
 * The cases of the simulated device on a real one (scripts/gpu/check.sh, which also runs where there is no test runner). Skipped where there
 * is no GPU, with a notice.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isBuilt } from '../runtime/supervised.js';
import { ROOT } from '../sim/helpers.js';
import { buildPrograms } from '../simdevice/programs.js';

const hasGpu = spawnSync('nvidia-smi', { stdio: 'ignore' }).status === 0;
if (!hasGpu) console.info('no GPU here: test/gpu is skipped');

describe.skipIf(!hasGpu || !isBuilt)('on a GPU', () => {
  it.each(['pytorch', 'samples', 'runtime', 'chains', 'takeover', 'scenarios', 'increments', 'failures', 'device'])(
    '%s',
    { timeout: 600_000 },
    (part) => {
      if (part === 'scenarios' || part === 'device') buildPrograms();
      const { status, stdout, stderr } = spawnSync(join(ROOT, 'scripts/gpu/check.sh'), [part], { encoding: 'utf8' });
      expect({ status, failed: stdout.match(/^FAILED.*/gm) ?? [] }, `${stdout}${stderr}`).toEqual({
        status: 0,
        failed: [],
      });
    },
  );
});
