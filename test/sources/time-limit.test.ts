import { describe, expect, it } from 'vitest';
import { withinTime } from '../../src/sources/time-limit.js';

describe('withinTime', () => {
  it('runs what ends in time, and passes on what it throws', () => {
    let ran = 0;
    withinTime(() => {
      ran++;
    }, 1000);
    expect(ran).toBe(1);
    expect(() =>
      withinTime(() => {
        throw new TypeError('its own');
      }, 1000),
    ).toThrow('its own');
  });

  it('ends what does not', () => {
    let turns = 0;
    const start = performance.now();
    expect(() =>
      withinTime(() => {
        for (;;) turns++;
      }, 500),
    ).toThrow(expect.objectContaining({ code: 'ERR_SCRIPT_EXECUTION_TIMEOUT' }));
    expect(turns).toBeGreaterThan(0);
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});
