/** Template files: what is written reads back the same; what is not a template file is refused with a place. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Diagnostic, InputError } from '../../src/diagnostics/index.js';
import { buildTemplates, buildTemplatesFromText } from '../../src/pipeline/index.js';
import { executeConcretely, type LaunchRecord } from '../../src/shadow/index.js';
import {
  encodeTemplateFile,
  FormulaPrinter,
  parseTemplateFile,
  readTemplateFile,
  TEMPLATE_SCHEMA,
  TEMPLATE_VERSION,
  type TemplateFile,
} from '../../src/templates/index.js';

const IDEAS = join(import.meta.dirname, '../../fixtures/ptx/ideas');
const TEXT = `.version 8.0
.target sm_80
.address_size 64
.visible .global .align 4 .b8 g[64];
.visible .entry k(.param .u64 out, .param .u32 n)
{
.reg .pred %p<2>; .reg .b32 %r<4>; .reg .b64 %rd<5>;
ld.param.u64 %rd1, [out]; ld.param.u32 %r1, [n];
mov.u32 %r2, %tid.x;
L: mul.wide.u32 %rd2, %r2, 4; add.s64 %rd3, %rd1, %rd2;
st.global.u32 [%rd3], %r2;
add.u32 %r2, %r2, 32; setp.lt.u32 %p1, %r2, %r1; @%p1 bra L;
mov.u64 %rd4, g; st.global.u32 [%rd4], 1;
ret;
}
`;

const LAUNCH: LaunchRecord = { kernel: 'k', grid: [1, 1, 1], block: [2, 1, 1], parameters: new Uint8Array(12) };

let text: string;
let file: TemplateFile;
let folder: string;
beforeAll(async () => {
  file = (await buildTemplatesFromText(TEXT, 'k.ptx')).product;
  text = encodeTemplateFile(file);
  folder = mkdtempSync(join(tmpdir(), 'gcr-file-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The one finding that reading a text ends with. */
function refusal(input: string | object): Diagnostic {
  try {
    parseTemplateFile(typeof input === 'string' ? input : JSON.stringify(input), 'bad.json');
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    expect(error.diagnostics).toHaveLength(1);
    expect(error.message).toContain('bad.json');
    return error.diagnostics[0]!;
  }
  throw new Error('it was taken');
}

/** A kernel that can be changed at will. */
interface Draft extends Record<string, unknown> {
  readonly values: unknown[][];
  readonly blocks: { first: number; end: unknown[] }[];
  readonly writes: Record<string, unknown>[];
}

/** The file with one part of its kernel replaced. */
function altered(change: (kernel: Draft, whole: Record<string, unknown>) => unknown): object {
  const copy = JSON.parse(text) as { kernels: Draft[] };
  change(copy.kernels[0]!, copy);
  return copy;
}

describe('a template file', () => {
  it('reads back the same, from text and from disk', () => {
    expect(parseTemplateFile(text)).toEqual(file);
    expect(encodeTemplateFile(parseTemplateFile(text))).toBe(text);
    writeFileSync(join(folder, 'good.json'), text);
    expect(readTemplateFile(join(folder, 'good.json'))).toEqual(file);
  });

  it('has one kernel a line, modules and missing behind, in the order of the document', async () => {
    const { product } = await buildTemplates([join(IDEAS, 'two-kernels.ptx')]);
    const lines = encodeTemplateFile(product).split('\n');
    expect(lines[0]).toBe(`{"format":"gcr-templates","version":${TEMPLATE_VERSION},"kernels":[`);
    expect(lines[1]).toMatch(/^\{"name":"k_first",.*\},$/);
    expect(lines[2]).toMatch(/^\{"name":"k_second",.*\}\],"modules":\[$/);
    expect(lines[3]).toMatch(/^\{"hash":"[0-9a-f]{64}","source":.*\}\],"missing":\[\]\}$/);
    expect(lines.slice(4)).toEqual(['']);
  });

  it('may be empty', () => {
    const empty = encodeTemplateFile({ ...file, kernels: [], modules: [], missing: [] });
    expect(parseTemplateFile(empty)).toMatchObject({ kernels: [], modules: [], missing: [] });
  });

  it('is described by a schema of JSON Schema 2020-12', () => {
    expect(TEMPLATE_SCHEMA).toMatchObject({ $schema: 'https://json-schema.org/draft/2020-12/schema' });
  });
});

