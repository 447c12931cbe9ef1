/**
 * Kernels made to be expensive: each is built or given up within seconds, in a process whose heap is limited. Times are
 * the processor's.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const BIN = join(import.meta.dirname, '../../bin/gcr-templates.js');
const HEAD = '.version 8.0\n.target sm_80\n.address_size 64\n';
const LIMIT_MS = 30_000;
/** Has a process say at its end, on its last line of standard error, how many milliseconds of processor time it took. */
const TELL_TIME = `data:text/javascript,${encodeURIComponent(`import { writeSync } from 'node:fs';
  process.on('exit', () => writeSync(2, '\\n' + (process.cpuUsage().user + process.cpuUsage().system) / 1000));`)}`;

const list = (count: number, make: (index: number) => string, separator = '\n') =>
  Array.from({ length: count }, (_, index) => make(index)).join(separator);
const kernel = (body: string) =>
  `.entry k(.param .u64 o)\n{\n.reg .pred %p<3>; .reg .b32 %r<2001>; .reg .b64 %rd<9>;\nld.param.u64 %rd1, [o]; mov.u32 %r1, %tid.x;\n${body}\nret;\n}\n`;
const CALL = (callee: string) => `{ .param .b64 p; st.param.b64 [p], %rd1; call ${callee}, (p); }`;
const callee = (name: string, body: string) =>
  `.func ${name}(.param .b64 a)\n{\n.reg .b64 %rd<3>;\nld.param.u64 %rd1, [a];\n${body}\nret;\n}\n`;

/** Name, text, verdict expected. */
const CASES: readonly (readonly [string, () => string, string])[] = [
  [
    'calls that double at each of forty levels',
    () =>
      HEAD +
      callee('f40', 'st.global.u32 [%rd1], 1;') +
      list(40, (i) => callee(`f${39 - i}`, CALL(`f${40 - i}`) + CALL(`f${40 - i}`))) +
      kernel(CALL('f0')),
    'unknown',
  ],
  [
    'two thousand registers live over two thousand blocks',
    () =>
      HEAD +
      kernel(
        list(2000, (i) => `mov.u32 %r${i}, ${i};`) +
          list(
            2000,
            (i) =>
              `L${i}: add.u32 %r${i}, %r${(i * 7) % 2000}, 1; setp.eq.u32 %p1, %r${i}, ${i}; @%p1 bra L${(i * 31) % 2000};`,
          ) +
          list(2000, (i) => `st.global.u32 [%rd1+${4 * i}], %r${i};`),
      ),
    'unknown',
  ],
  [
    'four thousand slots of local memory over three thousand blocks',
    () =>
      HEAD +
      kernel(
        `.local .align 8 .b8 d[65536]; mov.u64 %rd2, d; cvta.local.u64 %rd3, %rd2;` +
          list(
            3000,
            (i) =>
              `M${i}: st.u64 [%rd3+${8 * i}], %rd1; ld.u64 %rd4, [%rd3+${8 * ((i * 7) % 3000)}]; st.u32 [%rd4], 2; setp.eq.u32 %p1, %r1, ${i}; @%p1 bra M${(i * 31) % 3000};`,
          ),
      ),
    'unknown',
  ],
  [
    'a chain of three hundred thousand operations',
    () =>
      HEAD +
      kernel(
        `mov.u32 %r2, %r1;${list(150_000, () => 'xor.b32 %r1, %r1, %r2; shr.u32 %r2, %r1, 1;')}mul.wide.u32 %rd2, %r1, 4; add.s64 %rd1, %rd1, %rd2; st.global.u32 [%rd1], 1;`,
      ),
    'exact',
  ],
  [
    'three thousand nested loops',
    () =>
      HEAD +
      kernel(
        `${list(3000, (i) => `L${i}: add.u32 %r1, %r1, 1;`)}st.global.u32 [%rd1], %r1;${list(3000, (i) => `setp.lt.u32 %p1, %r1, ${i}; @%p1 bra L${2999 - i};`)}`,
      ),
    'exact',
  ],
  [
    'a table of five thousand targets',
    () =>
      HEAD +
      kernel(
        `t: .branchtargets ${list(5000, (i) => `T${i}`, ',')}; brx.idx %r1, t;${list(5000, (i) => `T${i}: st.global.u32 [%rd1+${4 * i}], 1;`)}`,
      ),
    'exact',
  ],
  [
    'a hundred indirect calls to three hundred functions',
    () =>
      HEAD +
      list(300, (i) => callee(`g${i}`, `st.global.u32 [%rd1+${i}], 1;`)) +
      kernel(
        `${list(300, (i) => `mov.u64 %rd3, g${i};`)}ld.global.u64 %rd3, [%rd1];${list(100, (i) => `{ .param .b64 p; st.param.b64 [p], %rd1; q${i}: .callprototype _ (.param .b64 _); call %rd3, (p), q${i}; }`)}`,
      ),
    'unknown',
  ],
  ['aliases in a circle', () => `${HEAD}.func a; .func b; .alias a, b; .alias b, a;\n${kernel('call a;')}`, 'unknown'],
  ['a loop without an end', () => HEAD + kernel('L: st.global.u32 [%rd1], %r1; add.u32 %r1, %r1, 1; bra L;'), 'exact'],
  ['a loop without an end or anything in it', () => HEAD + kernel('L: bra L;'), 'exact'],
  [
    'a circle that is entered at two places',
    () =>
      HEAD +
      kernel(
        'setp.eq.u32 %p1, %r1, 0; @%p1 bra B; A: st.global.u32 [%rd1], 1; B: add.u32 %r1, %r1, 1; setp.lt.u32 %p2, %r1, 9; @%p2 bra A;',
      ),
    'exact',
  ],
];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-adversarial-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('kernels made to be expensive', () => {
  it.each(CASES)('%s', (_, make, verdict) => {
    writeFileSync(join(folder, 'k.ptx'), make());
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [
        '--max-old-space-size=1400',
        '--import',
        TELL_TIME,
        BIN,
        'build',
        join(folder, 'k.ptx'),
        '-o',
        join(folder, 'k.json'),
        '--jobs',
        '1',
        '--json',
      ],
      { encoding: 'utf8', timeout: 170_000, killSignal: 'SIGKILL', maxBuffer: 1 << 28 },
    );
    expect(status, stderr).toBe(verdict === 'unknown' ? 3 : 0);
    expect(Number(stderr.slice(stderr.lastIndexOf('\n')))).toBeLessThan(LIMIT_MS);
    const { verdicts } = JSON.parse(stdout) as { verdicts: Record<string, number> };
    expect(verdicts[verdict]).toBe(1);
  });
});
