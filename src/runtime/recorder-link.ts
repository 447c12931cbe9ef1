/**
 * The supervisor's end of the channel to one recorder: requests with deadlines, and messages in the state in which they are allowed.
 * Whatever is malformed ends the connection; every request that is under way then fails, and so do later ones.
 */
import { WireError, WireReader } from './codec.js';
import { RuntimeError } from './errors.js';
import {
  decodeFromRecorder,
  encodeMessage,
  MAX_DESCRIPTORS,
  type Message,
  type MessageBody,
  type MessageName,
} from './messages.js';
import type { Connection, ConnectionListener } from './parts.js';

type Told = Exclude<Message, { readonly name: 'reply' }>;

export interface LinkListener {
  /** Descriptors are the listener's to close. */
  told(message: Told, fds: readonly number[]): void;
  /** @param reason why, when it was not the other side's doing */
  ended(reason: string | undefined): void;
  closeFd(fd: number): void;
}

interface Pending {
  readonly what: MessageName;
  resolve(reply: MessageBody<'reply'>): void;
  reject(error: Error): void;
  readonly timer: NodeJS.Timeout;
}

const gone = (what: string): RuntimeError =>
  new RuntimeError(
    'failed',
    'GCR8107',
    `the connection to the application ended during ${what}`,
    'has the application ended?',
  );

export class RecorderLink implements ConnectionListener {
  readonly #connection: Connection;
  readonly #listener: LinkListener;
  readonly #pending = new Map<bigint, Pending>();
  /** Holds that were given up waiting for: should one come true after all, it is undone. */
  readonly #givenUp = new Set<bigint>();
  #next = 1n;
  #open = true;

  constructor(connection: Connection, listener: LinkListener) {
    this.#connection = connection;
    this.#listener = listener;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  send<N extends MessageName>(name: N, body: MessageBody<N>): void {
    if (this.#open) this.#connection.send(encodeMessage(name, body));
  }

  /**
   * @returns what the reply has behind status and text
   * @throws RuntimeError GCR8106 when no answer came in time, GCR8107 when the connection ended, GCR8108 when the recorder refused
   */
  async request<N extends 'hold' | 'release' | 'detach' | 'attach' | 'ping' | 'read' | 'write' | 'guard' | 'park'>(
    name: N,
    body: MessageBody<N>,
    deadlineMs: number,
    fds: readonly number[] = [],
  ): Promise<WireReader> {
    if (!this.#open) throw gone(name);
    const request = this.#next++;
    const reply = await new Promise<MessageBody<'reply'>>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(request);
        if (name === 'hold') this.#givenUp.add(request);
        const seconds = deadlineMs / 1000;
        const hint = 'the application may be stopped, or its queues are long; try again later';
        reject(
          new RuntimeError('failed', 'GCR8106', `the application did not answer ${name} within ${seconds} s`, hint),
        );
      }, deadlineMs);
      this.#pending.set(request, { what: name, resolve, reject, timer });
      this.#connection.send(encodeMessage(name, body, request), fds.slice(0, MAX_DESCRIPTORS));
    });
    if (reply.status === 0) return new WireReader(reply.result);
    const what = reply.message === '' ? `status ${reply.status}` : reply.message;
    throw new RuntimeError('failed', 'GCR8108', `the application could not do ${name}: ${what}`);
  }

  message(bytes: Uint8Array, fds: readonly number[]): void {
    try {
      const message = decodeFromRecorder(bytes, fds.length);
      if (message.name !== 'reply') {
        this.#listener.told(message, fds);
        return;
      }
      const pending = this.#pending.get(message.request);
      // An answer that came too late.
      if (!pending) {
        if (this.#givenUp.delete(message.request) && message.body.status === 0)
          this.#connection.send(encodeMessage('release', {}, this.#next++));
        return;
      }
      this.#pending.delete(message.request);
      clearTimeout(pending.timer);
      pending.resolve(message.body);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      for (const fd of fds) this.#listener.closeFd(fd);
      this.close(`a message of the recorder is not valid: ${error.message}`);
    }
  }

  closed(): void {
    this.#end(undefined);
  }

  close(reason?: string): void {
    if (!this.#open) return;
    this.#connection.close();
    this.#end(reason);
  }

  #end(reason: string | undefined): void {
    if (!this.#open) return;
    this.#open = false;
    for (const { what, reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(gone(what));
    }
    this.#pending.clear();
    this.#listener.ended(reason);
  }
}
