// What goes wrong in the middle, on a real device: a kernel that hangs, no room at resume and restore, another device, programs and supervisors killed at
// the steps of every operation. The program lives or dies as designed, with a message; nobody is left locked, and nothing stays on the device.
//
//   node scripts/gpu/failures.mjs [--device auto|sim] [--only TEXT] [--jobs N]
//
// Prints a line for each thing that was looked at; ends with 1 when one was not so. The part `failures` of scripts/gpu/check.sh.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { decodeCheckedJson, encodeCheckedJson } from '../../dist/checkpoint/checked-json.js';
import { ARGS, Case, onDevice, output, Round, sleep } from './failure-case.mjs';

const { values } = parseArgs({
  options: { device: { type: 'string' }, only: { type: 'string' }, jobs: { type: 'string' } },
});
const jobs = Number(values.jobs ?? Math.max(2, Math.min(10, cpus().length - 4)));
/** Milliseconds after which a program whose supervisor was killed is taken to wait for another one. */
const WAITS_MS = 1500;
/** What a context leaves free for others is more than this. */
const LITTLE = 200 << 20;

const work = mkdtempSync(join(tmpdir(), 'gcr-failures-'));
const round = new Round(values.device ?? 'auto', work);
const { onGpu } = round;

// ---- a kernel that hangs

const HANGS = [...ARGS, '--hang', '1'];

async function hanging(t, args) {
  const program = await t.start('hangs', args);
  await program.step();
  await t.ask(program, { operation: 'checkpoint' });
  program.allow(1);
  await program.expect('hangs');
  return program;
}

async function letGo(t, program, args) {
  process.kill(program.pid, 'SIGUSR1');
  await program.expect('step');
  const { missedCount } = await t.ask(program, { operation: 'checkpoint', verify: true });
  t.check('is saved when the kernel has ended', missedCount === 0, missedCount);
  await t.endsRight(program, 'hangs', args);
}

const hung = {
  'a kernel hangs, the program waits in the driver': async (t) => {
    const program = await hanging(t, HANGS);
    await t.refused('checkpoint says so', 69, /GCR8108.*did not return/, 'checkpoint', '--pid', String(program.pid));
    await t.is(program, 'running', 'running');
    await letGo(t, program, HANGS);
  },
  'a kernel hangs, the program waits elsewhere': async (t) => {
    const args = [...HANGS, '--asleep', '1'];
    const program = await hanging(t, args);
    const pid = ['--pid', String(program.pid)];
    await Promise.all([
      t.refused('suspend says so', 69, /GCR8108.*queues were not empty/, 'suspend', ...pid),
      t
        .isBusy(program)
        .then(() => t.refused('another operation is told that it is busy', 75, /GCR8104/, 'checkpoint', ...pid)),
    ]);
    await t.is(program, 'running', 'running');
    await letGo(t, program, args);
  },
  'a kernel hangs, and the program is killed while it is waited for': async (t) => {
    const program = await hanging(t, HANGS);
    const asked = t.refused(
      'checkpoint says so',
      69,
      /GCR810[37]/,
      'checkpoint',
      '--control',
      '--pid',
      String(program.pid),
    );
    await t.isBusy(program);
    process.kill(program.pid, 'SIGKILL');
    await asked;
    t.check('its supervisor ends with its code', (await program.exited)[0] === 137, program.messages);
    await t.isGone(program);
  },
  'a kernel hangs, and the supervisor is killed while it waits': async (t) => {
    const program = await hanging(t, HANGS);
    const asked = t.gcr('checkpoint', '--control', '--pid', String(program.pid));
    await t.isBusy(program);
    program.child.kill('SIGKILL');
    await asked;
    process.kill(program.pid, 'SIGUSR1');
    await t.endsRight(program, 'hangs', HANGS);
    await t.isGone(program);
  },
};

// ---- kills at steps

