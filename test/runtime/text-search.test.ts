/**
 * Machine code that an application loads gets the text beside it in the cache folders of the application's own environment. The compiled form is
 * tested, because threads are started from it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TemplateBuilder } from '../../dist/runtime/module-images.js';
import { TemplateCache } from '../../dist/runtime/template-cache.js';
import { compilerCaches, isMachineCode, TextSearch } from '../../dist/runtime/text-search.js';
import { ROOT } from '../sim/helpers.js';

const FIXTURE = join(ROOT, 'fixtures/containers/triton-cache/GCRTEXT2Q7NDM4YHWB3K5VEJX6LFUZPOIACS');
const CODE = readFileSync(join(FIXTURE, 'scale.cubin'));
const NAME = TemplateCache.nameOf(CODE);

let folder: string;
let application: ChildProcess;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-texts-'));
  application = spawn(process.execPath, ['-e', 'console.log("up"); process.stdin.resume()'], {
    env: {
      HOME: folder,
      USER: 'so/me',
      TMPDIR: join(folder, 'tmp'),
      TORCHINDUCTOR_CACHE_DIR: join(folder, 'inductor'),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  await once(application.stdout!, 'data');
});
afterEach(() => {
  application.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

function put(place: string): void {
  mkdirSync(place, { recursive: true });
  for (const file of ['scale.cubin', 'scale.ptx']) copyFileSync(join(FIXTURE, file), join(place, file));
}

const builder = () => {
  const made = new TemplateBuilder(join(folder, 'cache'), new TextSearch(), (message) => {
    throw new Error(message);
  });
  const templates = async () => {
    const path = join(FIXTURE, 'scale.cubin');
    const fd = openSync(path, 'r');
    const user = { pid: application.pid!, devices: [90] };
    const found = await made.templates({ fd, bytes: CODE.length }, user, () => closeSync(fd));
    return { found: found.kernels('scale').length, why: found.whyMissing('scale'), modules: found.parts.modules };
  };
  return { templates };
};

describe('templates of machine code', () => {
  it('come from every folder that its compilers use', async () => {
    const places = ['.triton/cache/HASH', 'tmp/torchinductor_so_me/triton/0/HASH', 'inductor/triton/0/HASH'];
    for (const place of places) {
      put(join(folder, place));
      const { found, why, modules } = await builder().templates();
      expect([found, why]).toEqual([1, undefined]);
      expect(modules[0]!.image).toBe(NAME);
      rmSync(join(folder, place), { recursive: true });
      rmSync(join(folder, 'cache'), { recursive: true });
    }
  });

  it('are there once the text is, also for who asked before', async () => {
    const own = builder();
    const before = await own.templates();
    expect([before.found, before.why]).toEqual([0, 'machine code for sm_90 without PTX of the same target']);
    put(join(folder, '.triton/cache/HASH'));
    expect((await own.templates()).found).toBe(1);
    // Another supervisor, from the kept templates: the text must still be there.
    expect((await builder().templates()).found).toBe(1);
    rmSync(join(folder, '.triton'), { recursive: true });
    expect((await builder().templates()).found).toBe(0);
  });

  it('do not come from a text for another architecture', async () => {
    const place = join(folder, '.triton/cache/HASH');
    put(place);
    const text = readFileSync(join(FIXTURE, 'scale.ptx'), 'latin1');
    const { writeFileSync } = await import('node:fs');
    writeFileSync(join(place, 'scale.ptx'), text.replace(/^\.target sm_\d+a?/m, '.target sm_70'));
    expect((await builder().templates()).found).toBe(0);
  });

  it('are not looked for when the image is none of such a compiler', async () => {
    expect(isMachineCode(CODE)).toBe(true);
    expect(isMachineCode(readFileSync(join(ROOT, 'fixtures/containers/bin/no-ptx.fatbin')))).toBe(false);
    expect(isMachineCode(Buffer.from('.version 8.0'))).toBe(false);
    expect(isMachineCode(readFileSync(process.execPath).subarray(0, 64))).toBe(false);
  });
});

it('cache folders follow the environment', () => {
  expect(compilerCaches({ HOME: '/h', USER: 'u' })).toEqual(['/h/.triton/cache', '/tmp/torchinductor_u/triton']);
  const set = { TRITON_CACHE_DIR: '/t', TRITON_HOME: '/th', TORCHINDUCTOR_CACHE_DIR: '/i', TMPDIR: '/m', LOGNAME: 'l' };
  expect(compilerCaches(set)).toEqual(['/t', '/i/triton', '/th/.triton/cache', '/m/torchinductor_l/triton']);
});

it('texts are looked for on a thread that keeps no supervisor alive', async () => {
  const script = `
    import { TextSearch } from ${JSON.stringify(join(ROOT, 'dist/runtime/text-search.js'))};
    const busy = setInterval(() => {}, 1000);
    await new TextSearch().find(process.pid, { bytes: 1, sha256: '' });
    clearInterval(busy);
    console.log('looked');`;
  const file = join(folder, 'search.mjs');
  writeFileSync(file, script);
  const child = spawn(process.execPath, [file], { timeout: 30_000 });
  let said = '';
  child.stdout.on('data', (text) => (said += text));
  const [code, signal] = await once(child, 'close');
  expect({ code, signal, said }).toEqual({ code: 0, signal: null, said: 'looked\n' });
}, 60_000);
