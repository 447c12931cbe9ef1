/**
 * Values at disjoint ranges of addresses, ordered, in O(log n): what the map of allocations and the known content of memory
 * are both built on. It keeps no rule but the order; its users see to it that ranges are disjoint.
 */
import { createRequire } from 'node:module';
import type { AddressRange } from './ranges.js';

// A CommonJS package with a default export, which loaders and bundlers disagree on; `require` means the same everywhere.
const { default: BTree } = createRequire(import.meta.url)('sorted-btree') as typeof import('sorted-btree');

const compare = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);

export class IntervalMap<T extends AddressRange> {
  readonly #tree = new BTree<bigint, T>(undefined, compare);

  get size(): number {
    return this.#tree.size;
  }

  /** Puts a value at its own range, which overlaps no other. */
  insert(value: T): void {
    this.#tree.set(value.from, value);
  }

  remove(value: T): void {
    this.#tree.delete(value.from);
  }

  clear(): void {
    this.#tree.clear();
  }

  /** The value that starts at an address. */
  at(from: bigint): T | undefined {
    return this.#tree.get(from);
  }

  /** The value whose range holds an address. */
  find(address: bigint): T | undefined {
    const value = this.#tree.getPairOrNextLower(address)?.[1];
    return value !== undefined && address < value.to ? value : undefined;
  }

  /** The first value that overlaps `[from, to)`. */
  first(from: bigint, to: bigint): T | undefined {
    if (to <= from) return undefined;
    const holding = this.find(from);
    if (holding) return holding;
    const next = this.#tree.nextHigherPair(from)?.[1];
    return next !== undefined && next.from < to ? next : undefined;
  }

  /** All values that overlap `[from, to)`, in order. */
  overlapping(from: bigint, to: bigint): T[] {
    const found: T[] = [];
    if (to <= from) return found;
    const holding = this.find(from);
    if (holding && holding.from < from) found.push(holding);
    this.#tree.forRange(from, to, false, (_, value) => {
      found.push(value);
    });
    return found;
  }

  /** All values, in order. */
  all(): T[] {
    return this.#tree.valuesArray();
  }

  /** All values as they are now, in order, found when they are asked for. Costs nothing until then. */
  snapshot(): () => T[] {
    const tree = this.#tree.clone();
    return () => tree.valuesArray();
  }
}