const STEPS = {
  checkpoint: ['hold', 'copy', 'commit'],
  restore: ['hold', 'write'],
  control: ['hold', 'detach', 'lock', 'checkpoint', 'restore', 'unlock', 'attach', 'commit'],
  suspend: ['detach', 'lock', 'checkpoint', 'commit'],
  resume: ['recreate', 'fill', 'restore', 'unlock', 'attach'],
};
const REQUESTS = {
  checkpoint: () => ({ operation: 'checkpoint' }),
  restore: (id) => ({ operation: 'restore', id }),
  control: () => ({ operation: 'checkpoint', control: true }),
  suspend: () => ({ operation: 'suspend' }),
  resume: () => ({ operation: 'resume' }),
};

/** Kills one side when an operation tells of a step. @returns the operation's error, if it had one */
async function struck(t, program, operation, step, victim) {
  await program.step();
  const { manifest } = await t.ask(program, { operation: 'checkpoint' });
  await program.step();
  if (operation === 'resume') await t.ask(program, { operation: 'suspend' });
  let done = false;
  const result = await t
    .ask(program, REQUESTS[operation](manifest.id), (report) => {
      if (done || report.step !== step) return;
      done = true;
      process.kill(victim === 'supervisor' ? program.child.pid : program.pid, 'SIGKILL');
    })
    .catch((error) => ({ error }));
  t.check('the step was met', done, JSON.stringify(result));
  return result.error;
}

const killed = {};
for (const [operation, steps] of Object.entries(STEPS))
  for (const step of steps) {
    killed[`program killed at ${step} of ${operation}`] = async (t) => {
      const program = await t.start('training');
      const error = await struck(t, program, operation, step, 'application');
      const message = error && String(error.message);
      if (step !== 'commit') t.check('the operation says that it ended', /GCR810[378]|ended/.test(message), message);
      t.check('its supervisor ends with its code', (await program.exited)[0] === 137, program.messages);
      await t.isGone(program);
      await t.done('the store is whole', 'verify', t.store, '--read-data');
    };
    killed[`supervisor killed at ${step} of ${operation}`] = async (t) => {
      const program = await t.start('training');
      await struck(t, program, operation, step, 'supervisor');
      await program.exited;
      const end = program.finish();
      let digest = await Promise.race([end, sleep(WAITS_MS).then(() => 'waits')]);
      if (digest === 'waits') {
        t.check(
          'waits only without its memory',
          ['control', 'suspend', 'resume'].includes(operation),
          program.messages,
        );
        const { status, stderr } = await t.gcr('resume', '--pid', String(program.pid));
        digest = await Promise.race([end, sleep(20_000).then(() => 'waits')]);
        const lost = /was ended: its device memory is in no checkpoint/.test(stderr);
        t.check(
          'another supervisor brings it back, or ends it',
          (status === 0) !== lost && digest !== 'waits',
          `${digest} ${stderr}`,
        );
        if (lost) t.check('only what was in no store is lost', operation !== 'resume', stderr);
        if (lost) digest = undefined;
      } else if (digest === undefined) {
        const guarded = operation === 'restore' && /ending it/.test(program.messages);
        t.check('ends only with a message, while it is restored', guarded, program.messages);
      }
      if (digest !== undefined)
        t.check(
          'comes to the end of an undisturbed run',
          digest === (await round.undisturbed('training', ARGS)),
          digest,
        );
      await t.isGone(program);
      await t.done('the store is whole', 'verify', t.store, '--read-data');
    };
  }

// ---- another device, another process

