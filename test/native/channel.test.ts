import { closeSync, existsSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Connection, closeFd, connect, listen, mapFd, openRing } from '../../src/native/index.js';

const packet = (type: number, fds: number, body: string) => {
  const bytes = Buffer.alloc(16 + body.length);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(fds, 6);
  bytes.write(body, 16);
  return bytes;
};

describe('channel', () => {
  let folder = '';
  let server: { close(): void } | undefined;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'gcr-channel-'));
  });
  afterEach(() => {
    server?.close();
    rmSync(folder, { recursive: true });
  });

  async function pair(): Promise<[Connection, Connection]> {
    const path = join(folder, 'socket');
    let client: Connection | undefined;
    const accepted = await new Promise<Connection>((resolve) => {
      server = listen(path, resolve);
      client = connect(path);
    });
    return [accepted, client as Connection];
  }

  it('delivers packets with descriptors, in order, and the end', async () => {
    const [accepted, client] = await pair();
    expect(accepted.peer).toEqual({ pid: process.pid, uid: process.getuid?.() });
    writeFileSync(join(folder, 'file'), 'content');
    const fd = openSync(join(folder, 'file'), 'r');
    client.send(packet(7, 1, 'first'), [fd]);
    closeSync(fd);
    const seen: string[] = [];
    const ended = new Promise<void>((resolve) =>
      accepted.receive(
        (bytes, fds) => {
          seen.push(bytes.subarray(16).toString());
          if (bytes.readUInt16LE(4) !== 7) return;
          expect(readFileSync(fds[0]!, 'utf8')).toBe('content');
          closeFd(fds[0]!);
          expect(() => fstatSync(fds[0]!)).toThrow(/EBADF/);
        },
        () => resolve(),
      ),
    );
    for (let n = 0; n < 200; n++) client.send(packet(8, 0, String(n)), []);
    client.close();
    await ended;
    expect(seen).toEqual(['first', ...Array.from({ length: 200 }, (_, i) => String(i))]);
    expect(() => accepted.send(packet(1, 0, ''), [])).toThrow(/could not be sent/);
  });

  it('refuses what its head does not describe, and paths that are taken', async () => {
    const [, client] = await pair();
    expect(() => client.send(packet(1, 1, ''), [])).toThrow(/head/);
    expect(() => client.send(Buffer.alloc(3), [])).toThrow(/head/);
    expect(() => listen(join(folder, 'socket'), () => {})).toThrow(/in use/);
    expect(() => connect(join(folder, 'nobody'))).toThrow(/No such file/);
  });

  it('removes its path at the end', async () => {
    await pair();
    server?.close();
    await expect.poll(() => existsSync(join(folder, 'socket'))).toBe(false);
  });

  it('maps a file shared, within its size', () => {
    const file = join(folder, 'mapped');
    writeFileSync(file, Buffer.alloc(8192, 1));
    const fd = openSync(file, 'r+');
    const { buffer, unmap } = mapFd(fd, 4096, 4096);
    expect(() => mapFd(fd, 4096, 8192)).toThrow(RangeError);
    closeSync(fd);
    new Uint8Array(buffer)[0] = 9;
    expect(readFileSync(file)[4096]).toBe(9);
    unmap();
    expect(buffer.byteLength).toBe(0);
    unmap();
  });

  it('takes no file for a ring', () => {
    const file = join(folder, 'no-ring');
    writeFileSync(file, Buffer.alloc(8192));
    expect(() => openRing(openSync(file, 'r+'), openSync('/dev/null', 'r'))).toThrow(/not sealed/);
  });
});
