/**
 * The PTX text of machine code that an application loaded, from the cache folders that its compilers (Triton, TorchInductor) use by
 * the application's environment. Folders are read on a thread of its own, so the supervisor goes on meanwhile; a search takes a few seconds at
 * most, and what is not found has no text, which makes its launches unknown.
 */
import { readFileSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { FoundText, WantedImage } from '../sources/index.js';
import type { TextAnswer, TextQuestion } from './text-worker.js';

const SEARCH_MS = 5_000;
const ELF_MAGIC = 0x7f454c46;
/** `EM_CUDA`, at its place in an ELF file's head. */
const CUDA_MACHINE = 190;
const MACHINE_AT = 18;

/** Whether an image is bare machine code, as a compiler at run time makes it. */
export const isMachineCode = (image: Buffer): boolean =>
  image.length > MACHINE_AT + 2 &&
  image.readUInt32BE(0) === ELF_MAGIC &&
  image.readUInt16LE(MACHINE_AT) === CUDA_MACHINE;

/** Where a process with this environment keeps compiled kernels, by the rules of Triton and TorchInductor. */
export function compilerCaches(environment: NodeJS.ProcessEnv): readonly string[] {
  const { homedir, username } = userInfo();
  const home = environment['HOME'] ?? homedir;
  const user =
    environment['LOGNAME'] ?? environment['USER'] ?? environment['LNAME'] ?? environment['USERNAME'] ?? username;
  const temporary = environment['TMPDIR'] ?? environment['TEMP'] ?? environment['TMP'] ?? '/tmp';
  const inductor = environment['TORCHINDUCTOR_CACHE_DIR'];
  const own = [
    environment['TRITON_CACHE_DIR'],
    inductor && join(inductor, 'triton'),
    join(environment['TRITON_HOME'] ?? home, '.triton', 'cache'),
    join(temporary, `torchinductor_${user.replace(/[\\/:*?"<>|]/g, '_')}`, 'triton'),
  ];
  return [...new Set(own.filter((folder): folder is string => folder !== undefined && folder !== ''))];
}

/** The environment that a process was started with; ours when it cannot be read. */
function environmentOf(pid: number): NodeJS.ProcessEnv {
  try {
    const pairs = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return Object.fromEntries(pairs.filter((pair) => pair.indexOf('=') > 0).map((pair) => split(pair)));
  } catch {
    return process.env;
  }
}

const split = (pair: string): readonly [string, string] => {
  const at = pair.indexOf('=');
  return [pair.slice(0, at), pair.slice(at + 1)];
};

/** Looks for texts for the processes of a supervisor. */
export class TextSearch {
  readonly #waiting = new Map<number, (found: FoundText | undefined) => void>();
  #worker: Worker | undefined;
  #next = 1;

  /** The text that stands for machine code which process `pid` loaded. Never fails. */
  find(pid: number, wanted: WantedImage): Promise<FoundText | undefined> {
    let owner: number;
    try {
      owner = statSync(`/proc/${pid}`).uid;
    } catch {
      return Promise.resolve(undefined);
    }
    const question: TextQuestion = {
      number: this.#next++,
      roots: compilerCaches(environmentOf(pid)),
      wanted,
      owner,
      milliseconds: SEARCH_MS,
    };
    return new Promise((resolve) => {
      this.#waiting.set(question.number, resolve);
      this.#start().postMessage(question);
    });
  }

  #start(): Worker {
    if (this.#worker) return this.#worker;
    const worker = new Worker(new URL('./text-worker.js', import.meta.url));
    this.#worker = worker;
    worker.on('message', ({ number, found }: TextAnswer) => {
      this.#waiting.get(number)?.(found);
      this.#waiting.delete(number);
    });
    // Also after an error. Whoever waits gets no text; the next question starts another thread.
    worker.on('exit', () => {
      this.#worker = undefined;
      for (const resolve of this.#waiting.values()) resolve(undefined);
      this.#waiting.clear();
    });
    worker.on('error', () => {});
    // It must not keep the supervisor alive. Only now: listening to it would take that back.
    worker.unref();
    return worker;
  }
}
