/** Messages that no driver sends: they end their own connection, and the device goes on for everybody else. */
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Connection, connect } from '../../src/native/index.js';
import { FROM_DRIVER, MessageReader, MessageWriter, RESULT, readHead } from '../../src/simdevice/message.js';
import { DeviceProcess } from './programs.js';

const device = new DeviceProcess();
beforeAll(() => device.start('--memory', String(2 ** 24)));
afterAll(() => device.stop());

/** A peer that sends what it likes. */
class Peer {
  readonly connection: Connection = connect(device.socket);
  readonly ended: Promise<void>;
  readonly #answers = new Map<bigint, (packet: Buffer) => void>();

  constructor() {
    this.ended = new Promise((resolve) =>
      this.connection.receive(
        (packet) => this.#answers.get(readHead(packet).request)?.(packet),
        () => resolve(),
      ),
    );
  }

  tell(type: number, body: MessageWriter, fds: readonly number[] = [], request = 0n): void {
    const packet = body.packet(type, request);
    packet.writeUInt16LE(fds.length, 6);
    this.connection.send(packet, fds);
  }

  ask(type: number, body: MessageWriter, fds: readonly number[] = [], request = 7n): Promise<MessageReader> {
    return new Promise((resolve) => {
      this.#answers.set(request, (packet) => resolve(new MessageReader(packet)));
      this.tell(type, body, fds, request);
    });
  }

  async hello(): Promise<this> {
    const reply = await this.ask(FROM_DRIVER.hello, new MessageWriter().u32(1).u32(process.pid));
    expect([reply.u32(), reply.u32(), reply.u64()]).toEqual([RESULT.success, 0, BigInt(2 ** 24)]);
    return this;
  }
}

const NOTHING = new MessageWriter();
const file = (content: string): number => {
  const path = join(device.folder, 'file');
  writeFileSync(path, content);
  const fd = openSync(path, 'r+');
  rmSync(path);
  return fd;
};

async function works(): Promise<void> {
  const peer = await new Peer().hello();
  const info = await peer.ask(FROM_DRIVER.memoryInfo, new MessageWriter());
  expect(info.u32()).toBe(RESULT.success);
  peer.connection.close();
  await peer.ended;
}

describe('a message that is not valid ends its connection', () => {
  it.each<[string, (peer: Peer) => void]>([
    ['a second hello', (peer) => peer.tell(FROM_DRIVER.hello, new MessageWriter().u32(1).u32(1), [], 9n)],
    ['an unknown type', (peer) => peer.tell(99, NOTHING)],
    ['an unmap of what is not mapped', (peer) => peer.tell(FROM_DRIVER.unmap, new MessageWriter().u64(4096).u64(4096))],
    ['a map without memory', (peer) => peer.tell(FROM_DRIVER.map, new MessageWriter().u64(4096).u64(4096).u64(0))],
    ['a launch that is cut short', (peer) => peer.tell(FROM_DRIVER.launch, new MessageWriter().u64(1).u32(0), [], 9n)],
    [
      'a process message that is cut short',
      (peer) => peer.tell(FROM_DRIVER.process, new MessageWriter().u32(0), [], 9n),
    ],
    [
      'variables of a module that is not there',
      (peer) => peer.tell(FROM_DRIVER.place, new MessageWriter().u64(1).u32(0).u32(1).u64(4096)),
    ],
    [
      'a descriptor where none belongs',
      (peer) => {
        const fd = file('x');
        peer.tell(FROM_DRIVER.memoryInfo, NOTHING, [fd], 9n);
        closeSync(fd);
      },
    ],
    [
      'a mapping larger than its memory',
      (peer) => {
        const fd = file('x');
        peer.tell(
          FROM_DRIVER.map,
          new MessageWriter()
            .u64(4096)
            .u64(2 ** 20)
            .u64(0),
          [fd],
        );
        closeSync(fd);
      },
    ],
    [
      'a mapping over another',
      (peer) => {
        const fd = file('x'.repeat(8192));
        peer.tell(FROM_DRIVER.map, new MessageWriter().u64(65536).u64(8192).u64(0), [fd]);
        peer.tell(
          FROM_DRIVER.map,
          new MessageWriter()
            .u64(65536 + 4096)
            .u64(4096)
            .u64(0),
          [fd],
        );
        closeSync(fd);
      },
    ],
  ])('%s', async (_, act) => {
    const peer = await new Peer().hello();
    act(peer);
    await peer.ended;
    await works();
  });

  it('anything before hello', async () => {
    const peer = new Peer();
    peer.tell(FROM_DRIVER.memoryInfo, NOTHING, [], 9n);
    await peer.ended;
    await works();
  });

  it('another version of the protocol', async () => {
    const peer = new Peer();
    peer.tell(FROM_DRIVER.hello, new MessageWriter().u32(2).u32(1), [], 9n);
    await peer.ended;
    await works();
  });
});

