/** The package as others see it: its entry points by name, its files, and stages that import only what stands before them. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
};

/** Names that a process of its own finds in a module, by its name. */
function namesOf(specifier: string): string[] {
  const script = `console.log(JSON.stringify(Object.keys(await import(${JSON.stringify(specifier)}))))`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  return JSON.parse(stdout) as string[];
}

describe('entry points', () => {
  it.each<[string, string[]]>([
    [
      'gcr-templates',
      [
        'buildTemplates',
        'buildTemplatesFromText',
        'buildTemplatesTo',
        'collectSources',
        'executeConcretely',
        'FormulaPrinter',
        'formatDiagnostic',
        'InputError',
        'CODES',
        'parseTemplateFile',
        'readTemplateFile',
        'encodeTemplateFile',
        'TEMPLATE_SCHEMA',
      ],
    ],
    ['gcr-templates/ptx', ['parse', 'parseBody', 'print', 'SourceText', 'INSTRUCTION_TABLE', 'resolveInstruction']],
    ['gcr-templates/templates', ['parseTemplateFile', 'encodeTemplateFile', 'FormulaPrinter', 'deriveTemplate']],
    ['gcr-templates/shadow', ['executeConcretely', 'RangeCollector']],
    ['gcr-templates/checkpoint', ['Store', 'StoreError', 'verifyStore', 'reportPage']],
  ])('%s gives its functions', (specifier, names) => {
    expect(namesOf(specifier)).toEqual(expect.arrayContaining(names));
  });

  it('are all there, with types', () => {
    for (const [path, target] of Object.entries(manifest.exports)) {
      for (const file of typeof target === 'string' ? [target] : [target.types, target.default]) {
        expect(existsSync(join(ROOT, file)), `${path}: ${file}`).toBe(true);
      }
    }
    for (const file of Object.values(manifest.bin)) {
      expect(readFileSync(join(ROOT, file), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
    }
  });

  it('are the only ways in', () => {
    const script = `import('gcr-templates/dist/ir/index.js').catch((error) => console.log(error.code))`;
    const { stdout } = spawnSync(process.execPath, ['-e', script], { cwd: ROOT, encoding: 'utf8' });
    expect(stdout.trim()).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED');
  });
});

/** What each stage may import, itself aside (docs/architecture.md; biome.json holds the same while editing). */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  diagnostics: [],
  sources: ['diagnostics'],
  ptx: ['diagnostics'],
  ir: ['ptx', 'diagnostics'],
  templates: ['ir', 'diagnostics'],
  shadow: ['templates', 'diagnostics'],
  sim: ['ir', 'diagnostics'],
  pipeline: ['sources', 'ptx', 'ir', 'templates', 'diagnostics'],
  native: ['diagnostics'],
  checkpoint: ['native', 'diagnostics'],
  simdevice: ['ptx', 'ir', 'sim', 'native', 'diagnostics'],
  runtime: ['sources', 'templates', 'shadow', 'pipeline', 'native', 'checkpoint', 'diagnostics'],
  cli: ['sources', 'templates', 'shadow', 'pipeline', 'checkpoint', 'runtime', 'diagnostics'],
};

/** Where a stage may be entered: its index, and the form of programs without the lowering (src/ir/form.ts). */
const DOORS = (stage: string) => (stage === 'ir' ? ['index.js', 'form.js'] : ['index.js']);

describe('stages', () => {
  const src = join(ROOT, 'src');
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  const imports = files.flatMap((file) => {
    const text = readFileSync(join(src, file), 'utf8');
    return [...text.matchAll(/(?:from|import\()\s*'([^']+)'/g)].map((match) => ({ file, target: match[1]! }));
  });

  it('are all in the table', () => {
    const folders = new Set(files.filter((file) => file.includes('/')).map((file) => file.split('/')[0]!));
    expect([...folders].sort()).toEqual(Object.keys(MAY_IMPORT).sort());
    expect(imports.length).toBeGreaterThan(100);
  });

  it('import what stands before them, through its index', () => {
    for (const { file, target } of imports) {
      if (!target.startsWith('.') || !file.includes('/')) continue;
      const stage = file.split('/')[0]!;
      const path = relative(src, join(src, dirname(file), target));
      if (path.startsWith(`${stage}/`)) continue;
      const [other, ...rest] = path.split('/');
      expect(MAY_IMPORT[stage], `${file} imports ${target}`).toContain(other);
      expect(DOORS(other!), `${file} imports ${target}`).toContain(rest.join('/'));
    }
  });

  it('import packages that are declared, and of Node only with node:', () => {
    for (const { file, target } of imports) {
      if (target.startsWith('.') || target.startsWith('node:')) continue;
      const name = target
        .split('/')
        .slice(0, target.startsWith('@') ? 2 : 1)
        .join('/');
      expect(Object.keys(manifest.dependencies), `${file} imports ${target}`).toContain(name);
    }
  });
});
