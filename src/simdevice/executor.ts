/**
 * What a driver's messages do to its address space and modules, and its launches: one driver, one executor, in the order in which
 * messages came. A message that says nothing valid throws GCR8003, which ends the connection; a request that the device refuses is
 * answered with a `CUresult`.
 */
import { closeSync, readFileSync, writeSync } from 'node:fs';
import { InputError } from '../diagnostics/index.js';
import type { Extent } from '../sim/index.js';
import { AddressSpace } from './address-space.js';
import { FROM_DRIVER, MessageReader, RESULT, readHead, replyPacket } from './message.js';
import { LoadedModule } from './module.js';

/** What a launch that fails means to the driver, by code. */
const RESULT_OF: Readonly<Record<string, number>> = {
  GCR6001: RESULT.illegalAddress,
  GCR6003: RESULT.illegalInstruction,
  GCR6004: RESULT.launchTimeout,
  GCR6005: RESULT.launchTimeout,
  GCR6006: RESULT.invalidValue,
  GCR6007: RESULT.launchFailed,
};

export function invalidMessage(message: string): InputError {
  return new InputError({ code: 'GCR8003', severity: 'error', message });
}

export class Executor {
  readonly #space = new AddressSpace();
  readonly #modules = new Map<bigint, LoadedModule>();

  /** @param maxSteps instructions of all threads of a launch together before it is given up */
  constructor(readonly maxSteps: number) {}

  /**
   * Does what a message says. Its descriptors are closed.
   *
   * @returns the reply, to a request
   * @throws InputError GCR8003
   */
  handle(packet: Buffer, fds: readonly number[]): Buffer | undefined {
    const { type, request } = readHead(packet);
    const reader = new MessageReader(packet);
    switch (type) {
      case FROM_DRIVER.map:
        this.#map(reader, fds);
        return undefined;
      case FROM_DRIVER.unmap: {
        const [address, size] = [reader.u64(), reader.u64()];
        if (!reader.complete || !this.#space.unmap(address, size)) throw invalidMessage('unmap of what is not mapped');
        return undefined;
      }
      case FROM_DRIVER.module:
        return this.#load(request, reader, fds);
      case FROM_DRIVER.place:
        this.#place(reader);
        return undefined;
      case FROM_DRIVER.moduleGone:
        this.#modules.delete(reader.u64());
        return undefined;
      case FROM_DRIVER.launch:
        return this.#launch(request, reader);
      default:
        throw invalidMessage(`type ${type} is none that a driver sends`);
    }
  }

  #map(reader: MessageReader, fds: readonly number[]): void {
    const [address, size, offset] = [reader.u64(), reader.u64(), reader.u64()];
    const [fd] = fds;
    if (!reader.complete || fd === undefined || size === 0n || address + size > 1n << 47n) throw invalidMessage('map');
    try {
      this.#space.map(fd, address, size, offset);
    } catch (error) {
      throw invalidMessage(`map: ${(error as Error).message}`);
    }
  }

  #load(request: bigint, reader: MessageReader, fds: readonly number[]): Buffer {
    const [number, size] = [reader.u64(), reader.u64()];
    const [text, description] = fds;
    if (!reader.complete || text === undefined || description === undefined) throw invalidMessage('module');
    try {
      const bytes = readFileSync(`/proc/self/fd/${text}`);
      if (BigInt(bytes.length) !== size) throw invalidMessage('a module is not as long as said');
      const module = new LoadedModule(bytes.toString('latin1'));
      const content = module.describe();
      for (let at = 0; at < content.length; ) at += writeSync(description, content, at);
      this.#modules.set(number, module);
      return replyPacket(request, RESULT.success);
    } catch (error) {
      if (!(error instanceof InputError) || error.diagnostics[0]?.code === 'GCR8003') throw error;
      return replyPacket(request, RESULT.invalidPtx, error.message);
    } finally {
      closeSync(text);
      closeSync(description);
    }
  }

  #place(reader: MessageReader): void {
    const module = this.#modules.get(reader.u64());
    const [first, count] = [reader.u32(), reader.u32()];
    for (let index = first; index < first + count; index++) {
      const variable = module?.variables[index];
      if (!variable) throw invalidMessage('a variable is placed that does not exist');
      module!.places.set(variable.name, reader.u64());
    }
    if (!reader.complete) throw invalidMessage('place');
  }

  #launch(request: bigint, reader: MessageReader): Buffer {
    const number = reader.u64();
    const kernelNumber = reader.u32();
    const extent = (): Extent => [reader.u32(), reader.u32(), reader.u32()];
    const [grid, block, cluster] = [extent(), extent(), extent()];
    const sharedMemory = reader.u32();
    const parameters = reader.bytes(reader.u32());
    if (!reader.complete) throw invalidMessage('launch');
    const module = this.#modules.get(number);
    try {
      const kernel = module?.kernel(kernelNumber);
      if (!module || !kernel) return replyPacket(request, RESULT.invalidHandle, 'no such kernel');
      kernel.launch({
        grid,
        block,
        ...(cluster[0] > 0 && { cluster }),
        sharedMemory,
        parameters: new Uint8Array(parameters),
        memory: this.#space.memory,
        symbols: module.places,
        maxSteps: this.maxSteps,
      });
      return replyPacket(request, RESULT.success);
    } catch (error) {
      const code = error instanceof InputError ? error.diagnostics[0]?.code : undefined;
      return replyPacket(request, RESULT_OF[code ?? ''] ?? RESULT.unknown, (error as Error).message);
    }
  }
}
