/** The consumer's end of the ring, against a producer made here from the specification (docs/formats/runtime-protocol.md). */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { mapFd, openRing, type Ring } from '../../src/native/index.js';

const HEAD = 4096;
const BYTES = 4096;
const RESERVED = 64;
const CONSUMED = 128;
const ASLEEP = 192;
const CLOSED = 196;

/** A sealed memory file, which a process of its own makes, because Node.js cannot. */
async function sealedMemory(bytes: number): Promise<number> {
  const code = `import fcntl, os, sys
fd = os.memfd_create('ring', os.MFD_ALLOW_SEALING)
os.ftruncate(fd, ${bytes})
fcntl.fcntl(fd, 1033, 7)
print(fd, flush=True)
sys.stdin.read()`;
  const maker = spawn('python3', ['-c', code], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(maker.stdout.setEncoding('utf8'), 'data');
  const fd = openSync(`/proc/${maker.pid}/fd/${Number(line)}`, 'r+');
  maker.stdin.end();
  await once(maker, 'exit');
  return fd;
}

const hasPython = spawnSync('python3', ['--version']).status === 0;

describe.skipIf(!hasPython)('a ring', () => {
  let folder = '';
  let view: DataView;
  let unmap: () => void;
  let wake = -1;
  let ring: Ring;
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'gcr-ring-'));
    spawnSync('mkfifo', [join(folder, 'wake')]);
    wake = openSync(join(folder, 'wake'), 'r+');
    const fd = await sealedMemory(HEAD + BYTES);
    const mapped = mapFd(fd, 0, HEAD + BYTES);
    unmap = mapped.unmap;
    view = new DataView(mapped.buffer);
    for (const [at, letter] of [...'GCRRING'].entries()) view.setUint8(at, letter.charCodeAt(0));
    view.setUint32(8, 1, true);
    view.setBigUint64(16, BigInt(BYTES), true);
    ring = openRing(fd, openSync(join(folder, 'wake'), 'r+'));
  });
  afterEach(() => {
    ring.close();
    unmap();
    closeSync(wake);
    rmSync(folder, { recursive: true });
  });

  const number = (offset: number) => Number(view.getBigUint64(offset, true));

  /** Reserves and writes, without regard to the end: a type and a size in front, a byte behind that. */
  function put(size: number, type: number, fill = 0): void {
    const at = number(RESERVED);
    view.setBigUint64(RESERVED, BigInt(at + size), true);
    const place = HEAD + (at % BYTES);
    view.setUint16(place + 4, type, true);
    for (let offset = 6; offset < Math.min(size, BYTES - (at % BYTES)); offset++) view.setUint8(place + offset, fill);
    view.setUint32(place, size, true);
  }

  /** As a producer does: what would cross the end becomes two fillers. */
  function event(size: number, fill: number): void {
    const left = BYTES - (number(RESERVED) % BYTES);
    if (size > left) {
      put(left, 0);
      if (size > left) put(size - left, 0);
    }
    put(size, 7, fill);
  }

  function wakeUp(): void {
    if (view.getUint32(ASLEEP, true) === 0) return;
    view.setUint32(ASLEEP, 0, true);
    writeSync(wake, Buffer.alloc(8, 1));
  }

  it('gives what was put in, round after round, without the fillers', () => {
    let fill = 0;
    let put = 0;
    for (let round = 0; round < 300; round++) {
      const sizes = [16 * (1 + (round % 60)), 16 * (1 + ((round * 7) % 40)), 32].filter((size) => size <= BYTES / 4);
      for (const size of sizes) event(size, (fill + sizes.indexOf(size)) % 251);
      put += sizes.reduce((sum, size) => sum + size, 0);
      const bytes = ring.drain(1 << 20);
      expect(bytes.length).toBe(sizes.reduce((sum, size) => sum + size, 0));
      let at = 0;
      for (const size of sizes) {
        expect([bytes.readUInt32LE(at), bytes.readUInt16LE(at + 4)]).toEqual([size, 7]);
        expect([bytes[at + 6], bytes[at + size - 1]]).toEqual([
          (fill + sizes.indexOf(size)) % 251,
          (fill + sizes.indexOf(size)) % 251,
        ]);
        at += size;
      }
      fill += sizes.length;
      // Its place is given back, and cleared.
      expect(Number(ring.position)).toBe(number(RESERVED));
      expect(number(CONSUMED)).toBe(number(RESERVED));
    }
    expect(new Uint8Array(view.buffer, HEAD, BYTES).every((byte) => byte === 0)).toBe(true);
    expect(number(RESERVED)).toBeGreaterThan(put);
  });

  it('gives at most what is asked for, and an event that is larger all the same', () => {
    event(64, 1);
    event(64, 2);
    event(1024, 3);
    expect(ring.drain(100)).toHaveLength(64);
    expect(ring.drain(100)[6]).toBe(2);
    expect(ring.drain(100)).toHaveLength(1024);
    expect(ring.drain(100)).toHaveLength(0);
  });

  it('waits for an event that is reserved and not written yet', () => {
    event(32, 1);
    const at = HEAD + number(RESERVED);
    view.setBigUint64(RESERVED, 64n, true);
    expect(ring.drain(1 << 20)).toHaveLength(32);
    expect(ring.drain(1 << 20)).toHaveLength(0);
    view.setUint16(at + 4, 9, true);
    view.setUint32(at, 32, true);
    expect(ring.drain(1 << 20).readUInt16LE(4)).toBe(9);
  });

  it('calls back once, later, when there is something', async () => {
    let calls = 0;
    const called = () =>
      new Promise<void>((resolve) => {
        ring.wait(() => {
          calls++;
          resolve();
        });
      });
    const first = called();
    expect(calls).toBe(0);
    expect(view.getUint32(ASLEEP, true)).toBe(1);
    event(32, 1);
    wakeUp();
    await first;
    expect(view.getUint32(ASLEEP, true)).toBe(0);
    // It is there still.
    const second = called();
    expect(calls).toBe(1);
    await second;
    expect(ring.drain(1 << 20)).toHaveLength(32);
    expect(calls).toBe(2);
  });

  it('is not to be woken while events come, and looks by itself', async () => {
    const called = () => new Promise<void>((resolve) => ring.wait(resolve));
    event(32, 1);
    expect(ring.drain(1 << 20)).toHaveLength(32);
    const first = called();
    expect(view.getUint32(ASLEEP, true)).toBe(0);
    event(32, 2);
    await first;
    expect(ring.drain(1 << 20)).toHaveLength(32);
    // Some times more, and then it sleeps.
    let last = called();
    let looks = 0;
    for (; view.getUint32(ASLEEP, true) === 0; looks++) {
      await last;
      expect(ring.drain(1 << 20)).toHaveLength(0);
      last = called();
    }
    expect(looks).toBeGreaterThan(2);
    expect(looks).toBeLessThan(10);
    event(32, 3);
    wakeUp();
    await last;
  });

  it('looks seldom while little comes, and often when much does', async () => {
    const timers = vi.spyOn(globalThis, 'setTimeout');
    const pauses: (number | undefined)[] = [];
    const looked = async (events: number) => {
      for (let index = 0; index < events; index++) {
        event(BYTES / 4, index);
        expect(ring.drain(1 << 20)).toHaveLength(BYTES / 4);
      }
      await new Promise<void>((resolve) => ring.wait(resolve));
      pauses.push(timers.mock.lastCall?.[1]);
    };
    try {
      // It sleeps until there is something.
      const first = new Promise<void>((resolve) => ring.wait(resolve));
      event(32, 1);
      wakeUp();
      await first;
      ring.drain(1 << 20);
      for (const events of [0, 1, 15, 1, 1, 1, 1, 16, 16, 1, 1]) await looked(events);
    } finally {
      timers.mockRestore();
    }
    expect(pauses).toEqual([2, 4, 8, 16, 16, 16, 16, 2, 2, 4, 8]);
  });

  it('sees an event of a producer that had not seen it go to sleep', async () => {
    const called = new Promise<void>((resolve) => ring.wait(resolve));
    expect(view.getUint32(ASLEEP, true)).toBe(1);
    event(32, 1);
    await called;
    expect(view.getUint32(ASLEEP, true)).toBe(0);
    expect(ring.drain(1 << 20)).toHaveLength(32);
  });

  it('replaces who is called', async () => {
    let calls = '';
    ring.wait(() => {
      calls += 'a';
    });
    await new Promise<void>((resolve) => {
      ring.wait(() => {
        calls += 'b';
        resolve();
      });
      event(32, 1);
      wakeUp();
    });
    expect(calls).toBe('b');
  });

  it('tells producers when it is closed', () => {
    expect(view.getUint32(CLOSED, true)).toBe(0);
    ring.close();
    expect(view.getUint32(CLOSED, true)).toBe(1);
    expect(() => ring.drain(1)).toThrow(/closed/);
    ring.close();
  });

  /** An event whose size is changed afterwards. */
  function resized(size: number, to: number): void {
    put(size, 7);
    view.setUint32(HEAD, to, true);
  }

  const DAMAGES: readonly [string, () => void, RegExp][] = [
    ['a size that is no multiple of 16', () => put(24, 7), /no multiple/],
    ['more than is reserved', () => resized(32, 64), /than what is reserved/],
    ['more than to the end', () => put(BYTES + 16, 7), /beyond the end/],
    ['more than a quarter', () => put(BYTES / 4 + 16, 7), /larger than a quarter/],
    ['a size of all ones', () => resized(16, 0xffffffff), /no multiple/],
  ];
  for (const [what, damage, message] of DAMAGES)
    it(`is damaged by ${what}, and stays so`, () => {
      damage();
      expect(() => ring.drain(1 << 20)).toThrow(message);
      new Uint8Array(view.buffer, HEAD, BYTES).fill(0);
      expect(() => ring.drain(1 << 20)).toThrow(message);
    });

  it('keeps to the numbers that it was opened with', () => {
    view.setBigUint64(16, 1n << 40n, true);
    view.setBigUint64(CONSUMED, 1n << 50n, true);
    event(32, 5);
    expect(ring.drain(1 << 20)[6]).toBe(5);
    expect(Number(ring.position)).toBe(32);
  });
});
