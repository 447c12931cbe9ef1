/** Images of processes: what a manifest says of their files, and that no changed byte passes, with threads and without. */
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
// The built ones: threads need files that Node can load.
import { fileDigests, PIECE_BYTES } from '../../dist/checkpoint/file-digests.js';
import { checkImage, ImageWriter, type ProcessImage, Store } from '../../dist/checkpoint/index.js';

const MIB = 2 ** 20;
const sha256 = (...parts: Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** What docs/formats/store.md says, from the whole content. */
function documented(content: Buffer, pieceBytes: number): string {
  const pieces: Buffer[] = [];
  for (let at = 0; at < content.length; at += pieceBytes) pieces.push(sha256(content.subarray(at, at + pieceBytes)));
  return sha256(...pieces).toString('hex');
}

/** Content in which no two pieces are alike. */
function content(bytes: number): Buffer {
  const made = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 1024) made.writeUInt32LE(at ^ bytes, at);
  return made;
}

let store: string;
beforeEach(() => {
  store = mkdtempSync(join(tmpdir(), 'gcr-image-'));
});
afterEach(() => rmSync(store, { recursive: true, force: true }));

const SIZES = {
  'without threads': { 'a.img': 0, 'b.img': 1, 'pages-1.img': 2 * PIECE_BYTES + 5, 'z.img': PIECE_BYTES },
  'with threads': { 'a.img': 0, 'b.img': 1, 'pages-1.img': 5 * PIECE_BYTES + 5, 'z.img': 3 * PIECE_BYTES },
};

async function written(sizes: Readonly<Record<string, number>>): Promise<ProcessImage> {
  const writer = await ImageWriter.begin(store);
  for (const [name, bytes] of Object.entries(sizes)) writeFileSync(join(writer.path, name), content(bytes));
  return { ...(await writer.finish()), ...OTHER };
}

const OTHER = {
  criu: '4.2',
  kernel: '6.1',
  machine: 'x64',
  module: null,
  root: 4711,
  numbers: [4711],
  stdio: [],
  socket: '/run/user/0/gcr-templates/recorder-1',
  driver: null,
  simulatedDevice: null,
} as const;

for (const [how, sizes] of Object.entries(SIZES))
  describe(`an image of files, digested ${how}`, () => {
    const path = ({ folder }: ProcessImage, name: string) => join(store, 'images', folder, name);
    const problems = async (image: ProcessImage, read = true) =>
      (await checkImage(store, image, read)).map(({ file, message }) => `${file.split('/').at(-1)} ${message}`);
    const flip = (file: string, at: number) => {
      const byte = readFileSync(file)[at]! ^ 1;
      const fd = openSync(file, 'r+');
      writeSync(fd, Buffer.of(byte), 0, 1, at);
      closeSync(fd);
    };

    it('has the digests that the format documents', async () => {
      const image = await written(sizes);
      expect(image.pieceBytes).toBe(PIECE_BYTES);
      expect(image.files).toEqual(
        Object.entries(sizes).map(([name, bytes]) => ({
          name,
          bytes,
          sha256: documented(content(bytes), PIECE_BYTES),
        })),
      );
      expect(await problems(image)).toEqual([]);
    });

    it('is damaged when a byte of any piece is', async () => {
      const image = await written(sizes);
      const pages = path(image, 'pages-1.img');
      for (let at = 7; at < sizes['pages-1.img']; at += PIECE_BYTES - 1) {
        flip(pages, at);
        expect(await problems(image)).toEqual(['pages-1.img is damaged']);
        expect(await problems(image, false)).toEqual([]);
        flip(pages, at);
      }
      flip(pages, sizes['pages-1.img'] - 1);
      flip(path(image, 'b.img'), 0);
      expect(await problems(image)).toEqual(['b.img is damaged', 'pages-1.img is damaged']);
    });

    it('is damaged when pieces changed places', async () => {
      const image = await written(sizes);
      const pages = path(image, 'pages-1.img');
      const [first, second] = [0, 1].map((i) =>
        content(sizes['pages-1.img'])
          .subarray(i * PIECE_BYTES)
          .subarray(0, PIECE_BYTES),
      );
      const fd = openSync(pages, 'r+');
      writeSync(fd, second!, 0, PIECE_BYTES, 0);
      writeSync(fd, first!, 0, PIECE_BYTES, PIECE_BYTES);
      closeSync(fd);
      expect(await problems(image)).toEqual(['pages-1.img is damaged']);
    });

    it('tells of each file what is wrong with it, in their order', async () => {
      const image = await written(sizes);
      rmSync(path(image, 'a.img'));
      appendFileSync(path(image, 'b.img'), 'x');
      flip(path(image, 'pages-1.img'), 3);
      renameSync(path(image, 'z.img'), join(store, 'elsewhere'));
      symlinkSync(join(store, 'elsewhere'), path(image, 'z.img'));
      expect(await problems(image)).toEqual([
        'a.img is missing',
        'b.img has 2 bytes instead of 1',
        'pages-1.img is damaged',
        'z.img is missing',
      ]);
    });

    it('of before there were pieces is known by digests of all bytes', async () => {
      const { pieceBytes: _, ...image } = await written(sizes);
      const whole = Object.entries(sizes).map(([name, bytes]) => ({
        name,
        bytes,
        sha256: sha256(content(bytes)).toString('hex'),
      }));
      expect(await problems({ ...image, files: whole })).toEqual([]);
      flip(path(image, 'pages-1.img'), sizes['pages-1.img'] - 1);
      expect(await problems({ ...image, files: whole })).toEqual(['pages-1.img is damaged']);
    });

    it('has the same digests by any size of pieces that a manifest may have', async () => {
      const image = await written(sizes);
      const files = Object.entries(sizes).map(([name, bytes]) => ({ path: path(image, name), bytes }));
      for (const pieceBytes of [MIB, 3 * MIB + 1, 2 ** 30])
        expect(await fileDigests(files, pieceBytes)).toEqual(
          files.map(({ bytes }) => documented(content(bytes), pieceBytes)),
        );
    });

    it('that cannot be read fails with the error of the file system', async () => {
      const image = await written(sizes);
      const files = Object.entries(sizes).map(([name, bytes]) => ({ path: path(image, name), bytes }));
      rmSync(path(image, 'z.img'));
      await expect(fileDigests(files, PIECE_BYTES)).rejects.toMatchObject({
        code: 'ENOENT',
        syscall: 'open',
        message: expect.stringContaining('z.img'),
      });
      symlinkSync(path(image, 'pages-1.img'), path(image, 'z.img'));
      await expect(fileDigests(files)).rejects.toMatchObject({ code: 'ELOOP' });
    });
  });

describe('a manifest', () => {
  it('keeps what it says of an image, with pieces and without', async () => {
    const place = { directory: join(store, 'store') };
    const opened = await Store.open(place, { create: true });
    const image = await written({ 'a.img': 5 });
    const { pieceBytes: _, ...before } = image;
    for (const one of [image, before]) {
      const session = await opened.begin({ kind: 'full', parent: null });
      const { id } = await session.commit(one);
      expect((await opened.manifest(id)).image).toEqual(one);
    }
    opened.close();
    expect(statSync(join(store, 'images', image.folder)).isDirectory()).toBe(true);
  });
});