describe('requests are answered', () => {
  const load = async (text: string): Promise<{ status: number; description: Buffer }> => {
    const peer = await new Peer().hello();
    const fds = [file(text), file('')] as const;
    const reply = await peer.ask(FROM_DRIVER.module, new MessageWriter().u64(1).u64(Buffer.byteLength(text)), fds);
    const status = reply.u32();
    const description = readFileSync(`/proc/self/fd/${fds[1]}`);
    for (const fd of fds) closeSync(fd);
    peer.connection.close();
    return { status, description };
  };
  const head = '.version 8.0\n.target sm_80\n.address_size 64\n';

  it('a module is described', async () => {
    const { status, description } = await load(
      `${head}.global .align 8 .u64 p = generic(v)+4;\n.weak .global .align 4 .u32 v = 5;\n.entry k(.param .u32 a, .param .u64 b) { ret; }`,
    );
    expect(status).toBe(RESULT.success);
    const reader = new MessageReader(Buffer.concat([Buffer.alloc(16), description]));
    const text = (): string => {
      const length = reader.u32();
      return reader.bytes(length + (-length & 3)).toString('latin1', 0, length);
    };
    const u32 = (count: number): number[] => Array.from({ length: count }, () => reader.u32());
    expect([...u32(11), text()]).toEqual([1, 16, 0, 0, 0, 0, 2, 0, 4, 8, 8, 'k']);
    expect([...u32(3), reader.u64(), ...u32(1), text()]).toEqual([2, 0, 8, 8n, 0, 'p']);
    expect([...u32(2), reader.u64(), ...u32(1), text(), ...u32(1)]).toEqual([0, 4, 4n, 1, 'v', 5]);
    expect([...u32(6), reader.u64()]).toEqual([1, 0, 0, 8, 0, 1, 4n]);
    expect(reader.complete).toBe(true);
  });

  it.each([
    ['that is no PTX', 'hello'],
    ['that is empty', ''],
    ['with a variable of another module', `${head}.extern .global .u32 v;\n.entry k() { ret; }`],
    ['with the address of a function', `${head}.func f() { ret; }\n.global .u64 p = f;\n.entry k() { ret; }`],
    ['of arbitrary bytes', '\0\xff\x7f'.repeat(1000)],
  ])('a module %s is refused', async (_, text) => {
    expect((await load(text)).status).toBe(RESULT.invalidPtx);
    await works();
  });

  it('memory beyond the limit is refused, whatever is said of its size', async () => {
    const peer = await new Peer().hello();
    for (const size of [BigInt(2 ** 24 + 1), (1n << 64n) - 1n]) {
      const fd = file('x');
      expect((await peer.ask(FROM_DRIVER.memory, new MessageWriter().u64(size), [fd])).u32()).toBe(RESULT.outOfMemory);
      closeSync(fd);
    }
    const launch = new MessageWriter().u64(5).u32(0);
    for (let word = 0; word < 9; word++) launch.u32(1);
    launch.u32(0).u32(0);
    expect((await peer.ask(FROM_DRIVER.launch, launch)).u32()).toBe(RESULT.invalidHandle);
    const unknown = new MessageWriter().u32(1).u32(999_999_999).u32(0);
    expect((await peer.ask(FROM_DRIVER.process, unknown)).u32()).toBe(RESULT.notInitialized);
    peer.connection.close();
  });
});
