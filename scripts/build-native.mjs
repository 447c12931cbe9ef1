// Builds the native part (the store's addon) into build/native. Needs cmake, a C++20 compiler and Node's headers; says which is missing.
//   node scripts/build-native.mjs             fails when it cannot be built
//   node scripts/build-native.mjs --optional  says so in one line and goes on: the analysis works without it
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const build = join(root, 'build', 'native');
const optional = process.argv.includes('--optional');

function give(reason) {
  if (optional) {
    console.error(
      `native part not built (${reason}): analysis works, checkpoints do not; see \`npm run build:native\``,
    );
    process.exit(0);
  }
  console.error(`the native part cannot be built: ${reason}`);
  process.exit(1);
}

function works(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** The folder of node_api.h. Node-API does not change between versions, so any Node's headers do. */
function nodeHeaders() {
  const folders = [
    process.env['npm_config_nodedir'] && join(process.env['npm_config_nodedir'], 'include', 'node'),
    join(dirname(dirname(process.execPath)), 'include', 'node'),
    '/usr/include/node',
    '/usr/include/nodejs/src',
    join(homedir(), '.cache', 'node-gyp', process.versions.node, 'include', 'node'),
  ];
  return folders.find((folder) => folder && existsSync(join(folder, 'node_api.h')));
}

function nodeAddonApi() {
  try {
    return dirname(createRequire(import.meta.url).resolve('node-addon-api'));
  } catch {
    return undefined;
  }
}

/** Runs cmake quietly; what it said is shown when it failed. */
function cmake(...args) {
  const { status, stdout, stderr } = spawnSync('cmake', args, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28 });
  if (status === 0) return;
  if (!optional) process.stderr.write(`${stdout}${stderr}`);
  give(`\`cmake ${args[0]}\` failed`);
}

if (!works('cmake')) give('cmake 3.20 or later is missing');
if (!works(process.env['CXX'] ?? 'c++')) give('a C++20 compiler is missing');
const headers =
  nodeHeaders() ?? give("Node's headers (node_api.h) are missing; install them or set npm_config_nodedir");
const api = nodeAddonApi() ?? give('the package node-addon-api is missing; run `npm ci`');

const configure = ['-S', 'native', '-B', build, '-DCMAKE_BUILD_TYPE=Release', '-DGCR_TESTS=OFF'];
configure.push(`-DGCR_NODE_HEADERS=${headers}`, `-DGCR_NODE_ADDON_API=${api}`);
if (works('ninja')) configure.push('-G', 'Ninja');

const stamp = join(build, '.configured');
const wanted = JSON.stringify([root, configure]);
mkdirSync(build, { recursive: true });
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) {
  // A folder that was configured otherwise (another generator, another place) cannot be taken over.
  rmSync(join(build, 'CMakeCache.txt'), { force: true });
  rmSync(join(build, 'CMakeFiles'), { force: true, recursive: true });
  cmake(...configure);
  writeFileSync(stamp, wanted);
}
cmake('--build', build, '--parallel');
