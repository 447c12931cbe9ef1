// Makes a fresh clone ready: installs the dependencies of package-lock.json when they are not there, and compiles. The native part is
// built where it can be; without it the analysis works all the same.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stamp = join(root, 'node_modules', '.gcr-templates-lock');

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

const [major] = process.versions.node.split('.');
if (Number(major) < 20) {
  console.error(`gcr-templates needs Node.js 20 or later; this is ${process.version}`);
  process.exit(1);
}
const lock = readFileSync(join(root, 'package-lock.json'), 'utf8');
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lock) {
  run('npm', ['ci', '--no-audit', '--no-fund']);
  writeFileSync(stamp, lock);
}
run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-b']);
run(process.execPath, [join(root, 'scripts', 'build-native.mjs'), '--optional']);
