/**
 * One connected driver. What concerns the device as a whole (memory, other processes) is answered here, at any time; everything else
 * is executed by a thread of its own, so neither a long launch nor a killed driver holds up others. When the driver is gone its
 * thread is ended, whatever it does, and with it goes everything that was mapped.
 */
import { Worker } from 'node:worker_threads';
import { type Connection, closeFd } from '../native/index.js';
import { WorkerControl } from './control.js';
import { type MemoryLedger, reopen } from './memory-ledger.js';
import {
  FROM_DEVICE,
  FROM_DRIVER,
  MessageReader,
  MessageWriter,
  PROTOCOL_VERSION,
  RESULT,
  readHead,
  replyPacket,
} from './message.js';
import type { WorkerAnswer, WorkerData, WorkerRequest } from './worker.js';

/** The device that clients share. */
export interface Device {
  readonly ledger: MemoryLedger;
  readonly uuid: Uint8Array;
  readonly maxSteps: number;
  /** The client of a process, if it has one. */
  clientOf(pid: number): Client | undefined;
  /** The client of a process that has let the device go, which looks for it; undefined when there is none. */
  summon(pid: number): Promise<Client | undefined>;
  /** A driver has said hello. */
  greeted(client: Client): void;
  /** Something to tell people. */
  note(message: string): void;
  gone(client: Client): void;
}

/** The state of a process whose driver has let the device go. */
const CHECKPOINTED = 2;

type ProcessAnswer = { readonly status: number; readonly state: number };

export class Client {
  #worker: Worker | undefined;
  #pid: number | undefined;
  #closed = false;
  /** Called when a driver that leaves has gone. */
  #left: (() => void) | undefined;
  /** Requests to the driver, by number, and who waits for their answer. */
  readonly #asked = new Map<bigint, (answer: ProcessAnswer) => void>();
  #nextRequest = 1n;
  readonly #control = new WorkerControl();
  /** Messages that the thread was given, and descriptors of those that it is not done with, oldest first. */
  #given = 0;
  readonly #underWay: { readonly number: number; readonly fds: readonly number[] }[] = [];

  constructor(
    readonly connection: Connection,
    readonly device: Device,
  ) {
    connection.receive(
      (packet, fds) => this.#receive(packet, fds),
      () => this.close(),
    );
  }

  /** Process of the driver, from its hello until it goes. */
  get pid(): number | undefined {
    return this.#left ? undefined : this.#pid;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.connection.close();
    this.#stopWorker();
    for (const answer of this.#asked.values()) answer({ status: RESULT.notInitialized, state: 0 });
    this.#asked.clear();
    this.device.gone(this);
    this.#left?.();
  }

  #stopWorker(): void {
    const worker = this.#worker;
    if (!worker) return;
    worker.once('exit', () => {
      // What the thread did not come to see.
      this.#forgetHandled();
      for (const { fds } of this.#underWay) for (const fd of fds) closeFd(fd);
    });
    if (this.#control.stop()) void worker.terminate();
    else worker.postMessage({ packet: new Uint8Array(), fds: [] } satisfies WorkerRequest);
  }

  #send(packet: Buffer): void {
    if (this.#closed) return;
    try {
      this.connection.send(packet, []);
    } catch {
      this.close();
    }
  }

  #invalid(why: string): void {
    this.device.note(`error GCR8003: driver of process ${this.#pid ?? this.connection.peer.pid}: ${why}`);
    this.close();
  }

  #receive(packet: Buffer, fds: number[]): void {
    if (this.#closed) {
      for (const fd of fds) closeFd(fd);
      return;
    }
    const { type, request } = readHead(packet);
    const taken = this.#take(type, fds);
    if (!taken || (this.#pid === undefined) !== (type === FROM_DRIVER.hello)) {
      for (const fd of taken ?? fds) closeFd(fd);
      return this.#invalid(`message of type ${type} is not allowed now, or came with ${fds.length} descriptors`);
    }
    const reader = new MessageReader(packet);
    switch (type) {
      case FROM_DRIVER.hello:
        return this.#hello(request, reader);
      case FROM_DRIVER.memory:
        return this.#memory(request, reader, taken[0]!);
      case FROM_DRIVER.memoryInfo: {
        const body = new MessageWriter().u64(this.device.ledger.free()).u64(this.device.ledger.total).content();
        return this.#send(replyPacket(request, RESULT.success, '', body));
      }
      case FROM_DRIVER.process:
        return this.#process(request, reader);
      case FROM_DRIVER.processReply: {
        const answer = { status: reader.u32(), state: reader.u32() };
        const tell = this.#asked.get(request);
        this.#asked.delete(request);
        // It lets its connection go now, and is to be summoned. Who is told that it is checkpointed finds nothing of the device in it.
        if (answer.state === CHECKPOINTED) this.#left = () => tell?.(answer);
        else tell?.(answer);
        return;
      }
      default:
        this.#execute(packet, taken);
    }
  }

  /**
   * The descriptors of a message, as many as its type has. Memory becomes an open file of the device's own at once: as long as one of
   * the driver's is held the memory counts as used.
   */
  #take(type: number, fds: readonly number[]): number[] | undefined {
    const memory = type === FROM_DRIVER.memory || type === FROM_DRIVER.map;
    const count = memory ? 1 : type === FROM_DRIVER.module ? 2 : 0;
    if (fds.length !== count) return undefined;
    return memory ? fds.map(reopen) : [...fds];
  }

