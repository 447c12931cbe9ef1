/** Texts of machine code in cache folders: only beside the very bytes, whenever they appear, never for longer than allowed. */
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TritonIndex } from '../../src/sources/index.js';
import { ROOT } from '../sim/helpers.js';

const FIXTURE = join(ROOT, 'fixtures/containers/triton-cache/GCRTEXT2Q7NDM4YHWB3K5VEJX6LFUZPOIACS');
const CODE = readFileSync(join(FIXTURE, 'scale.cubin'));
const WANTED = { bytes: CODE.length, sha256: createHash('sha256').update(CODE).digest('hex') };
const OWNER = process.getuid!();

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-triton-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const later = () => Date.now() + 60_000;
const find = (index: TritonIndex, until = later()) => index.find([join(folder, 'none'), folder], WANTED, OWNER, until);

function put(...path: string[]): string {
  const place = join(folder, ...path);
  mkdirSync(place, { recursive: true });
  for (const file of ['scale.cubin', 'scale.ptx']) copyFileSync(join(FIXTURE, file), join(place, file));
  return place;
}

/** As if it had been there for long. */
const settle = (path: string) => utimesSync(path, new Date(0), new Date(0));

describe('the text of machine code', () => {
  it('is found one and two folders down', () => {
    for (const path of [['HASH'], ['0', 'HASH']]) {
      const place = put(...path);
      const found = find(new TritonIndex())!;
      expect(found.path).toBe(join(place, 'scale.ptx'));
      expect(found.text).toBe(readFileSync(join(FIXTURE, 'scale.ptx'), 'latin1'));
      rmSync(place, { recursive: true });
    }
  });

  it('is not found beside other machine code of the same size', () => {
    const place = put('HASH');
    const other = Buffer.from(CODE);
    other[other.length - 1]! ^= 1;
    writeFileSync(join(place, 'scale.cubin'), other);
    expect(find(new TritonIndex())).toBeUndefined();
  });

  it('is not found when it is another user’s', () => {
    put('HASH');
    if (OWNER !== 0) expect(new TritonIndex().find([folder], WANTED, OWNER + 1, later())).toBeUndefined();
  });

  it('is found when it comes later, in a new folder or in one that was listed while it was made', () => {
    const index = new TritonIndex();
    expect(find(index)).toBeUndefined();
    const place = put('HASH');
    rmSync(join(place, 'scale.cubin'));
    expect(find(index)).toBeUndefined();
    put('HASH');
    expect(find(index)).toBeDefined();
    rmSync(place, { recursive: true });
    settle(folder);
    expect(find(index)).toBeUndefined();
    put('0', 'OTHER');
    expect(find(index)).toBeDefined();
  });

  it('is found by a later question when the time of one was up', () => {
    for (let number = 0; number < 20; number++) settle(put(`OTHER${number}`, 'empty'));
    put('HASH');
    const index = new TritonIndex();
    expect(find(index, Date.now() - 1)).toBeUndefined();
    expect(find(index)).toBeDefined();
  });

  it('does not follow links out of the cache, nor fail for what is no file', () => {
    mkdirSync(join(folder, 'HASH', 'scale.cubin'), { recursive: true });
    symlinkSync(folder, join(folder, 'HASH', 'cycle'));
    writeFileSync(join(folder, 'plain'), 'text');
    expect(find(new TritonIndex())).toBeUndefined();
  });
});
