/**
 * The supervisor of one `run`: starts the application as its child with the recorder in it, takes the connections of every process of it
 * that uses a device, and answers for each at a control socket. It ends when the application and all its supervised
 * processes have ended. When it ends earlier, whatever the reason, the application goes on without it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { CHUNK_BYTES, Store } from '../checkpoint/index.js';
import { listen } from '../native/index.js';
import type { BridgeOptions } from './bridge-options.js';
import { checkpoint } from './checkpoint.js';
import { checkpointWithControl } from './control-checkpoint.js';
import type { ControlRequest } from './control-protocol.js';
import { ControlServer } from './control-server.js';
import { durableCheckpoint } from './durable.js';
import { RuntimeError } from './errors.js';
import { dropImage, HostImages } from './host-images.js';
import { HostMemory } from './host-memory.js';
import { nativeLibraries } from './libraries.js';
import { decodeFromRecorder, type Message, PROTOCOL_VERSION, WELCOME_KNOWN } from './messages.js';
import { TemplateBuilder } from './module-images.js';
import { connectionOf, nativeParts } from './native-parts.js';
import type { Parts } from './parts.js';
import { type OperationContext, SupervisedProcess } from './process.js';
import { RecorderLink } from './recorder-link.js';
import { restore } from './restore.js';
import {
  controlSocket,
  ensureRuntimeFolder,
  recorderSocket,
  removeLeftOvers,
  runtimeFolder,
} from './runtime-folder.js';
import { startSimulatedDevice } from './simulated-device.js';
import { StagingPool } from './staging.js';
import { type ProcessStatus, statusOf } from './status.js';
import { offerPlace, recordingOf, recordingVariables, surroundingsOf } from './surroundings.js';
import { resume, suspend } from './suspend.js';
import { cacheFolder } from './template-cache.js';
import { TextSearch } from './text-search.js';

export interface RunOptions {
  /** Program and arguments. */
  readonly command: readonly [string, ...string[]];
  /** Folder of the store; made when it is not there. */
  readonly store: string;
  readonly device: 'sim' | 'auto';
  /** What counts as written, and what is told. */
  readonly recording?: BridgeOptions;
  /** Bytes of host memory for checkpoints in memory, reserved when the first process appears. Without it they take what they need, up to half of the machine's. */
  readonly hostMemory?: number;
  /** Told of what a user should know; the application's own output is not touched. */
  readonly onNote: (message: string) => void;
}

/** Without `recording` it is as each process was started. */
type SupervisorOptions = Pick<RunOptions, 'recording' | 'onNote' | 'hostMemory'> & {
  readonly command: readonly string[];
};

/** How the application ended; when it was left suspended (`left`) it has not. */
export type RunOutcome =
  | { readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly left?: never }
  | { readonly left: number };

const FORWARDED: readonly NodeJS.Signals[] = [
  'SIGTERM',
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGCONT',
];
const HELLO_MS = 10_000;
/** Of the machine's memory, what checkpoints in memory may take when nothing else is said. */
const HOST_MEMORY_SHARE = 0.5;

type NativeConnection = Parameters<typeof connectionOf>[0];

export class Supervisor {
  readonly #processes = new Set<SupervisedProcess>();
  readonly #servers = new Map<SupervisedProcess, ControlServer>();
  readonly #builder: TemplateBuilder;
  readonly staging: StagingPool;
  readonly #images: HostImages;
  #reserved = false;
  #whenEmpty: () => void = () => {};
  #whenLeft: (pid: number) => void = () => {};
  /** Told of a process whose supervisor was another one. */
  onTakenOver: (subject: SupervisedProcess) => void = () => {};

  constructor(
    readonly options: SupervisorOptions,
    readonly folder: string,
    readonly store: Store,
    readonly parts: Parts,
  ) {
    this.#builder = new TemplateBuilder(cacheFolder(), new TextSearch(), options.onNote);
    this.staging = new StagingPool(parts.createArena);
    const limit = options.hostMemory ?? Math.floor(totalmem() * HOST_MEMORY_SHARE);
    this.#images = new HostImages(new HostMemory(parts.createArena, limit));
  }

  /** A connection of a recorder, which has to say who it is. */
  connected(native: NativeConnection): void {
    const connection = connectionOf(native);
    const timer = setTimeout(() => connection.close(), HELLO_MS);
    let link: RecorderLink | undefined;
    connection.receive({
      message: (bytes, fds) => {
        if (link) return link.message(bytes, fds);
        clearTimeout(timer);
        link = this.#greeted(connection, native.peer.pid, bytes, fds);
        if (!link) connection.close();
      },
      closed: () => {
        clearTimeout(timer);
        link?.closed();
      },
    });
  }