  #hello(request: bigint, reader: MessageReader): void {
    const version = reader.u32();
    reader.u32();
    if (!reader.complete || version !== PROTOCOL_VERSION) return this.#invalid(`protocol version ${version}`);
    // As this process counts: in a namespace of its own the driver has another number for itself.
    this.#pid = this.connection.peer.pid;
    const body = new MessageWriter().u64(this.device.ledger.total).bytes(this.device.uuid).u64(this.#pid).content();
    this.#send(replyPacket(request, RESULT.success, '', body));
    this.device.greeted(this);
  }

  #memory(request: bigint, reader: MessageReader, fd: number): void {
    const size = Number(reader.u64());
    const status = this.device.ledger.add(fd, size) ? RESULT.success : RESULT.outOfMemory;
    this.#send(replyPacket(request, status));
  }

  #process(request: bigint, reader: MessageReader): void {
    const [action, pid, timeout] = [reader.u32(), reader.u32(), reader.u32()];
    if (!reader.complete) return this.#invalid('process');
    const answer = ({ status, state }: ProcessAnswer): void =>
      this.#send(replyPacket(request, status, '', new MessageWriter().u32(state).content()));
    const ask = (target: Client | undefined): void => {
      if (target) target.ask(action, timeout, answer);
      else answer({ status: RESULT.notInitialized, state: 0 });
    };
    const target = this.device.clientOf(pid);
    if (target) ask(target);
    else void this.device.summon(pid).then(ask);
  }

  /** Has the driver do something to its own process. */
  ask(action: number, timeoutMs: number, answer: (answer: ProcessAnswer) => void): void {
    const request = this.#nextRequest++;
    this.#asked.set(request, answer);
    this.#send(new MessageWriter().u32(action).u32(timeoutMs).packet(FROM_DEVICE.process, request));
  }

  #execute(packet: Buffer, fds: readonly number[]): void {
    this.#worker ??= this.#start();
    this.#given++;
    if (fds.length > 0) {
      this.#forgetHandled();
      this.#underWay.push({ number: this.#given, fds });
    }
    this.#worker.postMessage({ packet: new Uint8Array(packet), fds } satisfies WorkerRequest);
  }

  #forgetHandled(): void {
    const { handled } = this.#control;
    while (this.#underWay.length > 0 && this.#underWay[0]!.number <= handled) this.#underWay.shift();
  }

  #start(): Worker {
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: { maxSteps: this.device.maxSteps, control: this.#control.words } satisfies WorkerData,
      // Descriptors are opened here and closed there.
      trackUnmanagedFds: false,
    });
    worker.on('message', (answer: WorkerAnswer) => {
      if ('reply' in answer) this.#send(Buffer.from(answer.reply));
      else this.#invalid(answer.invalid);
    });
    worker.on('error', (error: Error) => {
      this.device.note(`error: the thread of process ${this.#pid} failed: ${error.stack ?? error.message}`);
      this.close();
    });
    return worker;
  }
}
