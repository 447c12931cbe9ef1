import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { isEnding, isGone } from '../../src/runtime/process-tree.js';

it('knows processes that end from those that run and those that nobody remembers', async () => {
  // Whoever would take note of the first one's end has become a program that does not.
  const parent = spawn('sh', ['-c', 'sleep 0.2 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = await once(parent.stdout.setEncoding('utf8'), 'data');
    const child = Number(line);
    expect(isEnding(parent.pid!)).toBe(false);
    for (const end = Date.now() + 10_000; !isGone(child) && Date.now() < end; ) await sleep(10);
    expect(isEnding(child)).toBe(true);
    expect(isEnding(parent.pid!)).toBe(false);
  } finally {
    parent.kill('SIGKILL');
    await once(parent, 'exit');
  }
  expect(isEnding(parent.pid!)).toBe(false);
});
