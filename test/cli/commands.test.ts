/** The commands as a user meets them: a process of their own, judged by exit code, output and what is left on disk. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseTemplateFile } from '../../src/templates/index.js';

const ROOT = join(import.meta.dirname, '../..');
const BIN = join(ROOT, 'bin/gcr-templates.js');
const IDEAS = join(ROOT, 'fixtures/ptx/ideas');
const EXACT = join(IDEAS, 'loop-grid-stride.ptx');
const UNKNOWN = join(IDEAS, 'unknown-opcode.ptx');
const BROKEN = join(ROOT, 'fixtures/ptx/invalid/missing-comma.ptx');

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-cli-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function run(args: readonly string[], options: { input?: string; env?: NodeJS.ProcessEnv } = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 50_000,
    killSignal: 'SIGKILL',
    maxBuffer: 1 << 28,
    ...options,
  });
  return { status, stdout, stderr };
}

const files = () => readdirSync(folder).sort();

/** A text that takes long to build: a kernel of many blocks, once or many times. */
function longText(kernels: number, stores = 2000): string {
  const body = Array.from(
    { length: stores },
    (_, i) =>
      `setp.eq.u32 %p1, %r1, ${i}; @%p1 bra L${i}; add.u32 %r1, %r1, ${i}; L${i}: st.global.u32 [%rd1+${4 * i}], %r1;`,
  ).join('\n');
  const one = (name: string) =>
    `.visible .entry ${name}(.param .u64 out)\n{\n.reg .pred %p<2>; .reg .b32 %r<2>; .reg .b64 %rd<2>;\nld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x;\n${body}\nret;\n}\n`;
  const head = '.version 8.0\n.target sm_80\n.address_size 64\n';
  return head + Array.from({ length: kernels }, (_, i) => one(`k${i}`)).join('');
}

