// `npm start`: everything a new user wants to see first. Sets up, builds templates for the shipped kernels, then runs the demo where the native parts are
// built.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import './setup.mjs';

/** One target of each shipped kernel. */
const SHIPPED = ['fixtures/ptx/nvcc/*.sm_90.ptx', 'fixtures/ptx/nvcc/reduce*.ptx', 'fixtures/ptx/triton/*.sm_90.ptx'];
const root = dirname(dirname(fileURLToPath(import.meta.url)));
mkdirSync(join(root, 'build'), { recursive: true });
const { status } = spawnSync(
  process.execPath,
  ['bin/gcr-templates.js', 'build', ...SHIPPED, '-o', 'build/templates.json'],
  { cwd: root, stdio: 'inherit' },
);
// 3 says that some kernel ended unknown: among the shipped kernels some must.
if (status !== 0 && status !== 3) process.exit(status ?? 1);
console.log('\nnext: node bin/gcr-templates.js explain fixtures/ptx/triton   or   coverage build/templates.json\n');
if (existsSync(join(root, 'build/native/gcr_native.node'))) {
  const demo = ['bin/gcr-templates.js', 'demo', '--report', 'build/demo.html'];
  process.exit(spawnSync(process.execPath, demo, { cwd: root, stdio: 'inherit' }).status ?? 1);
}
console.log('the demo of checkpoints needs the native parts: npm run build:native');
