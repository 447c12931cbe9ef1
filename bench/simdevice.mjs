// Figures of the simulated device: launches, executed work, copies, allocations (native/simdriver/test/bench.cpp).
//   node bench/simdevice.mjs        needs `npm run build` and `npm run build:native`
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const build = join(root, 'build', 'native');
execFileSync('cmake', ['-S', 'native', '-B', build, '-DGCR_TESTS=ON'], { cwd: root, stdio: 'pipe' });
execFileSync('cmake', ['--build', build, '--target', 'simdriver_bench'], { cwd: root, stdio: 'pipe' });

const folder = mkdtempSync(join(tmpdir(), 'gcr-bench-'));
const socket = join(folder, 'socket');
const device = spawn(
  process.execPath,
  [join(root, 'dist', 'simdevice', 'main.js'), '--socket', socket, '--with-parent'],
  { stdio: ['pipe', 'pipe', 'inherit'] },
);
await new Promise((resolve) => device.stdout.once('data', resolve));
try {
  execFileSync(join(build, 'simdriver', 'test', 'simdriver_bench'), {
    env: { ...process.env, GCR_SIM_SOCKET: socket, GCR_TEST_KERNELS: join(root, 'fixtures', 'apps', 'kernels') },
    stdio: 'inherit',
  });
} finally {
  device.stdin.end();
  await new Promise((resolve) => device.once('close', resolve));
  rmSync(folder, { recursive: true });
}
