#!/usr/bin/env node
/**
 * How long commands take that have little to do, which is mostly loading: `node bench/start.mjs [CLI ...]`. Runs on the built `dist`, or on the command
 * files given (`bin/gcr-templates.js` of other builds), in turn, so that one run compares them. Node.js without a program is the last row.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from './gpu/rows.mjs';
import { withFolder } from './input.mjs';

const ROUNDS = 15;
const ROOT = fileURLToPath(new URL('..', import.meta.url));
const KERNELS = join(ROOT, 'fixtures/ptx/nvcc/strided.sm_90.ptx');

await withFolder((folder) => {
  const commands = process.argv.slice(2);
  if (commands.length === 0) commands.push(join(ROOT, 'bin/gcr-templates.js'));
  const output = join(folder, 'templates.json');
  const cases = [
    ['build of one small file', 'build', KERNELS, '--output', output],
    ['explain of it', 'explain', output],
    ['list of a store that is not there', 'list', join(folder, 'none')],
    ['ps', 'ps'],
    ['--version', '--version'],
  ];
  const milliseconds = (args) => {
    const begin = performance.now();
    spawnSync(process.execPath, args, { stdio: 'ignore' });
    return performance.now() - begin;
  };
  const show = (what, args) => {
    const times = args.map(() => []);
    for (let round = 0; round < ROUNDS; round++)
      for (const [i, own] of args.entries()) times[i].push(milliseconds(own));
    console.log(what.padEnd(36), ...times.map((own) => `${median(own).toFixed(0)} ms`.padStart(10)));
  };
  for (const [what, ...args] of cases)
    show(
      what,
      commands.map((command) => [command, ...args]),
    );
  show('Node.js alone', [['-e', '0']]);
});
