/** The whole build as a library: order, determinism, several modules, broken kernels, threads. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
// The built files: worker threads run JavaScript.
import { type BuildOptions, buildTemplates, buildTemplatesFromText, buildTemplatesTo } from '../../dist/index.js';
import { encodeTemplateFile, parseTemplateFile } from '../../src/templates/index.js';

const ROOT = join(import.meta.dirname, '../..');
const IDEAS = join(ROOT, 'fixtures/ptx/ideas');
const HEAD = '.version 8.0\n.target sm_80\n.address_size 64\n';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-pipeline-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function place(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const store = (name: string, offset = 0) =>
  `.visible .entry ${name}(.param .u64 out)\n{\n.reg .b64 %rd<2>;\nld.param.u64 %rd1, [out];\nst.global.u32 [%rd1+${offset}], 1;\nret;\n}\n`;

async function bytesOf(inputs: readonly string[], options: BuildOptions = {}) {
  let text = '';
  const { summary, diagnostics } = await buildTemplatesTo(
    inputs,
    (piece) => {
      text += piece;
    },
    options,
  );
  return { text, summary, diagnostics };
}

describe('a build', () => {
  it('gives the same bytes, numbers and findings with any number of threads and every time', async () => {
    const inputs = [IDEAS, join(ROOT, 'fixtures/ptx/invalid')];
    const expected = await bytesOf(inputs);
    expect(expected.summary.kernels).toBeGreaterThan(150);
    for (const jobs of [undefined, 1, 2]) {
      const again = await bytesOf(inputs, jobs === undefined ? {} : { jobs });
      expect(again.text === expected.text, `jobs: ${jobs}`).toBe(true);
      expect(again.summary).toEqual(expected.summary);
      expect(again.diagnostics).toEqual(expected.diagnostics);
    }
  });

  it('gives the same bytes when a module is cut into shares', async () => {
    // Shares are of two million characters: three of them here.
    const padding = `// ${'x'.repeat(100)}\n`.repeat(1000);
    const kernels = Array.from({ length: 50 }, (_, i) => store(`k${i}`, 4 * i).replace('ret;', `${padding}ret;`));
    const path = place('shares.ptx', HEAD + kernels.join(''));
    const one = await bytesOf([path], { jobs: 1 });
    const two = await bytesOf([path], { jobs: 2 });
    const none = await bytesOf([path]);
    expect(one.text === two.text && two.text === none.text).toBe(true);
    expect(parseTemplateFile(one.text).kernels.map(({ name }) => name)).toEqual(kernels.map((_, i) => `k${i}`));
  });

  it('streams what it would give as an object', async () => {
    const path = place('object.ptx', HEAD + store('a') + store('b'));
    const { text } = await bytesOf([path]);
    expect(encodeTemplateFile((await buildTemplates([path])).product)).toBe(text);
  });

  it('hands each piece on before it makes the next', async () => {
    let open = 0;
    await buildTemplatesTo([join(IDEAS, 'two-kernels.ptx'), join(IDEAS, 'st-global-widths.ptx')], async () => {
      expect(++open).toBe(1);
      await new Promise((resolve) => setImmediate(resolve));
      open--;
    });
  });

  it('builds a text once that is there several times', async () => {
    const text = HEAD + store('same');
    const { product, summary } = await buildTemplates([place('first.ptx', text), place('second.ptx', text)]);
    expect(summary).toMatchObject({ modules: 1, kernels: 1 });
    expect(product.modules.map(({ source }) => source)).toEqual([join(folder, 'first.ptx')]);
  });

  it('takes each .version block as a module of its own, lines counted in the file', async () => {
    const text = `${HEAD}${store('same')}${HEAD.replace('8.0', '7.0').replace('80', '75')}${store('same', 4)}`;
    const fromFile = await buildTemplates([place('blocks.ptx', text)]);
    const fromText = await buildTemplatesFromText(text, join(folder, 'blocks.ptx'));
    expect(fromText.product).toEqual(fromFile.product);
    expect(fromText.diagnostics).toEqual([]);
    const { modules, kernels } = fromText.product;
    expect(modules.map(({ version, target }) => `${version} ${target}`)).toEqual(['8.0 sm_80', '7.0 sm_75']);
    expect(kernels.map(({ module, name, line }) => [module, name, line])).toEqual([
      [0, 'same', 4],
      [1, 'same', 14],
    ]);
    expect(kernels[1]!.writes[0]!.line).toBe(18);
    expect(text.split('\n')[17]).toContain('st.global');
  });

  it('lists a broken kernel as missing and builds the others', async () => {
    const text = `${HEAD}${store('before')}${store('broken').replace('1;\nret', '1\nret')}${store('after')}`;
    const { product, summary, diagnostics } = await buildTemplatesFromText(text, 'k.ptx');
    expect(product.kernels.map(({ name }) => name)).toEqual(['before', 'after']);
    expect(product.missing).toEqual([
      { name: 'broken', source: 'k.ptx', code: 'GCR2002', message: expect.any(String) },
    ]);
    expect(summary.verdicts).toEqual({ exact: 2, bounded: 0, allocation: 0, unknown: 1 });
    expect(diagnostics).toMatchObject([{ code: 'GCR2002', severity: 'error', source: 'k.ptx', line: 16 }]);
  });

  it('reports a broken function once, and every kernel that calls it', async () => {
    const caller = (name: string) => `.visible .entry ${name}()\n{\ncall f, ();\nret;\n}\n`;
    const text = `${HEAD}.func f()\n{\nmov.u32 ,;\n}\n${caller('a')}${caller('b')}`;
    const { product, diagnostics } = await buildTemplatesFromText(text);
    expect(diagnostics.filter(({ severity }) => severity === 'error')).toHaveLength(1);
    // A call of what is not known: nothing may be claimed.
    expect(product.kernels.map(({ name, verdict }) => [name, verdict])).toEqual([
      ['a', 'unknown'],
      ['b', 'unknown'],
    ]);
  });

  it('takes the kernels that are named; a name that is nowhere is an error', async () => {
    const text = HEAD + store('a') + store('b');
    const { product, diagnostics } = await buildTemplatesFromText(text, 'k', { kernels: ['b', 'c'] });
    expect(product.kernels.map(({ name }) => name)).toEqual(['b']);
    expect(diagnostics).toMatchObject([{ code: 'GCR9004', severity: 'error' }]);
  });

  it('takes a text as programs have it: byte order mark, NULs at the end, letters of all kinds', async () => {
    const text = `\uFEFF${HEAD}// \u0122\u4e2d\ud83d\ude00 " is not a quote\n${store('k')}\0\0`;
    const alone = await buildTemplatesFromText(text, 'k');
    const threads = await buildTemplatesFromText(text, 'k', { jobs: 1 });
    expect(alone.diagnostics).toEqual([]);
    expect(alone.product.kernels).toHaveLength(1);
    expect(threads.product).toEqual(alone.product);
    const inFile = await buildTemplates([place('letters.ptx', text)]);
    expect(inFile.product.modules[0]!.hash).toBe(alone.product.modules[0]!.hash);
  });

  it('gives an empty file when there is nothing to build', async () => {
    const { text, diagnostics } = await bytesOf([place('empty.ptx', '')], { jobs: 2 });
    expect(diagnostics[0]!.code).toBe('GCR1004');
    expect(parseTemplateFile(text)).toMatchObject({ kernels: [], modules: [], missing: [] });
  });
});

describe('options', () => {
  it.each([0, -1, 1.5, Number.NaN])('refuse %s jobs', async (jobs) => {
    await expect(buildTemplatesFromText(HEAD + store('k'), 'k', { jobs })).rejects.toThrow(RangeError);
  });

  it('report progress up to the last task', async () => {
    for (const jobs of [{}, { jobs: 2 }]) {
      const seen: string[] = [];
      const onProgress = (done: number, total: number) => seen.push(`${done}/${total}`);
      await buildTemplates([join(IDEAS, 'two-kernels.ptx'), join(IDEAS, 'empty-body.ptx')], { ...jobs, onProgress });
      expect(seen).toEqual(['1/2', '2/2']);
    }
  });

  it.each([{}, { jobs: 1 }, { jobs: 2 }])('stop when aborted, before or amid: %j', async (jobs) => {
    const aborted = buildTemplates([IDEAS], { ...jobs, signal: AbortSignal.abort() });
    await expect(aborted).rejects.toThrow(/abort/);
    const controller = new AbortController();
    const amid = buildTemplates([IDEAS], {
      ...jobs,
      signal: controller.signal,
      onProgress: (done) => {
        expect(done).toBeLessThan(20);
        if (done === 5) controller.abort();
      },
    });
    await expect(amid).rejects.toThrow(/abort/);
  });

  it('fail as the taker of the pieces fails', async () => {
    const failing = buildTemplatesTo(
      [IDEAS],
      (piece) => {
        if (piece.length > 100) throw new Error('full');
      },
      { jobs: 2 },
    );
    await expect(failing).rejects.toThrow('full');
  });
});

describe('every fixture', () => {
  it('gives templates that the schema allows and that read back the same', async () => {
    const inputs = readdirSync(join(ROOT, 'fixtures/ptx')).map((name) => join(ROOT, 'fixtures/ptx', name));
    const { text } = await bytesOf(
      inputs.filter((path) => !path.endsWith('.json') && !path.endsWith('src')),
      { jobs: 2 },
    );
    expect(encodeTemplateFile(parseTemplateFile(text)) === text).toBe(true);
    expect(text.split('\n').filter((line) => line.startsWith('{"name"')).length).toBeGreaterThan(200);
  });
});
