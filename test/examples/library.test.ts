/** The examples run and print what their text promises. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

it('examples/library.mjs prints what kernels write, and the bytes of a launch', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, 'examples/library.mjs')], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  const lines = stdout.split('\n');
  expect(lines[0]).toBe('k_stride: exact');
  expect(lines[1]).toMatch(/^ {2}4 bytes at out\[4·i\] if .* < n for i from .* in steps of nctaid\.x·ntid\.x/);
  expect(lines).toContain('k_second: unknown');
  expect(stdout).toMatch(/^ {2}GCR4002: offset depends on what ld\.global\.u32 reads/m);
  expect(stdout.trimEnd().split('\n').slice(-2)).toEqual([
    'launch of k_stride with 4 × 64 threads and n = 1000: exact',
    '  0x7f0000000000 … 0x7f0000000fa0: 4000 bytes',
  ]);
});

it('examples/library.mjs says what is wrong with a file of the user', () => {
  const broken = join(ROOT, 'fixtures/ptx/invalid/missing-comma.ptx');
  const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'examples/library.mjs'), broken], {
    encoding: 'utf8',
  });
  expect(status).toBe(0);
  expect(stderr).toContain('missing-comma.ptx:10:20: error GCR2002');
});