const elsewhere = {
  'a checkpoint of another process': async (t) => {
    const [one, other] = [await t.start('training'), await t.start('training')];
    await one.step();
    await t.ask(other, { operation: 'checkpoint' });
    await t.refused('is refused', 69, /GCR8109/, 'restore', 'latest', '--pid', String(one.pid));
    await t.is(one, 'running', 'running');
    await t.endsRight(one);
  },
  // Played: a program that answers in the place of CRIU, so that the checkpoint of a process is there (with no files in it), and it is seen whether it
  // comes to making one.
  'a process of another device': async (t) => {
    const asked = join(t.folder, 'asked');
    const criu = join(t.folder, 'criu');
    writeFileSync(
      criu,
      `#!/bin/sh\n[ "$1" = --version ] && echo "Version: 4.2" && exit 0\necho "$1" >>${asked}\n` +
        `while [ $# -gt 0 ]; do [ "$1" = --images-dir ] && folder=$2; shift; done\n` +
        `grep -q restore ${asked} && exit 1\nprintf '\\031CVT810V' >"$folder/files.img"\n`,
    );
    chmodSync(criu, 0o755);
    const program = await t.startWithFiles();
    const durable = ['checkpoint', '--durable', '--pid', String(program.pid), '--criu', criu, '--json'];
    const { stdout } = await t.done('is saved', ...durable);
    await program.exited;
    await t.isRight(program);
    await t.isGone(program);
    const { id } = JSON.parse(stdout).manifest;
    const file = join(t.store, 'manifests', `${id}.json`);
    const manifest = readFileSync(file);
    const { check: _check, ...members } = decodeCheckedJson(manifest, t.store, file);
    const uuid = '00112233445566778899aabbccddeeff';
    writeFileSync(file, encodeCheckedJson({ ...members, device: { ...members.device, uuid } }));
    const restore = ['restore', id, '--store', t.store, '--criu', criu];
    await t.refused(
      'is refused before there is a process',
      69,
      new RegExp(`GCR8117.*${uuid} cannot be used here`),
      ...restore,
    );
    t.check('CRIU was not asked', !readFileSync(asked, 'utf8').includes('restore'));
    writeFileSync(file, manifest);
    await t.refused('on its own device it is made', 69, /GCR8118/, ...restore);
    t.check('CRIU was asked', readFileSync(asked, 'utf8').includes('restore'));
  },
};

// ---- a minute without a supervisor

const alone = {};
for (const [what, request] of Object.entries({
  'suspended in host memory, and its supervisor killed': { operation: 'suspend', to: 'memory' },
  'its supervisor killed while its control state is away': { operation: 'checkpoint', control: true },
}))
  alone[what] = async (t) => {
    const program = await t.start('training');
    await program.step();
    await t
      .ask(program, request, ({ step }) => {
        if (step === 'restore') program.child.kill('SIGKILL');
      })
      .catch(() => {});
    program.child.kill('SIGKILL');
    const start = Date.now();
    t.check('has no result', (await program.finish()) === undefined);
    const seconds = (Date.now() - start) / 1000;
    t.check('ended itself after a minute', seconds > 45 && seconds < 85, `${seconds} s`);
    t.check(
      'said why',
      /has gone and did not come back with this process's device memory/.test(program.messages),
      program.messages,
    );
    await t.isGone(program);
  };

// ---- no room; these have the device to themselves

