/** Templates of the modules of a process. The compiled form is tested, because threads are started from it. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { ModuleImages, TemplateBuilder } from '../../dist/runtime/module-images.js';
import { TemplateCache } from '../../dist/runtime/template-cache.js';

const folder = mkdtempSync(join(tmpdir(), 'gcr-images-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));
const user = { pid: process.pid, devices: [90] };
let caches = 0;

function start(cache = join(folder, `cache${caches++}`)) {
  const failures: string[] = [];
  const made = new TemplateBuilder(cache, { find: async () => undefined }, (why) => failures.push(why));
  const names: string[] = [];
  const ask = async (path: string, by = user) => {
    const fd = openSync(path, 'r');
    try {
      return await made.templates({ fd, bytes: statSync(path).size }, by, (name) => names.push(name));
    } finally {
      closeSync(fd);
    }
  };
  return { made, ask, failures, names, cache };
}

describe('TemplateBuilder', () => {
  it('ends what is under way and what waits when it is closed, keeps nothing of it, and calls it no failure', async () => {
    const { made, ask, failures, cache } = start();
    const texts = ['elementwise', 'layernorm', 'transpose'].map((name) => fixture(`ptx/nvcc/${name}.sm_90.ptx`));
    const under = texts.map((path) => ask(path));
    made.close();
    for (const templates of under) expect((await templates).size).toBe(0);
    expect(failures).toEqual([]);
    const again = start(cache);
    expect((await again.ask(texts[0]!)).size).toBeGreaterThan(0);
    expect(again.failures).toEqual([]);
  });

  it('names an image by its content, and finds what was built for the same devices again', async () => {
    const path = fixture('containers/bin/targets.texts.fatbin');
    const first = start();
    const both = await first.ask(path);
    expect(first.names).toEqual([TemplateCache.nameOf(readFileSync(path))]);
    expect(both.kernels('place')).toHaveLength(2);
    expect((await first.ask(path, { ...user, devices: [80] })).kernels('place')).toHaveLength(1);
    // Another supervisor, by the name alone.
    const kept = await start(first.cache).made.templatesOf(first.names[0]!, user);
    expect(kept.parts).toEqual(both.parts);
    expect((await start(first.cache).made.templatesOf(first.names[0]!, { ...user, devices: [75] })).size).toBe(0);
  });

  it('goes on when an image cannot be read', async () => {
    const { made, ask, failures } = start();
    const none = await made.templates({ fd: 1 << 20, bytes: 100 }, user, () => {});
    expect(none.size).toBe(0);
    expect(failures).toEqual([expect.stringMatching(/^templates of an image could not be built: .*EBADF/)]);
    expect((await ask(fixture('ptx/nvcc/transpose.sm_90.ptx'))).size).toBeGreaterThan(0);
  });

  it('leaves this thread alone while a large image is read and built', async () => {
    const text = readFileSync(fixture('ptx/nvcc/layernorm.sm_90.ptx'), 'latin1');
    const path = join(folder, 'large.ptx');
    const copies = Math.ceil(16e6 / text.length);
    writeFileSync(path, Array.from({ length: copies }, (_, index) => `${text}\n// copy ${index}\n`).join(''));
    const { made, names } = start();
    const fd = openSync(path, 'r');
    let ended = false;
    const under = made.templates({ fd, bytes: statSync(path).size }, user, (name) => names.push(name));
    const done = under.then(() => (ended = true));
    // Turns of this thread meanwhile: one or two if it did the work itself.
    const turns = { reading: 0, building: 0 };
    while (!ended && turns.building < 100) {
      turns[names.length === 0 ? 'reading' : 'building']++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    made.close();
    await done;
    closeSync(fd);
    expect(turns.reading).toBeGreaterThan(50);
    expect(turns.building).toBe(100);
  });
});

describe('ModuleImages', () => {
  it('lets go of an image’s memory once, when it is named, and says what was found', async () => {
    const { made } = start();
    const events: unknown[] = [];
    const path = fixture('ptx/ideas/module-variable-pointer.ptx');
    const fd = openSync(path, 'r');
    await new Promise<void>((resolve) => {
      const images = new ModuleImages(
        made,
        user,
        (module, variables) => {
          events.push(['ready', module, variables.length > 0, typeof images.find(7)]);
          resolve();
        },
        (module) => events.push(['named', module]),
      );
      images.image(7, { fd, bytes: statSync(path).size }, () => {
        events.push('closed');
        closeSync(fd);
      });
      expect(images.find(7)).toBe('building');
      expect(images.find(8)).toBe('absent');
    });
    expect(events).toEqual(['closed', ['named', 7], ['ready', 7, true, 'object']]);
  });
});
