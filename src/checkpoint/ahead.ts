/** Work in flight, bounded: what makes reading and writing parallel without holding a checkpoint in memory. */

/**
 * Results of `run` over `items`, in order, with at most `window` of them under way or waiting to be taken. When one fails,
 * or the consumer leaves, the others are waited for before the generator ends: no buffer is in use afterwards.
 */
export async function* mapAhead<T, R>(
  items: Iterable<T>,
  window: number,
  run: (item: T) => Promise<R>,
): AsyncGenerator<R, void, undefined> {
  const iterator = items[Symbol.iterator]();
  const started: Promise<R>[] = [];
  const start = () => {
    const { done, value } = iterator.next();
    if (done) return;
    const result = run(value);
    // Looked at when its turn comes; until then a failure is nobody's unhandled rejection.
    result.catch(() => {});
    started.push(result);
  };
  try {
    while (started.length < window) {
      const before = started.length;
      start();
      if (started.length === before) break;
    }
    for (let next = started.shift(); next; next = started.shift()) {
      const result = await next;
      yield result;
      start();
    }
  } finally {
    await Promise.allSettled(started);
  }
}
