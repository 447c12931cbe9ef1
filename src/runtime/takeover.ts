/**
 * A new supervisor for a process whose own one has gone. The recorder looks for one at a socket of the process's own; whoever listens there is told
 * everything that is there (modules, functions, allocations, handles, graphs), and what the former supervisor left with it.
 *
 * A process that went on unrecorded is recorded from here on, so its first checkpoint is a full one. One that is suspended waits for its memory:
 * the checkpoint that holds it is the parent of the next.
 */
import { readFileSync } from 'node:fs';
import { type RestorePlan, Store } from '../checkpoint/index.js';
import { listen } from '../native/index.js';
import { RuntimeError } from './errors.js';
import { nativeParts } from './native-parts.js';
import type { SupervisedProcess } from './process.js';
import { takeUp } from './restore.js';
import { controlSocket, ensureRuntimeFolder, removeIfStale, runtimeFolder } from './runtime-folder.js';
import { type SimulatedDevice, startSimulatedDevice } from './simulated-device.js';
import { Supervisor } from './supervisor.js';
import { offerPlace, reached, type Surroundings, surroundingsOf } from './surroundings.js';

export interface AdoptOptions {
  readonly pid: number;
  /** Folder of the store; absent: the one that the process was started with. */
  readonly store?: string;
  readonly onNote: (message: string) => void;
  /** Ends the supervision; the process goes on. */
  readonly signal: AbortSignal;
  /** Called when the process was taken over. */
  readonly onReady: (process: AdoptedProcess) => void;
}

export interface AdoptedProcess {
  readonly pid: number;
  readonly state: 'running' | 'suspended';
  readonly store: string;
}

/** The recorder looks every second; it may have to wait for a capture to end. */
const GREETING_MS = 15_000;
/** How long telling everything again may take. */
const TELLING_MS = 120_000;

/** A supervisor that listens in the place of one that has gone, for one process of it. */
export class Successor {
  readonly #listeners: { close(): void }[] = [];
  readonly #greeted: Promise<SupervisedProcess>;
  #tooLate: () => void = () => {};
  /** Where the process looks. */
  #offer: { close(): void } | undefined;

  private constructor(
    readonly supervisor: Supervisor,
    readonly store: Store,
    readonly pid: number,
    readonly device: SimulatedDevice | undefined,
  ) {
    this.#greeted = new Promise((resolve, reject) => {
      supervisor.onTakenOver = (subject) => {
        if (subject.pid === pid) resolve(subject);
      };
      const late = `process ${pid} did not look for a supervisor within ${GREETING_MS / 1000} s`;
      const hint = 'it may be stopped or capturing a graph, or it uses no device';
      this.#tooLate = () => reject(new RuntimeError('failed', 'GCR8106', late, hint));
    });
    this.#greeted.catch(() => {});
  }

  /** @throws RuntimeError GCR8104 when somebody supervises the process, GCR8111, StoreError */
  static async listen(
    pid: number,
    { socket, driver, simulatedDevice }: Omit<Surroundings, 'store' | 'recording'>,
    store: string,
    onNote: (message: string) => void,
  ): Promise<Successor> {
    const folder = runtimeFolder();
    ensureRuntimeFolder(folder);
    const place = offerPlace(pid, socket);
    if ((await removeIfStale(controlSocket(folder, pid))) || (await removeIfStale(place))) {
      const hint = `\`gcr-templates status --pid ${pid}\` shows what it is doing`;
      throw new RuntimeError('busy', 'GCR8104', `process ${pid} has a supervisor`, hint);
    }
    const opened = await Store.open({ directory: store });
    // The supervisor uses the same driver as the application, as a client of its own. A simulated device ends when nobody is connected.
    let device: SimulatedDevice | undefined;
    if (simulatedDevice) {
      process.env['GCR_SIM_SOCKET'] = simulatedDevice;
      if (!(await removeIfStale(simulatedDevice))) device = await startSimulatedDevice(simulatedDevice);
    }
    const supervisor = new Supervisor(
      { command: commandOf(pid), onNote },
      folder,
      opened,
      nativeParts(driver ?? 'libcuda.so.1'),
    );
    const successor = new Successor(supervisor, opened, pid, device);
    try {
      successor.#offer = listen(place, (connection) => {
        // In another namespace another process may have this number.
        if (connection.peer.pid === pid) supervisor.connected(connection);
        else connection.close();
      });
      // Processes that it starts look for the first supervisor.
      const first = reached(pid, socket);
      if (!(await removeIfStale(first)))
        successor.#listeners.push(listen(first, (connection) => supervisor.connected(connection)));
    } catch (error) {
      successor.close();
      throw new RuntimeError('failed', 'GCR8111', `cannot listen at ${place}: ${(error as Error).message}`);
    }
    return successor;
  }

  /**
   * Waits for the process and takes in what it tells.
   *
   * @param known how to read the checkpoint that holds its memory, when that is known better than the process knows it
   * @throws RuntimeError, StoreError
   */
  async takeOver(known?: RestorePlan): Promise<SupervisedProcess> {
    // Not before: what makes the process may take longer.
    const timer = setTimeout(this.#tooLate, GREETING_MS);
    const subject = await this.#greeted.finally(() => clearTimeout(timer));
    // Should it be parked it has to find nobody.
    this.#offer?.close();
    const context = { report: () => {}, signal: new AbortController().signal };
    await subject.operate('takeover', context, async (own) => {
      // It answers when it has told everything.
      await subject.link.request('ping', {}, TELLING_MS);
      await subject.catchUp(own.signal);
      if (subject.greeting === 'runs') return subject.keep();
      const id = known?.manifest.id ?? subject.kept?.checkpoint;
      if (id === undefined) {
        subject.kill('its device memory went with its supervisor');
        throw new RuntimeError(
          'failed',
          'GCR8107',
          `process ${subject.pid} was ended: its device memory is in no checkpoint`,
        );
      }
      subject.state = 'suspended';
      subject.suspendedAs = { target: 'store', id };
      subject.control.takenOver();
      subject.keep(id);
      const plan = known ?? (await this.store.restorePlan(id));
      try {
        takeUp(subject, plan);
      } finally {
        if (!known) plan.close();
      }
    });
    return subject;
  }

  /** Until no process is supervised any more, or `signal`. */
  ended(signal: AbortSignal): Promise<unknown> {
    const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    return signal.aborted ? Promise.resolve() : Promise.race([this.supervisor.empty(), aborted]);
  }

  close(): void {
    this.supervisor.close();
    for (const listener of this.#listeners) listener.close();
    this.#offer?.close();
    this.device?.release();
    this.store.close();
  }
}

/** The program and its arguments as the system has them. */
function commandOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}

/**
 * Supervises a process whose supervisor has gone, to its end.
 *
 * @throws RuntimeError, StoreError; the process is then as it was
 */
export async function adopt({ pid, store, onNote, onReady, signal }: AdoptOptions): Promise<void> {
  const surroundings = surroundingsOf(pid);
  const place = store ?? surroundings.store;
  if (place === undefined)
    throw new RuntimeError('refused', 'GCR8111', `the store of process ${pid} is not known`, 'name it with --store');
  const successor = await Successor.listen(pid, surroundings, place, onNote);
  try {
    const { state } = await successor.takeOver();
    onReady({ pid, state: state === 'suspended' ? 'suspended' : 'running', store: successor.store.place });
    await successor.ended(signal);
  } finally {
    successor.close();
  }
}
