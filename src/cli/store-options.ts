/** What the commands of a store share: how one is opened, and how things of it are named and printed. */
import { InvalidArgumentError } from 'commander';
import { type Allocation, type Manifest, Store } from '../checkpoint/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';

export type Finish = (run: (signal: AbortSignal) => Promise<ExitCode>) => Promise<void>;

/** The help of arguments that name a checkpoint. */
export const CHECKPOINT_HELP = 'the beginning of an id, latest, or latest~N for the Nth before it';

/** Runs something with a store that is open. */
export async function withStore<T>(directory: string, run: (store: Store) => Promise<T>, create = false): Promise<T> {
  const store = await Store.open({ directory }, { create });
  try {
    return await run(store);
  } finally {
    store.close();
  }
}

/** A count that an option takes. */
export function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 0 || count > 1e9) throw new InvalidArgumentError('give a whole number.');
  return count;
}

/** Prints one JSON value on a line; 64-bit numbers become strings, addresses hexadecimal. */
export function printJson(value: unknown): ExitCode {
  const text = JSON.stringify(value, (key, item: unknown) => {
    if (typeof item !== 'bigint') return item;
    return key === 'address' ? hexAddress(item) : String(item);
  });
  process.stdout.write(`${text}\n`);
  return EXIT.ok;
}

export const hexAddress = (address: bigint): string => `0x${address.toString(16)}`;

/** Text from a store on a terminal: control characters must not reach it. */
export function printable(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, '·');
}

/** The first digits of an id, enough to be unique among some thousand. */
export const shortId = (id: string): string => id.slice(0, 12);

/** `2026-11-21 12:00:00`, UTC. */
export const timeText = (created: string): string => new Date(created).toISOString().slice(0, 19).replace('T', ' ');

/** How an allocation is called in tables. */
export function allocationName({ label, address }: Allocation): string {
  return label === '' ? hexAddress(address) : printable(label);
}

/** `1 chunk`, `2 chunks`. */
export const counted = (count: number, thing: string): string => `${count} ${thing}${count === 1 ? '' : 's'}`;

/** Shares of chunks that changed, the most uncertain first; nothing for origins without any. */
export function originText({ origins }: Pick<Manifest, 'origins'>): string {
  const total = Object.values(origins).reduce((sum, count) => sum + count, 0);
  return Object.entries(origins)
    .filter(([, count]) => count > 0)
    .map(([origin, count]) => `${origin === 'none' ? 'not said' : origin} ${((100 * count) / total).toFixed(0)} %`)
    .join(', ');
}
