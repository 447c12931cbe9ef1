// `npm start`: everything a new user wants to see first. Sets up, then builds templates for the shipped kernels.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
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
console.log('\nnext: node bin/gcr-templates.js explain fixtures/ptx/triton   or   coverage build/templates.json');
// 3 says that some kernel ended unknown: among the shipped kernels some must.
process.exit(status === 3 ? 0 : (status ?? 1));