/** Another program that takes all memory of the device but some. */
async function takeAll(t, uuid, driver, environment, leave) {
  const code = `import { closeSync } from 'node:fs';
    import { openDevice } from ${JSON.stringify(new URL('../../dist/native/index.js', import.meta.url).href)};
    const device = await openDevice('${driver}', Buffer.from('${uuid}', 'hex'));
    const spare = ${leave} ? await device.createMemory(${leave}) : undefined;
    const kept = [];
    for (let size = 2 ** 33; size >= 2 ** 21; size /= 2)
      try {
        for (;;) kept.push(await device.createMemory(size));
      } catch {}
    spare?.memory.close();
    if (spare) closeSync(spare.fd);
    console.log(kept.length);
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    env: environment,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.others.push(child);
  await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  return child;
}

async function end(child) {
  child.kill('SIGKILL');
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

const room = {
  'no room at resume': async (t) => {
    const program = await t.start('training');
    await program.step();
    const { manifest } = await t.ask(program, { operation: 'suspend' });
    const pid = ['--pid', String(program.pid)];
    const environment = { ...process.env };
    let driver = 'libcuda.so.1';
    if (!onGpu) {
      const text = readFileSync(`/proc/${program.pid}/environ`, 'utf8').split('\0');
      const inEnvironment = (name) => text.find((entry) => entry.startsWith(`${name}=`)).slice(name.length + 1);
      environment.GCR_SIM_SOCKET = inEnvironment('GCR_SIM_SOCKET');
      driver = inEnvironment('GCR_DRIVER');
    }
    const { uuid } = manifest.device;
    const all = await takeAll(t, uuid, driver, environment, 0);
    await t.refused(
      'for its memory: says what is missing',
      69,
      /GCR8114: .* of device memory are needed/,
      'resume',
      ...pid,
    );
    await t.is(program, 'suspended', 'checkpointed');
    await end(all);
    if (onGpu) {
      const most = await takeAll(t, uuid, driver, environment, LITTLE);
      await t.refused(
        'for its contexts: says what is missing',
        69,
        /GCR8114: the control state .* needs/,
        'resume',
        ...pid,
      );
      await t.is(program, 'suspended', 'checkpointed');
      await end(most);
    }
    await t.done('goes on when there is', 'resume', ...pid);
    await t.is(program, 'running', 'running');
    await t.endsRight(program);
    await t.isGone(program);
  },
  'no room when it is brought back from disk': async (t) => {
    const criu = process.env.GCR_CRIU ?? ((await output('criu', ['--version'])).status === 0 ? 'criu' : undefined);
    if (!onGpu) return;
    if (criu === undefined)
      return console.log(`        failures, ${t.name}: there is no CRIU (GCR_CRIU names one): left out`);
    const program = await t.startWithFiles();
    const durable = ['checkpoint', '--durable', '--stop', '--pid', String(program.pid), '--criu', criu, '--json'];
    const { stdout } = await t.done('is saved and ended', ...durable);
    await t.isGone(program);
    const all = await takeAll(t, JSON.parse(stdout).manifest.device.uuid, 'libcuda.so.1', { ...process.env }, 0);
    const restore = ['restore', 'latest', '--store', t.store, '--criu', criu];
    await t.refused('says what is missing', 69, /GCR811[347]/, ...restore);
    await t.isGone(program);
    await end(all);
    await t.done('is brought back when there is', ...restore);
    await t.isRight(program);
  },
};

// ----

async function play(name, run) {
  const t = new Case(round, name);
  try {
    await run(t);
  } catch (error) {
    t.check('could be played', false, `${error.stack} ${t.programs.map(({ messages }) => messages).join(' ')}`);
  } finally {
    t.close();
  }
}

async function playAll(cases, atOnce) {
  const rest = Object.entries(cases).filter(([name]) => name.includes(values.only ?? ''));
  const turns = Array.from({ length: atOnce }, async () => {
    for (let next = rest.shift(); next; next = rest.shift()) await play(...next);
  });
  await Promise.all(turns);
}

const start = Date.now();
try {
  // While they wait these need neither processor nor device.
  const waiting = playAll(alone, 2);
  if (onGpu && values.only === undefined) {
    // Whether the device tells whose memory it has: otherwise that nothing is left says nothing.
    const t = new Case(round, 'the device');
    const program = await t.start('training');
    t.check(
      'tells who uses it',
      (await onDevice()).includes(program.pid),
      `${await onDevice()} without ${program.pid}`,
    );
    t.close();
  }
  await playAll({ ...hung, ...elsewhere, ...killed }, jobs);
  await playAll(room, 1);
  await waiting;
} finally {
  rmSync(work, { recursive: true, force: true });
}
console.log(
  `        failures: ${round.passed} passed, ${round.failed} failed in ${((Date.now() - start) / 1000).toFixed(0)} s`,
);
process.exit(round.failed > 0 ? 1 : 0);
