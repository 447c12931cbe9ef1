/**
 * Hostile texts: each is parsed or refused within seconds, in a process whose heap is limited to 1.5 GB. The times asserted
 * are loose, to hold on a loaded machine; `bench/parse.mjs` measures.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;
const LIMIT_MS = 20_000;

const HEAD = `.version 8.0\\n.target sm_80\\n.address_size 64\\n`;

/** Expression for the text, and the code expected first (`none` when the text is valid). */
const CASES: readonly (readonly [name: string, text: string, code: string])[] = [
  ['a word of 100 MB', `H + 'a'.repeat(1e8)`, 'GCR2005'],
  ['100 MB of words', `H + 'a '.repeat(5e7)`, 'GCR2005'],
  ['100 MB of white space', `H + ' '.repeat(1e8)`, 'none'],
  ['100 MB of semicolons', `H + ';'.repeat(1e8)`, 'GCR2002'],
  ['100 MB of one initialiser', `H + '.global .b8 x[] = {' + '1,'.repeat(5e7) + '1};'`, 'GCR2005'],
  ['100 MB of one expression', `H + '.global .b8 x = ' + '1+'.repeat(5e7) + '1;'`, 'GCR2005'],
  ['100 MB of one body', `H + '.entry k() {' + 'mov.b32 %r1, 0;'.repeat(7e6) + '}'`, 'GCR2005'],
  ['100 MB of variables', `H + '.extern .global .u32 x;\\n'.repeat(4e6)`, 'GCR2005'],
  ['100 MB in one debug section', `H + '.section .debug_info {' + '.b8 1\\n'.repeat(1.6e7) + '}'`, 'none'],
  ['100 MB without an end of comment', `H + '/*' + '*'.repeat(1e8)`, 'GCR2003'],
  ['100 MB of comment', `H + '//' + 'x'.repeat(1e8)`, 'GCR2005'],
  ['100 MB of string', `H + '.file 1 "' + 'x'.repeat(1e8) + '"'`, 'GCR2005'],
  ['100 MB of quotes', `H + '""'.repeat(5e7)`, 'GCR2005'],
  ['100 MB of NUL', `'\\0'.repeat(1e8)`, 'GCR2007'],
  ['100 MB behind a NUL', `H + '\\0' + 'x'.repeat(1e8)`, 'GCR2008'],
  ['100 MB of characters beyond ASCII', `H + '\\xff'.repeat(1e8)`, 'GCR2005'],
  ['a million open braces', `H + '.entry k() {' + '{'.repeat(1e6)`, 'GCR2004'],
  ['a million nested braces', `H + '.entry k() {' + '{'.repeat(1e6) + '}'.repeat(1e6) + '}'`, 'GCR2004'],
  ['a million closing braces', `H + '.entry k() {' + '}'.repeat(1e6)`, 'GCR2002'],
  [
    'half a million nested parentheses',
    `B('mov.b32 %r1, ' + '('.repeat(5e5) + '1' + ')'.repeat(5e5) + ';')`,
    'GCR2004',
  ],
  ['a million open brackets', `B('mov.b32 %r1, ' + '['.repeat(1e6) + ';')`, 'GCR2002'],
  ['a million minus signs', `B('mov.b32 %r1, ' + '-'.repeat(1e6) + '1;')`, 'GCR2004'],
  ['a long chain of conditionals', `B('mov.b32 %r1, ' + '1?1:'.repeat(2.5e5) + '1;')`, 'GCR2004'],
  ['a sum of half a million', `B('mov.b32 %r1, ' + '1+'.repeat(5e5) + '1;')`, 'GCR2004'],
  ['an integer of a million digits', `B('mov.b32 %r1, ' + '1'.repeat(1e6) + ';')`, 'GCR2009'],
  [
    'a quarter of a million register ranges',
    `B(Array.from({ length: 2.5e5 }, (_, i) => '.reg .b32 r' + i + 'q<4>;').join(''))`,
    'none',
  ],
  ['half a million labels', `B(Array.from({ length: 5e5 }, (_, i) => 'L' + i + ':').join(''))`, 'none'],
  [
    'two hundred thousand functions',
    `H + Array.from({ length: 2e5 }, (_, i) => '.func f' + i + '(){}').join('')`,
    'none',
  ],
];

const DRIVER = `
import { parse } from './ptx/index.js';
const H = '${HEAD}';
const B = (text) => H + '.entry k() {' + text + '}';
const texts = [${CASES.map(([, text]) => `() => ${text}`).join(',\n')}];
const text = texts[Number(process.argv[2])]();
text.charCodeAt(text.length - 1);
const { diagnostics } = parse(text);
const { user, system } = process.cpuUsage();
console.log(JSON.stringify({ code: diagnostics[0]?.code ?? 'none', milliseconds: (user + system) / 1000 }));
`;

let folder = '';

/** The parser as JavaScript, so that a plain Node process with a heap limit can run it. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-adversarial-'));
  for (const stage of ['diagnostics', 'ptx']) {
    mkdirSync(join(folder, stage));
    for (const file of readdirSync(join(ROOT, 'src', stage)).filter((name) => name.endsWith('.ts'))) {
      const source = readFileSync(join(ROOT, 'src', stage, file), 'utf8');
      const { outputText } = ts.transpileModule(source, {
        compilerOptions: {
          target: ts.ScriptTarget.ES2022,
          module: ts.ModuleKind.ESNext,
          verbatimModuleSyntax: true,
        },
      });
      writeFileSync(join(folder, stage, file.replace(/\.ts$/, '.js')), outputText);
    }
  }
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'driver.js'), DRIVER);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('hostile texts', () => {
  it.each(CASES.map(([name, , code], index) => [name, code, index] as const))('%s', (_, code, index) => {
    const run = spawnSync(process.execPath, ['--max-old-space-size=1536', join(folder, 'driver.js'), String(index)], {
      encoding: 'utf8',
      timeout: 170_000,
    });
    expect(run.status, run.stderr.slice(0, 2000)).toBe(0);
    const result = JSON.parse(run.stdout) as { code: string; milliseconds: number };
    expect(result.code).toBe(code);
    expect(result.milliseconds).toBeLessThan(LIMIT_MS);
  });
});