describe('reading', () => {
  it.each([
    ['an empty text', ''],
    ['no JSON', 'kernels: none'],
    ['PTX', TEXT],
    ['another object', '{"kernels":[]}'],
    ['a list', '[]'],
    ['null', 'null'],
    ['a number', '17'],
    ['a string', '"gcr-templates"'],
  ])('refuses %s', (_, bad) => {
    const { code, hint } = refusal(bad);
    expect(code).toBe('GCR4009');
    expect(hint).toContain('gcr-templates build');
  });

  it('refuses a file that is cut off, wherever', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: text.length - 2 }), (length) => {
        expect(refusal(text.slice(0, length)).code).toBe('GCR4009');
      }),
      { seed: 7, numRuns: 100 },
    );
  });

  it.each([TEMPLATE_VERSION + 1, 999, 1e300])('refuses the newer version %s, whatever else is in it', (version) => {
    const { code, message, hint } = refusal({ format: 'gcr-templates', version, unheardOf: [] });
    expect(code).toBe('GCR4010');
    expect(message).toContain(String(version));
    expect(hint).toContain('update');
  });

  it.each([0, -1, 0.5, '1', null, undefined])('refuses the version %s', (version) => {
    expect(refusal(altered((_, whole) => Object.assign(whole, { version }))).code).toBe('GCR4009');
  });

  it('takes version 1, which knew no initial content', () => {
    const old = altered((kernel, whole) => {
      whole['version'] = 1;
      for (const object of kernel['objects'] as Record<string, unknown>[]) delete object['initial'];
    });
    expect(parseTemplateFile(JSON.stringify(old)).kernels[0]!.objects[0]!.initial).toBeUndefined();
    expect(file.kernels[0]!.objects[0]!.initial).toBe('');
  });

  it.each<[string, object, RegExp]>([
    ['half a byte', { initial: '0' }, /pattern/],
    ['more bytes than it has', { initial: '00'.repeat(65) }, /variable g holds more/],
    ['addresses past its end', { initial: '', relocations: [{ offset: 60 }] }, /relocation at 60/],
    ['addresses in unknown content', { relocations: [{ offset: 0 }] }, /relocations in unknown/],
    ['an address in no space', { initial: '', relocations: [{ offset: 0, space: 'shared' }] }, /space/],
  ])('refuses initial content with %s', (_, content, message) => {
    const bad = altered((kernel) => {
      const [object] = kernel['objects'] as Record<string, unknown>[];
      delete object!['initial'];
      const { relocations, ...rest } = content as { relocations?: object[] };
      const whole = { bytes: 8, shift: 0, name: 'g', space: 'global', generic: false, addend: 0 };
      Object.assign(object!, rest, relocations && { relocations: relocations.map((one) => ({ ...whole, ...one })) });
    });
    expect(refusal(bad).code).toBe('GCR4009');
    expect(refusal(bad).message).toMatch(message);
  });

  it('says where the schema does not hold', () => {
    expect(refusal(altered((kernel) => Object.assign(kernel, { verdict: 'certain' }))).message).toMatch(
      /^\/kernels\/0\/verdict /,
    );
    expect(refusal(altered((kernel) => Reflect.deleteProperty(kernel, 'values'))).message).toMatch(
      /^\/kernels\/0 .*values/,
    );
    expect(refusal(altered((_, whole) => delete whole['modules'])).message).toMatch(/modules/);
    expect(refusal(altered((kernel) => Object.assign(kernel, { writes: {} }))).message).toMatch(
      /^\/kernels\/0\/writes /,
    );
  });

  it.each(['line', 'module', 'parameterBytes'])('refuses numbers in %s that are none of its own', (key) => {
    for (const value of [-1, 1.5, '1', null]) {
      const { code, message } = refusal(altered((kernel) => Object.assign(kernel, { [key]: value })));
      expect(code, `${key}: ${value}`).toBe('GCR4009');
      expect(message).toMatch(/\/kernels\/0/);
    }
  });

  it.each<[string, (kernel: Draft) => unknown, RegExp]>([
    ['an operand that is not there', (k) => k.values.push(['add', 64, 0, 9999]), /value \d+ \(add\) uses value 9999/],
    ['an operand made later', (k) => (k.values[1] = ['not', 64, 3]), /value 1 \(not\) uses value 3 before/],
    ['a negative operand', (k) => k.values.push(['not', 64, -1]), /-1|kernels\/0\/values/],
    ['a constant that is none', (k) => k.values.push(['constant', 64, 'many']), /\(constant\) is malformed/],
    ['a phi of odd length', (k) => k.values.push(['phi', 64, 0]), /\(phi\) is not made of pairs/],
    ['a jump to nowhere', (k) => (k.blocks[0]!.end = ['jump', 77]), /block 0 leads to block 77/],
    ['a jump to the entry', (k) => (k.blocks[0]!.end = ['jump', 0]), /leads to the entry/],
    ['a block that is never reached', (k) => (k.blocks[0]!.end = ['exit']), /never reached/],
    ['an operation that is not known', (k) => k.values.push(['frobnicate', 64, 0]), /\(frobnicate\) is not known/],
    ['too few operands', (k) => k.values.push(['add', 64, 0]), /\(add\) has 1 operands/],
    ['an operand that is an object', (k) => k.values.push(['mul', 64, {}, 1]), /\(mul\) has an operand/],
    ['a branch on nothing', (k) => (k.blocks[0]!.end = ['branch', 777, 1, 1]), /block 0 branches/],
    ['a first block that starts late', (k) => (k.blocks[0]!.first = 1), /starts? at/],
    ['a site in a block that is not there', (k) => (k.writes[0]!['block'] = 99), /block 99/],
    ['a site at a value that is not there', (k) => (k.writes[0]!['address'] = 4242), /value 4242/],
    ['a module that is not there', (k) => (k['module'] = 3), /module 3/],
    ['an object that is not there', (k) => k.values.push(['objectAddress', 64, 5]), /\(objectAddress\) names 5/],
  ])('refuses %s', (_, change, expected) => {
    const { code, message } = refusal(altered(change));
    expect(code).toBe('GCR4009');
    expect(message).toMatch(/\/kernels\/0/);
    expect(message).toMatch(expected);
  });

  const junk = fc.oneof(fc.jsonValue(), fc.constantFrom(-1, 1e308, 2 ** 53, '', 'phi', [], {}, null));
  const RUNS = { seed: 11, numRuns: 3000 };

  /** The file with one value somewhere in it replaced, and where. */
  function changed(index: number, value: unknown): { readonly text: string; readonly label: string } {
    const paths: (string | number)[][] = [];
    const walk = (inner: unknown, path: (string | number)[]): void => {
      if (path.length > 0) paths.push(path);
      if (Array.isArray(inner)) for (const [key, item] of inner.entries()) walk(item, [...path, key]);
      else if (typeof inner === 'object' && inner !== null) {
        for (const [key, item] of Object.entries(inner)) walk(item, [...path, key]);
      }
    };
    const copy = JSON.parse(text) as Record<string | number, never>;
    walk(copy, []);
    const path = paths[index % paths.length]!;
    let at = copy;
    for (const key of path.slice(0, -1)) at = at[key]!;
    (at as Record<string | number, unknown>)[path.at(-1)!] = value;
    return { text: JSON.stringify(copy), label: `/${path.join('/')} = ${JSON.stringify(value)}` };
  }

  it('takes or refuses what was changed anywhere, and never fails otherwise', () => {
    fc.assert(
      fc.property(fc.nat(), junk, (index, value) => {
        const change = changed(index, value);
        try {
          parseTemplateFile(change.text);
        } catch (error) {
          expect(error, change.label).toBeInstanceOf(InputError);
        }
      }),
      RUNS,
    );
  });

  it('takes only what can be used without a check', () => {
    let taken = 0;
    fc.assert(
      fc.property(fc.nat(), junk, (index, value) => {
        const change = changed(index, value);
        try {
          for (const kernel of parseTemplateFile(change.text).kernels) {
            taken++;
            const printer = new FormulaPrinter(kernel);
            for (const site of [...kernel.writes, ...kernel.reads]) printer.site(site);
            executeConcretely(kernel, LAUNCH, { maxSteps: 200 });
          }
        } catch (error) {
          if (!(error instanceof InputError)) throw new Error(`${change.label}: ${(error as Error).stack}`);
        }
      }),
      RUNS,
    );
    expect(taken).toBeGreaterThan(80);
  });

  it('says which file cannot be read', () => {
    expect(() => readTemplateFile(join(folder, 'nowhere.json'))).toThrow(/nowhere\.json.*GCR1002/);
    expect(() => readTemplateFile(folder)).toThrow(/GCR1002/);
  });
});