describe('build', () => {
  it('writes templates.json and ends with 0 when every write set is known', () => {
    const { status, stdout, stderr } = run(['build', EXACT]);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toContain('k_stride');
    expect(stdout).toContain('written to templates.json');
    expect(files()).toEqual(['templates.json']);
    expect(parseTemplateFile(readFileSync(join(folder, 'templates.json'), 'utf8')).kernels).toHaveLength(1);
  });

  it('ends with 3 when a kernel ended unknown', () => {
    expect(run(['build', EXACT, UNKNOWN, '-o', 'a.json']).status).toBe(3);
    expect(files()).toEqual(['a.json']);
  });

  it('ends with 65 on bad input and still writes what could be built', () => {
    const { status, stderr } = run(['build', BROKEN, EXACT, '-o', 'a.json']);
    expect(status).toBe(65);
    expect(stderr).toMatch(/missing-comma\.ptx:10:20: error GCR2002/);
    const file = parseTemplateFile(readFileSync(join(folder, 'a.json'), 'utf8'));
    expect(file.kernels.map((kernel) => kernel.name)).toEqual(['k_stride']);
    expect(file.missing).toHaveLength(1);
  });

  it.each([
    ['a missing file', ['nowhere.ptx'], 'GCR1001'],
    ['binary noise', [join(ROOT, 'fixtures/ptx/invalid/binary-noise.ptx')], 'GCR1003'],
    ['an empty file', [join(ROOT, 'fixtures/ptx/invalid/empty.ptx')], 'GCR1004'],
  ])('leaves the output of before alone when %s is all it got', (_, inputs, code) => {
    writeFileSync(join(folder, 'a.json'), 'before');
    const { status, stderr, stdout } = run(['build', ...inputs, '-o', 'a.json']);
    expect(status).toBe(65);
    expect(stderr).toContain(code);
    expect(stdout).toContain('nothing was written');
    expect(readFileSync(join(folder, 'a.json'), 'utf8')).toBe('before');
    expect(files()).toEqual(['a.json']);
  });

  it.each([
    ['no input', ['build']],
    ['an unknown option', ['build', EXACT, '--frobnicate']],
    ['an unknown command', ['bild', EXACT]],
    ['a number of jobs that is none', ['build', EXACT, '--jobs', 'many']],
    ['no jobs', ['build', EXACT, '--jobs', '0']],
  ])('ends with 64 on %s', (_, args) => {
    const { status, stderr } = run(args);
    expect(status).toBe(64);
    expect(stderr).toContain('--help');
    expect(files()).toEqual([]);
  });

  it.each([
    ['a folder that is not there', join('nowhere', 'a.json')],
    ['a folder in its place', '.'],
  ])('ends with 73 when the output cannot be written: %s', (_, output) => {
    const { status, stderr } = run(['build', EXACT, '-o', output]);
    expect(status).toBe(73);
    expect(stderr).toContain('GCR9002');
    expect(files()).toEqual([]);
  });

  it('writes to standard output with -o -, and the summary to standard error', () => {
    const { status, stdout, stderr } = run(['build', EXACT, '-o', '-']);
    expect(status).toBe(0);
    expect(parseTemplateFile(stdout).kernels[0]!.name).toBe('k_stride');
    expect(stderr).toContain('1 of 1 kernel');
  });

  it('writes through a link and into a device without replacing them', () => {
    writeFileSync(join(folder, 'real.json'), '');
    symlinkSync('real.json', join(folder, 'link.json'));
    expect(run(['build', EXACT, '-o', 'link.json']).status).toBe(0);
    expect(readFileSync(join(folder, 'real.json'), 'utf8')).toContain('k_stride');
    expect(files()).toEqual(['link.json', 'real.json']);
    expect(run(['build', EXACT, '-o', '/dev/null']).status).toBe(0);
    expect(existsSync('/dev/null')).toBe(true);
    expect(readFileSync('/dev/null', 'utf8')).toBe('');
  });

  it('reads standard input', () => {
    const { status, stdout } = run(['build', '-', '--json'], { input: readFileSync(EXACT, 'latin1') });
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      output: 'templates.json',
      modules: 1,
      kernels: 1,
      missing: [],
      verdicts: { exact: 1, bounded: 0, allocation: 0, unknown: 0 },
      diagnostics: [],
      list: [{ name: 'k_stride', verdict: 'exact', writes: 1 }],
    });
  });

  it('takes only the kernels that are named, and says when there is none', () => {
    const two = join(IDEAS, 'two-kernels.ptx');
    const all = JSON.parse(run(['build', two, '--json']).stdout) as { list: { name: string }[] };
    const name = all.list[1]!.name;
    const one = JSON.parse(run(['build', two, '--json', '--kernel', name]).stdout) as typeof all;
    expect(one.list.map((kernel) => kernel.name)).toEqual([name]);
    const none = run(['build', two, '--kernel', 'nobody', '-o', 'b.json']);
    expect(none.status).toBe(65);
    expect(none.stderr).toContain("no kernel is named 'nobody'");
  });

  it('gives the same bytes with any number of jobs', () => {
    for (const jobs of ['1', '2', '5'])
      expect(run(['build', IDEAS, '-o', `${jobs}.json`, '--jobs', jobs]).status).toBe(3);
    const [one, two, five] = ['1', '2', '5'].map((jobs) => readFileSync(join(folder, `${jobs}.json`), 'utf8'));
    expect(two === one && five === one).toBe(true);
  });

  it('ends with 73 when the disk is full or the place is no place for files', () => {
    for (const place of ['/dev/full', '/proc/version'].filter((path) => existsSync(path))) {
      const { status, stderr } = run(['build', EXACT, '-o', place]);
      expect(status, place).toBe(73);
      expect(stderr).toContain(`${place}: error GCR9002`);
    }
  });

  it.skipIf(process.getuid?.() === 0)('replaces no file that may not be written', () => {
    writeFileSync(join(folder, 'a.json'), 'before');
    chmodSync(join(folder, 'a.json'), 0o444);
    expect(run(['build', EXACT, '-o', 'a.json']).status).toBe(73);
    expect(readFileSync(join(folder, 'a.json'), 'utf8')).toBe('before');
    expect(files()).toEqual(['a.json']);
  });

  it('keeps the permissions of the file it replaces', () => {
    writeFileSync(join(folder, 'a.json'), 'before');
    chmodSync(join(folder, 'a.json'), 0o600);
    expect(run(['build', EXACT, '-o', 'a.json']).status).toBe(0);
    expect(statSync(join(folder, 'a.json')).mode & 0o777).toBe(0o600);
  });

  it('says so when a worker runs out of memory, and leaves the output of before', () => {
    writeFileSync(join(folder, 'large.ptx'), longText(1, 30_000));
    writeFileSync(join(folder, 'a.json'), 'before');
    const env = { ...process.env, NODE_OPTIONS: '--max-old-space-size=60' };
    const { status, stderr } = run(['build', 'large.ptx', '-o', 'a.json'], { env });
    expect(readFileSync(join(folder, 'a.json'), 'utf8')).toBe('before');
    // V8 ends the whole process, not the worker alone, when the allocation that fails is one large one.
    if (stderr.includes('FATAL ERROR: Reached heap limit')) return;
    expect(stderr).toContain('large.ptx: error GCR9003: a worker ran out of memory');
    expect(stderr).toContain('--max-old-space-size');
    expect(status).toBe(70);
    expect(files()).toEqual(['a.json', 'large.ptx']);
  });

  it('gives the summary as JSON with everything that a script needs', () => {
    const { status, stdout } = run(['build', BROKEN, UNKNOWN, EXACT, '--json', '-o', 'a.json']);
    expect(status).toBe(65);
    const report = JSON.parse(stdout) as Record<string, unknown>;
    expect(Object.keys(report).sort()).toEqual(
      'characters diagnostics kernels list missing modules output reads verdicts writes'.split(' '),
    );
    expect(report).toMatchObject({
      output: 'a.json',
      modules: 3,
      missing: [{ source: BROKEN, code: 'GCR2002' }],
      verdicts: { exact: 1, bounded: 0, allocation: 0, unknown: 2 },
    });
    expect(report['diagnostics']).toContainEqual(
      expect.objectContaining({ code: 'GCR2002', severity: 'error', source: BROKEN, line: 10, column: 20 }),
    );
  });

  it('writes null for the output when nothing was written', () => {
    const { status, stdout } = run(['build', 'nowhere.ptx', '--json']);
    expect(status).toBe(65);
    expect(JSON.parse(stdout)).toMatchObject({ output: null, kernels: 0, diagnostics: [{ code: 'GCR1001' }] });
    expect(files()).toEqual([]);
  });

  /** A build in the background, once its temporary file shows that it has begun. */
  async function begin(args: readonly string[], stdin: 'ignore' | 'pipe' = 'ignore') {
    const child: ChildProcess = spawn(process.execPath, [BIN, ...args], {
      cwd: folder,
      stdio: [stdin, 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr!.on('data', (chunk) => {
      stderr += chunk;
    });
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
    while (!files().some((name) => name.endsWith('.tmp'))) await new Promise((resolve) => setTimeout(resolve, 10));
    await new Promise((resolve) => setTimeout(resolve, 400));
    return {
      interrupt: async (signal: NodeJS.Signals) => {
        const asked = Date.now();
        child.kill(signal);
        const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
        const status = await ended;
        clearTimeout(timer);
        return { status, stderr, took: Date.now() - asked };
      },
    };
  }

  it.each([
    ['SIGINT', 'many kernels', 60, 2000, ['--jobs', '1']],
    ['SIGTERM', 'many kernels', 60, 2000, ['--jobs', '2']],
    ['SIGINT', 'one large kernel', 1, 60_000, []],
    ['SIGHUP', 'one large kernel', 1, 60_000, ['--jobs', '1']],
  ] as const)(
    'stops at %s with 130 amid %s, and leaves the output of before',
    async (signal, _, count, stores, jobs) => {
      writeFileSync(join(folder, 'long.ptx'), longText(count, stores));
      writeFileSync(join(folder, 'a.json'), 'before');
      const child = await begin(['build', 'long.ptx', '-o', 'a.json', ...jobs]);
      const { status, stderr, took } = await child.interrupt(signal);
      expect(status).toBe(130);
      expect(took).toBeLessThan(15_000);
      expect(stderr).toContain('interrupted');
      expect(readFileSync(join(folder, 'a.json'), 'utf8')).toBe('before');
      expect(files()).toEqual(['a.json', 'long.ptx']);
    },
  );

  it('stops while it waits for standard input', async () => {
    const child = await begin(['build', '-', '-o', 'a.json'], 'pipe');
    expect(await child.interrupt('SIGINT')).toMatchObject({ status: 130 });
    expect(files()).toEqual([]);
  });
});

describe('explain', () => {
  it('says what a kernel writes, from PTX and from a template file alike', () => {
    run(['build', EXACT]);
    const fromPtx = run(['explain', EXACT]);
    const fromFile = run(['explain', 'templates.json']);
    expect(fromPtx.status).toBe(0);
    expect(fromFile.stdout).toBe(fromPtx.stdout);
    expect(fromPtx.stdout).toContain('writes 4 bytes at out[4·i]');
    expect(fromPtx.stdout).toContain('if ctaid.x·ntid.x + tid.x < n');
    expect(fromPtx.stdout).toContain('line 27: st.global.u32  [exact]');
  });

  it('gives the same as JSON, reads too', () => {
    const { stdout } = run(['explain', join(IDEAS, 'index-loaded-word.ptx'), '--json', '--reads']);
    const { kernels } = JSON.parse(stdout) as { kernels: { writes: object[]; reads: object[] }[] };
    expect(kernels[0]!.writes[0]).toMatchObject({
      kind: 'store',
      verdict: 'allocation',
      reasons: [{ code: 'GCR4002' }],
    });
    expect(kernels[0]!.reads[0]).toMatchObject({ kind: 'load', verdict: 'exact' });
  });

  it('takes the kernels that are named, from template files too, and says when there is none', () => {
    run(['build', join(IDEAS, 'two-kernels.ptx')]);
    const { status, stdout } = run(['explain', 'templates.json', '--kernel', 'k_first']);
    expect(status).toBe(0);
    expect(stdout).toContain('k_first');
    expect(stdout).not.toContain('k_second');
    const none = run(['explain', 'templates.json', '--kernel', 'nobody']);
    expect(none.status).toBe(65);
    expect(none.stderr).toContain("GCR9004: no kernel is named 'nobody'");
  });

  it('lists a kernel that has no template, with the reason', () => {
    const { status, stdout } = run(['explain', BROKEN]);
    expect(status).toBe(65);
    expect(stdout).toMatch(/\[unknown\].*missing-comma\.ptx\n {2}no template: .*\(GCR2002\)/);
  });

  it.each([
    ['damaged', '{"format":"gcr-templates","version":1,"kernels":[', 'GCR4009'],
    ['of something else', '{"kernels":[]}', 'GCR4009'],
    ['newer', '{"format":"gcr-templates","version":999}', 'GCR4010'],
  ])('refuses a template file that is %s', (_, text, code) => {
    writeFileSync(join(folder, 'bad.json'), text);
    const { status, stderr } = run(['explain', 'bad.json']);
    expect(status).toBe(65);
    expect(stderr).toContain(code);
    expect(stderr).toContain('bad.json');
  });
});

describe('coverage', () => {
  it('finds a kernel that is in a template file alone, among other inputs', () => {
    run(['build', EXACT, '-o', 'a.json']);
    const { status, stderr } = run(['coverage', 'a.json', join(IDEAS, 'red-forms.ptx'), '--kernel', 'k_stride']);
    expect(stderr).toBe('');
    expect(status).toBe(0);
  });

  it('refuses a text of more modules than anybody has', () => {
    writeFileSync(join(folder, 'many.ptx'), '.version 8.0\n'.repeat(10_001));
    const { status, stderr } = run(['coverage', 'many.ptx']);
    expect(status).toBe(65);
    expect(stderr).toContain('GCR1009');
  });

  it('counts kernels and sites by verdict', () => {
    const { status, stdout } = run(['coverage', EXACT, UNKNOWN]);
    expect(status).toBe(3);
    expect(stdout).toMatch(/^k_stride +exact +1 +1 +- +- +- /m);
    expect(stdout).toMatch(/^GCR3001 +\d+$/m);
  });

  it('gives the same as JSON', () => {
    const { stdout } = run(['coverage', EXACT, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      byKernel: { exact: 1, bounded: 0, allocation: 0, unknown: 0 },
      bySite: { exact: 1 },
      kernels: [{ name: 'k_stride', verdict: 'exact' }],
    });
  });

  it('counts the same from a template file as from PTX, and several files together', () => {
    run(['build', EXACT, UNKNOWN]);
    run(['build', join(IDEAS, 'two-kernels.ptx'), '-o', 'two.json']);
    const counts = (...inputs: string[]) => {
      const { status, stdout } = run(['coverage', ...inputs, '--json']);
      return { status, ...(JSON.parse(stdout) as object) };
    };
    expect(counts('templates.json')).toEqual(counts(EXACT, UNKNOWN));
    expect(counts('templates.json', 'two.json')).toEqual(counts(EXACT, UNKNOWN, join(IDEAS, 'two-kernels.ptx')));
  });
});

describe('every command', () => {
  it.each(['build', 'explain', 'coverage', 'shadow'])('%s --help shows examples', (command) => {
    const { status, stdout } = run([command, '--help']);
    expect(status).toBe(0);
    expect(stdout).toContain('Examples:');
    expect(stdout).toContain(`gcr-templates ${command} `);
  });

  it('--help lists the exit codes, --version the version', () => {
    expect(run(['--help']).stdout).toContain('Exit codes:');
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect(run(['--version']).stdout.trim()).toBe(version);
  });

  it('does not mind a reader that goes away', () => {
    const command = `"${process.execPath}" "${BIN}" explain "${IDEAS}" --reads | head -n 1`;
    const { stdout, stderr } = spawnSync('bash', ['-c', command], { encoding: 'utf8', cwd: folder });
    expect(stdout.split('\n')).toHaveLength(2);
    expect(stderr).not.toContain('EPIPE');
    expect(stderr).not.toContain('internal error');
  });

  it.each([
    ['a template file', ['build', IDEAS, '-o', '-']],
    ['JSON', ['explain', IDEAS, '--json']],
  ])('does not mind a reader of %s that goes away', (_, args) => {
    const words = [process.execPath, BIN, ...args].map((word) => `'${word}'`).join(' ');
    const { stdout, stderr, status } = spawnSync(
      'bash',
      ['-c', `${words} 2>errors | head -c 10; exit \${PIPESTATUS[0]}`],
      { encoding: 'utf8', cwd: folder },
    );
    expect(status).not.toBe(70);
    expect(stdout).toHaveLength(10);
    expect(stderr + readFileSync(join(folder, 'errors'), 'utf8')).not.toMatch(/EPIPE|internal error| at /);
  });

  it('does not mind messages that nobody reads', () => {
    const invalid = join(ROOT, 'fixtures/ptx/invalid');
    const words = [process.execPath, BIN, 'build', invalid, '-o', 'a.json'].map((word) => `'${word}'`).join(' ');
    const { status } = spawnSync('bash', ['-c', `${words} 2>&1 >summary | head -c 1; exit \${PIPESTATUS[0]}`], {
      cwd: folder,
    });
    expect(status).toBe(65);
    expect(files()).toEqual(['a.json', 'summary']);
  });

  it('ends with 73 when its standard output is full', () => {
    if (!existsSync('/dev/full')) return;
    for (const args of [['explain'], ['coverage', '--json'], ['build', '-o', '-']]) {
      const words = [process.execPath, BIN, ...args, EXACT].map((word) => `'${word}'`).join(' ');
      const { status, stderr } = spawnSync('bash', ['-c', `${words} > /dev/full`], { encoding: 'utf8', cwd: folder });
      expect(status, args[0]).toBe(73);
      expect(stderr).toContain('GCR9002');
    }
  });

  it('follows no circle of links', () => {
    mkdirSync(join(folder, 'in/deeper'), { recursive: true });
    writeFileSync(join(folder, 'in/a.ptx'), readFileSync(EXACT));
    symlinkSync('../..', join(folder, 'in/deeper/up'));
    const { status, stdout } = run(['coverage', 'in', '--json']);
    expect(status).toBe(0);
    expect((JSON.parse(stdout) as { kernels: object[] }).kernels).toHaveLength(1);
  });
});
