/**
 * What checkpoints cost on a GPU, beside what the driver, the bus and the disk do by themselves in the same run.
 *
 *   node bench/gpu/main.mjs [--only NAMES] [--rounds N] [--limit SECONDS] [--held GIB] [--output DIR] [--folder DIR] [--memory DIR] [--criu PATH] [--quick]
 *     [--judge] [--simulated]
 *
 * --only: some scenarios, separated by commas. --rounds: samples of each figure (default 5), whose medians are compared. --limit: seconds for a
 * scenario (default 300); what takes longer is ended and told. --held: what the program with much memory holds (default 24). --output: where
 * results.json and table.md go (default: here). --folder lies on the disk that is measured, --memory on a tmpfs. --criu: for durable
 * checkpoints, unless it is in PATH. --quick: small sizes. --judge: ends with 1 when a target is not reached. --simulated: on the simulated
 * device, for trying it out. Parts that need PyTorch are left out where python3 has none with a GPU.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Programs, SIM_DRIVER, startSimulated } from './programs.mjs';
import { table } from './rows.mjs';

/** In the order in which they run: a run that is cut off leaves the first ones. `driver` and `start` measure what others are held against. */
const SCENARIOS = [
  'driver',
  'full',
  'periodic',
  'decode',
  'hash',
  'overhead',
  'overhead-training',
  'correctness',
  'disk',
  'switch',
  'training',
  'start',
  'durable',
  'downtime',
];

function readArguments() {
  try {
    const text = { type: 'string' };
    const flag = { type: 'boolean', default: false };
    const { values } = parseArgs({
      options: {
        only: text,
        rounds: text,
        limit: text,
        held: text,
        criu: text,
        output: text,
        folder: text,
        memory: text,
        quick: flag,
        judge: flag,
        simulated: flag,
      },
    });
    const count = (name, standard) => {
      const value = Number(values[name] ?? standard);
      if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a number from 1 on`);
      return value;
    };
    const only = values.only?.split(',') ?? SCENARIOS;
    for (const name of only)
      if (!SCENARIOS.includes(name)) throw new Error(`no scenario ${name}; there are ${SCENARIOS.join(', ')}`);
    return {
      ...values,
      only,
      rounds: count('rounds', values.quick ? 2 : 5),
      limit: count('limit', 300),
      held: count('held', 24),
    };
  } catch (error) {
    process.stderr.write(`bench/gpu/main.mjs: ${error.message}\n`);
    process.exit(64);
  }
}

const options = readArguments();

function describeMachine() {
  const processors = `${cpus().length} × ${cpus()[0].model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB`;
  const date = new Date().toISOString().slice(0, 10);
  if (options.simulated) return { device: 'simulated device', driver: 'none', processors, date };
  try {
    const query = ['--query-gpu=name,driver_version', '--format=csv,noheader', '--id=0'];
    const [device, driver] = execFileSync('nvidia-smi', query, { encoding: 'utf8' }).trim().split(', ');
    return { device, driver, processors, date };
  } catch {
    process.stderr.write('no GPU here (nvidia-smi does not answer); --simulated uses the simulated device\n');
    process.exit(69);
  }
}

/** What was asked for, without places of this machine. */
function describeCommand() {
  const named = ['only', 'rounds', 'held', 'limit'].filter((name) => process.argv.includes(`--${name}`));
  const flags = ['quick', 'simulated'].filter((name) => options[name]);
  const words = [...named.map((name) => `--${name} ${options[name]}`), ...flags.map((name) => `--${name}`)];
  return ['node bench/gpu/main.mjs', ...words].join(' ');
}

/** The interpreter whose PyTorch sees the device. */
function findPython() {
  if (options.simulated) return undefined;
  const { status } = spawnSync('python3', ['-c', 'import torch; torch.zeros(1).cuda()'], { stdio: 'ignore' });
  if (status === 0) return 'python3';
  process.stderr.write('python3 has no PyTorch with a GPU: what needs it is left out\n');
  return undefined;
}

const started = performance.now();
const seconds = (since) => ((performance.now() - since) / 1000).toFixed(1);
const results = {
  machine: describeMachine(),
  command: describeCommand(),
  rounds: options.rounds,
  scenarios: [],
};
const python = findPython();
const simulated = options.simulated ? await startSimulated() : undefined;
// For what this process asks of the device itself.
if (simulated) process.env.GCR_SIM_SOCKET = simulated;
const reference = {};
const output = options.output ?? '.';
mkdirSync(output, { recursive: true });

for (const name of options.only) {
  const { run } = await import(`./scenarios/${name}.mjs`);
  const begin = performance.now();
  const log = (text) => process.stderr.write(`${seconds(started).padStart(6)} s  ${name}: ${text}\n`);
  const folder = options.folder ?? tmpdir();
  const programs = new Programs({
    simulated,
    folder,
    memory: options.memory ?? '/dev/shm',
  });
  const scenario = { name, rows: [] };
  const bench = {
    ...options,
    programs,
    python,
    log,
    reference,
    folder,
    heldMib: options.quick ? 8 : options.held * 1024,
    driver: simulated ? join(SIM_DRIVER, 'libcuda.so.1') : 'libcuda.so.1',
    add: (row) => scenario.rows.push(row),
    skip: (why) => {
      scenario.skipped = why;
    },
  };
  let timer;
  try {
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done within ${options.limit} s`)), options.limit * 1000);
    });
    await Promise.race([run(bench), late]);
  } catch (error) {
    scenario.failed = error.message;
    log(`failed: ${error.stack}`);
    for (const said of programs.said()) log(said);
  }
  clearTimeout(timer);
  await programs.close();
  results.scenarios.push({ ...scenario, seconds: Number(seconds(begin)) });
  // After each, so that a run that is cut off leaves what it has.
  writeFileSync(join(output, 'results.json'), `${JSON.stringify(results, undefined, 1)}\n`);
  writeFileSync(join(output, 'table.md'), table([results]));
  log(`done, ${seconds(begin)} s`);
}
process.stdout.write(readFileSync(join(output, 'table.md'), 'utf8'));
const missed = ({ rows }) => options.judge && rows.some(({ reached }) => reached === false);
process.exit(results.scenarios.some((scenario) => scenario.failed || missed(scenario)) ? 1 : 0);
