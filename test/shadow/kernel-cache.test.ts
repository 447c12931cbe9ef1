/** Results of launches are found again by exactly what they depend on, however many there are. */
import { describe, expect, it } from 'vitest';
import { KernelCache } from '../../src/shadow/kernel-cache.js';

/** Four words: a number, a pointer of two, a number. */
function launch(numbers: readonly [number, number, number, number], blocks = 1) {
  const parameters = new Uint8Array(Int32Array.from(numbers).buffer);
  return { kernel: 'k', grid: [blocks, 1, 1] as const, block: [32, 1, 1] as const, parameters };
}

/** Many keys that differ in a bit or two. */
const launches = Array.from({ length: 3000 }, (_, index) =>
  launch([index % 7, (index * 0x10001) | 0, index & 1 ? -1 : 0x7fff, (index % 3) << 30], 1 + (index % 5)),
);

function filled(words: readonly number[], pointers: readonly number[]) {
  const cache = new KernelCache<string, number>(16);
  cache.dependOn(Uint8Array.from(words), pointers);
  return cache;
}

describe('results of launches', () => {
  it('are found by geometry and words, with pointers and without', () => {
    const cache = filled([1, 0, 0, 1], [4]);
    const inner = new Map<string, string>();
    const outer = new Map<string, number>();
    for (const [index, one] of launches.entries()) {
      const words = new Int32Array(one.parameters.buffer);
      const innerKey = `${one.grid[0]} ${words[0]} ${words[3]}`;
      const outerKey = `${innerKey} ${words[1]} ${words[2]}`;
      cache.select(one);
      expect(cache.inner).toBe(inner.get(innerKey));
      expect(cache.outer).toBe(outer.get(outerKey));
      cache.storeInner(`${index}`);
      cache.storeOuter(index, false);
      inner.set(innerKey, `${index}`);
      outer.set(outerKey, index);
    }
    expect(inner.size).toBeLessThan(outer.size);
    for (const one of launches) {
      const words = new Int32Array(one.parameters.buffer);
      cache.select(one);
      expect(cache.inner).toBe(inner.get(`${one.grid[0]} ${words[0]} ${words[3]}`));
      expect(cache.outer).toBe(outer.get(`${one.grid[0]} ${words[0]} ${words[3]} ${words[1]} ${words[2]}`));
    }
  });

  it('that are quickly made are kept while they are the last, and from the second time on', () => {
    const cache = filled([1, 0, 0, 1], [4]);
    const [one, other] = [launch([1, 2, 3, 4]), launch([1, 5, 3, 4])];
    const ask = (what: typeof one) => {
      cache.select(what);
      return cache.outer;
    };
    expect(ask(one)).toBeUndefined();
    cache.storeOuter(1, true);
    expect(ask(one)).toBe(1);
    expect(ask(other)).toBeUndefined();
    cache.storeOuter(2, true);
    expect([ask(one), ask(other)]).toEqual([undefined, 2]);
    ask(one);
    cache.storeOuter(3, true);
    expect([ask(other), ask(one)]).toEqual([2, 3]);
    cache.dependOn(Uint8Array.from([1, 1, 0, 1]), []);
    expect([ask(one), ask(other)]).toEqual([undefined, undefined]);
  });

  it('are told apart by sizes that no word holds', () => {
    const cache = filled([], []);
    cache.select(launch([0, 0, 0, 0], 1));
    cache.storeInner('small');
    cache.select(launch([0, 0, 0, 0], 1 + 2 ** 32));
    expect(cache.inner).toBeUndefined();
  });

  it('are gone once an analysis looks at another word, and when there are too many', () => {
    const cache = filled([1, 0, 0, 0], []);
    const [one] = launches;
    cache.select(one!);
    cache.storeInner('one');
    cache.storeOuter(1, false);
    expect(cache.dependOn(Uint8Array.from([1, 0, 0, 0]), [])).toBe(false);
    expect(cache.dependOn(Uint8Array.from([1, 0, 0, 1]), [])).toBe(true);
    cache.select(one!);
    expect([cache.inner, cache.outer]).toEqual([undefined, undefined]);
    cache.storeInner('one');
    for (let number = 1; number <= 10_000; number++) {
      cache.select(launch([number, 0, 0, 0]));
      cache.storeInner(`${number}`);
    }
    expect(cache.inner).toBe('10000');
    cache.select(one!);
    expect(cache.inner).toBeUndefined();
  });
});