  #greeted(
    connection: ReturnType<typeof connectionOf>,
    pid: number,
    bytes: Uint8Array,
    fds: readonly number[],
  ): RecorderLink | undefined {
    const { options } = this;
    const refuse = (why: string) => {
      options.onNote(`a process that cannot be supervised: ${why}`);
      for (const fd of fds) this.parts.closeFd(fd);
      return undefined;
    };
    let hello: Message;
    try {
      hello = decodeFromRecorder(bytes, fds.length);
    } catch (error) {
      return refuse((error as Error).message);
    }
    if (hello.name !== 'hello') return refuse(`it began with ${hello.name}`);
    if (hello.body.version !== PROTOCOL_VERSION) return refuse(`its recorder is of version ${hello.body.version}`);
    const known = [...this.#processes].find((one) => one.pid === pid && one.isParked);
    if (known) return this.#back(known, connection, fds);
    let subject: SupervisedProcess;
    try {
      // Whom signals and the driver's checkpoint reach is what the system says, not what the process says of itself.
      subject = new SupervisedProcess({ ...hello.body, pid }, fds, {
        parts: this.parts,
        builder: this.#builder,
        command: options.command,
        offer: (one) => listen(offerPlace(one, surroundingsOf(one).socket), (back) => this.connected(back)),
        staging: this.staging,
        images: this.#images,
        recording: options.recording ?? recordingOf(pid),
        onEnd: () => this.#ended(subject),
        kill: (pid, why) => {
          options.onNote(`process ${pid} is ended: ${why}`);
          process.kill(pid, 'SIGKILL');
        },
      });
    } catch (error) {
      options.onNote(`a process that cannot be supervised: ${(error as Error).message}`);
      return undefined;
    }
    const link = this.#linkOf(subject, connection);
    subject.attachLink(link);
    this.#processes.add(subject);
    if (options.hostMemory !== undefined && !this.#reserved) void this.#reserve(subject, options.hostMemory);
    // The recorder waits for the welcome: whoever sees the application do something finds its control socket.
    void this.#serve(subject).then(() => {
      link.send('welcome', { version: PROTOCOL_VERSION, flags: 0 });
      if (subject.greeting === 'begins') subject.keep();
      else this.onTakenOver(subject);
    });
    return link;
  }

  #linkOf(subject: SupervisedProcess, connection: ReturnType<typeof connectionOf>): RecorderLink {
    return new RecorderLink(connection, {
      told: (message, own) => subject.told(message, own),
      ended: (reason) => {
        if (reason !== undefined && !subject.isParked)
          this.options.onNote(`process ${subject.pid} goes on unrecorded: ${reason}`);
        subject.ended();
      },
      closeFd: this.parts.closeFd,
    });
  }

  /** A process that was asked to let its connection go is there again; it has nothing new to tell. */
  #back(subject: SupervisedProcess, connection: ReturnType<typeof connectionOf>, fds: readonly number[]): RecorderLink {
    const link = this.#linkOf(subject, connection);
    link.send('welcome', { version: PROTOCOL_VERSION, flags: WELCOME_KNOWN });
    subject.comesBack(link, fds);
    return link;
  }

  /** Makes the memory for images, which takes seconds, while the application begins. */
  async #reserve({ custody }: SupervisedProcess, bytes: number): Promise<void> {
    this.#reserved = true;
    try {
      await this.#images.memory.ensureFree(Math.floor(bytes / CHUNK_BYTES), await custody.firstDevice());
    } catch (error) {
      this.options.onNote(`host memory was not reserved: ${(error as Error).message}`);
    }
  }

  async #serve(subject: SupervisedProcess): Promise<void> {
    const path = controlSocket(this.folder, subject.pid);
    try {
      const server = await ControlServer.listen(path, (request, context) => this.handle(subject, request, context));
      if (this.#processes.has(subject)) this.#servers.set(subject, server);
      else server.close();
    } catch (error) {
      this.options.onNote(`process ${subject.pid} cannot be controlled: ${(error as Error).message}`);
    }
  }

  #ended(subject: SupervisedProcess): void {
    this.#processes.delete(subject);
    this.#servers.get(subject)?.close();
    this.#servers.delete(subject);
    if (this.#processes.size === 0) this.#whenEmpty();
  }

  /** Resolves with its number when a process was left, and there is no other one. */
  left(): Promise<number> {
    return new Promise((resolve) => (this.#whenLeft = resolve));
  }

  /** Lets a suspended process go. All that is needed to resume it is in the store and with its recorder. */
  #leave(subject: SupervisedProcess): void {
    subject.link.close();
    if (this.#processes.size === 0) this.#whenLeft(subject.pid);
  }

  /** Resolves when no process is supervised any more. */
  empty(): Promise<void> {
    return this.#processes.size === 0 ? Promise.resolve() : new Promise((resolve) => (this.#whenEmpty = resolve));
  }

  status(subject: SupervisedProcess): Promise<ProcessStatus> {
    return statusOf(subject, this.store.place);
  }

  async handle(subject: SupervisedProcess, request: ControlRequest, context: OperationContext): Promise<unknown> {
    const { store } = this;
    const { command } = subject;
    switch (request.operation) {
      case 'status':
        return this.status(subject);
      case 'checkpoint': {
        const { operation: _operation, control, durable, stop, criu, ...asked } = request;
        if (durable) {
          const supervised = [...this.#processes].map(({ pid }) => pid);
          const options = { ...asked, command, supervised, ...(stop && { stop }), ...(criu !== undefined && { criu }) };
          return subject.operate('checkpoint', context, (own) => durableCheckpoint(subject, store, options, own));
        }
        const save = control ? checkpointWithControl : checkpoint;
        return subject.operate('checkpoint', context, (own) => save(subject, store, { ...asked, command }, own));
      }
      case 'suspend': {
        const { operation: _operation, leave, ...asked } = request;
        if (leave && asked.to === 'memory') {
          const hint = 'suspend it to the store, or do not leave it';
          const message = `process ${subject.pid} cannot be left: its memory would go with its supervisor`;
          throw new RuntimeError('refused', 'GCR8116', message, hint);
        }
        const result = await subject.operate('suspend', context, (own) =>
          suspend(subject, store, { ...asked, command }, own),
        );
        // When whoever asked has the answer.
        if (leave) setImmediate(() => this.#leave(subject));
        return result;
      }
      case 'resume':
        return subject.operate('resume', context, (own) => resume(subject, store, own));
      case 'restore':
        return subject.operate('restore', context, (own) => restore(subject, store, request.id, own));
      case 'drop':
        return subject.operate('drop', context, async () => dropImage(subject, request.id));
    }
  }

  close(): void {
    this.#builder.close();
    this.staging.close();
    this.#images.memory.close();
    for (const server of this.#servers.values()) server.close();
  }
}

/** Passes signals on to the application while it lives; those that a terminal sends it gets from there. */
function forwardSignals(child: ChildProcess): () => void {
  const forward = (signal: NodeJS.Signals) => {
    const fromTerminal = (signal === 'SIGINT' || signal === 'SIGQUIT') && process.stdin.isTTY === true;
    if (!fromTerminal) child.kill(signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  return () => {
    for (const signal of FORWARDED) process.off(signal, forward);
  };
}

const before = (first: string, rest: string | undefined): string => (rest ? `${first}:${rest}` : first);

/**
 * Runs an application under supervision to its end.
 *
 * @throws RuntimeError GCR8111 when something that it takes is missing, StoreError when the store cannot be used; nothing was started then
 */
export async function run(options: RunOptions): Promise<RunOutcome> {
  const libraries = nativeLibraries(options.device);
  const folder = runtimeFolder();
  ensureRuntimeFolder(folder);
  const store = await Store.open({ directory: options.store }, { create: true });
  await removeLeftOvers(folder);
  const socket = recorderSocket(folder, process.pid);
  rmSync(socket, { force: true });
  const device =
    options.device === 'sim' ? await startSimulatedDevice(join(folder, `device-${process.pid}`)) : undefined;
  // The supervisor uses the same driver as the application, as a client of its own.
  if (device) process.env['GCR_SIM_SOCKET'] = device.socket;
  const supervisor = new Supervisor(options, folder, store, nativeParts(libraries.driver?.file ?? 'libcuda.so.1'));
  const listener = listen(socket, (connection) => supervisor.connected(connection));
  try {
    const [program, ...args] = options.command;
    const environment: NodeJS.ProcessEnv = {
      ...process.env,
      GCR_SOCKET: socket,
      GCR_STORE: resolve(options.store),
      ...recordingVariables(options.recording ?? {}),
      LD_PRELOAD: before(libraries.recorder, process.env['LD_PRELOAD']),
    };
    if (device && libraries.driver) {
      environment['GCR_SIM_SOCKET'] = device.socket;
      environment['GCR_DRIVER'] = libraries.driver.file;
      environment['LD_LIBRARY_PATH'] = before(libraries.driver.folder, process.env['LD_LIBRARY_PATH']);
    }
    const child = spawn(program, args, { stdio: 'inherit', env: environment });
    const stop = forwardSignals(child);
    try {
      const outcome = await new Promise<RunOutcome>((resolve, reject) => {
        child.once('error', reject);
        child.once('exit', (code, signal) => resolve({ code, signal }));
        void supervisor.left().then((left) => resolve({ left }));
      });
      await supervisor.empty();
      child.unref();
      return outcome;
    } finally {
      stop();
    }
  } finally {
    supervisor.close();
    listener.close();
    rmSync(socket, { force: true });
    device?.release();
    store.close();
  }
}
