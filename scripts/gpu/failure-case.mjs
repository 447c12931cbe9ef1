/**
 * One case of scripts/gpu/failures.mjs: its folder, its programs, and what is looked at, a line each. What all cases share is a `Round`: the device, the
 * folder, how many things were as they should be, and the results of programs that nothing disturbed.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { processState } from '../../dist/native/index.js';
import { call, callAll } from '../../dist/runtime/index.js';
import { APPS, CLI, Supervised } from '../runtime/supervised.mjs';

export const ARGS = ['--steps', '6', '--size', '64'];
const SLOW = ['--steps', '60', '--size', '64'];

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Numbers of the processes that the device has something of. */
export async function onDevice() {
  const text = await output('nvidia-smi', ['--query-compute-apps=pid', '--format=csv,noheader']);
  return text.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}

export function output(program, args, options = {}) {
  return new Promise((resolve) => {
    execFile(program, args, { maxBuffer: 1 << 26, timeout: 100_000, ...options }, (error, stdout, stderr) =>
      resolve({ status: error ? (error.code ?? -1) : 0, stdout, stderr }),
    );
  });
}

export class Round {
  passed = 0;
  failed = 0;
  digests = new Map();

  /**
   * @param device as `run` takes it
   * @param folder of everything that is made
   */
  constructor(device, folder) {
    this.device = device;
    this.folder = folder;
    this.onGpu = device !== 'sim';
  }

  /** The digest of a run that nothing disturbs. */
  undisturbed(app, args = ARGS) {
    const key = [app, ...args].join(' ');
    if (!this.digests.has(key)) this.digests.set(key, this.#run(app, args));
    return this.digests.get(key);
  }

  async #run(app, args) {
    const folder = mkdtempSync(join(this.folder, 'undisturbed-'));
    const program = new Supervised(folder, join(folder, 'store'), app, args, this.device);
    await program.expect('ready');
    program.allow(100);
    if (app === 'hangs') {
      for (let line = await program.line(); line !== 'hangs'; line = await program.line());
      const [{ pid }] = await callAll(join(folder, 'gcr-templates'));
      process.kill(pid, 'SIGUSR1');
    }
    return program.finish();
  }
}

export class Case {
  constructor(round, name) {
    this.round = round;
    this.name = name;
    // Paths of sockets are short.
    this.folder = mkdtempSync(join(round.folder, 'case-'));
    this.store = join(this.folder, 'store');
    this.programs = [];
    this.others = [];
  }

  check(what, holds, detail = '') {
    this.round[holds ? 'passed' : 'failed']++;
    const text = holds ? '' : `\n        ${String(detail).trim().slice(0, 1000).replaceAll('\n', '\n        ')}`;
    console.log(`${holds ? 'ok     ' : 'FAILED '} failures, ${this.name}: ${what}${text}`);
  }

  async start(app, args = ARGS) {
    const program = new Supervised(this.folder, this.store, app, args, this.round.device);
    this.programs.push(program);
    return program.ready(callAll, join(this.folder, 'gcr-templates'));
  }

  /** A program whose input and output are files, which CRIU can bring back; it does its steps by itself. */
  async startWithFiles() {
    const out = join(this.folder, 'out');
    const program = join(APPS, 'training');
    const run = `${process.execPath} ${CLI} run --device ${this.round.device} --store ${this.store} -- ${program} ${SLOW.join(' ')}`;
    const child = spawn('setsid', ['sh', '-c', `exec ${run} --sleep 100 </dev/null >${out} 2>${out}.err`], {
      env: { ...process.env, XDG_RUNTIME_DIR: this.folder },
      stdio: 'ignore',
    });
    this.others.push(child);
    const exited = once(child, 'exit');
    for (const end = Date.now() + 20_000; Date.now() < end; await sleep(100)) {
      const [first] = await callAll(join(this.folder, 'gcr-templates'));
      const said = () => readFileSync(out, 'utf8');
      if (first && said().includes('step ')) return { pid: first.pid, exited, said };
    }
    throw new Error(`the program does not begin: ${readFileSync(`${out}.err`, 'utf8')}`);
  }

  async isRight({ said }) {
    const wanted = await this.round.undisturbed('training', SLOW);
    this.check('comes to the end of an undisturbed run', said().includes(wanted), said().slice(-200));
  }

  ask(program, request, onReport) {
    return call(join(this.folder, 'gcr-templates'), program.pid, request, onReport ? { onReport } : {});
  }

  /** Until an operation is at work on it, which waits there. */
  async isBusy(program) {
    while (!(await this.ask(program, { operation: 'status' })).operation) await sleep(20);
  }

  gcr(...args) {
    return output(process.execPath, [CLI, ...args], { env: { ...process.env, XDG_RUNTIME_DIR: this.folder } });
  }

  async refused(what, status, message, ...args) {
    const answer = await this.gcr(...args);
    const holds = answer.status === status && message.test(answer.stderr);
    this.check(what, holds, `${args[0]} ended with ${answer.status}: ${answer.stderr}${answer.stdout}`);
    return answer;
  }

  async done(what, ...args) {
    const answer = await this.gcr(...args);
    this.check(what, answer.status === 0, `${args[0]} ended with ${answer.status}: ${answer.stderr}`);
    return answer;
  }

  /** What the driver says of a process, and its supervisor. */
  async is(program, state, driver) {
    const { stdout } = await this.gcr('status', '--pid', String(program.pid), '--json');
    const status = stdout === '' ? {} : JSON.parse(stdout);
    const said = this.round.onGpu ? await processState('libcuda.so.1', program.pid).catch(String) : status.driver;
    this.check(
      `is ${state}, for the driver ${driver}`,
      status.state === state && said === driver,
      `${status.state}, ${said}`,
    );
  }

  async endsRight(program, app = 'training', args = ARGS) {
    const digest = await program.finish();
    this.check(
      'comes to the end of an undisturbed run',
      digest === (await this.round.undisturbed(app, args)),
      `${digest}: ${program.messages}`,
    );
  }

  async isGone(program) {
    for (const end = Date.now() + 10_000; existsSync(`/proc/${program.pid}`) && Date.now() < end; ) await sleep(50);
    let left = existsSync(`/proc/${program.pid}`) ? 'the process is there' : '';
    if (this.round.onGpu && left === '' && (await onDevice()).includes(program.pid))
      left = 'the device has something of it';
    this.check('nothing of it is left', left === '', left);
  }

  close() {
    for (const program of this.programs) program.close();
    for (const child of this.others) child.kill('SIGKILL');
  }
}
