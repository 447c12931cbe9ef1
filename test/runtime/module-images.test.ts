/** Templates of the modules of a process. The compiled form is tested, because threads are started from it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { TemplateBuilder } from '../../dist/runtime/module-images.js';
import { TemplateCache } from '../../dist/runtime/template-cache.js';

describe('TemplateBuilder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gcr-images-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const image = (name: string) => readFileSync(new URL(`../../fixtures/ptx/nvcc/${name}`, import.meta.url));
  const builder = () => {
    const failures: string[] = [];
    const texts = { find: async () => undefined };
    const made = new TemplateBuilder(new TemplateCache(join(folder, 'cache')), texts, (why) => failures.push(why));
    return { made, failures };
  };

  it('ends what is under way and what waits when it is closed, keeps nothing of it, and calls it no failure', async () => {
    const { made, failures } = builder();
    const texts = ['elementwise.sm_90.ptx', 'layernorm.sm_90.ptx', 'transpose.sm_90.ptx'].map(image);
    const under = texts.map((bytes) => made.templates(bytes, TemplateCache.nameOf(bytes), process.pid));
    made.close();
    for (const templates of under) expect((await templates).kernels).toEqual([]);
    expect(failures).toEqual([]);
    const again = builder();
    const { kernels } = await again.made.templates(texts[0]!, TemplateCache.nameOf(texts[0]!), process.pid);
    expect(kernels.length).toBeGreaterThan(0);
    expect(again.failures).toEqual([]);
  });
});
