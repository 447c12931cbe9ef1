/**
 * What calls of documented libraries may write, as the recorder tells it from its table of contracts: outputs and workspaces of the call, and all
 * memory that the library allocated for itself. It answers for launches inside of such a call that nothing else is known of.
 *
 * Sound as far as the library keeps to its documentation, which `checkpoint --verify` checks as it checks templates.
 */
import { type AccessDescriptor, type AllocationMap, DirtySet, rangeDescriptor } from '../shadow/index.js';
import { type CallDescription, type CallEvent, extentOf, type Place } from './events.js';

/** What a call may write. */
export interface LibraryCall {
  /** The entry point. */
  readonly name: string;
  readonly description: CallDescription;
  /** For allocations of this epoch. */
  epoch: number;
  set: DirtySet | undefined;
}

interface Owned {
  readonly address: bigint;
  readonly size: number;
}

export class LibraryCalls {
  /** By number: the last call that a thread of the application told. */
  readonly #current = new Map<number, LibraryCall>();
  /** The same call again is the same answer, which is added up once. */
  readonly #known = new WeakMap<CallDescription, LibraryCall>();
  readonly #owned = new Map<number, Set<Owned>>();

  /** A library allocated memory for itself. */
  allocated(family: number, memory: Owned): void {
    const owned = this.#owned.get(family) ?? new Set();
    this.#owned.set(family, owned.add(memory));
  }

  freed(memory: Owned): void {
    for (const owned of this.#owned.values()) owned.delete(memory);
  }

  call(event: CallEvent): void {
    this.#current.set(event.body.call, this.of(event));
  }

  /** The call that a launch was made in; undefined outside of all. */
  at(number: number): LibraryCall | undefined {
    return number === 0 ? undefined : this.#current.get(number);
  }

  of({ body: { description } }: CallEvent): LibraryCall {
    let call = this.#known.get(description);
    if (!call) {
      call = { name: description.name, description, epoch: -1, set: undefined };
      this.#known.set(description, call);
    }
    return call;
  }

  /** What a launch in the call may write. */
  writes(call: LibraryCall, allocations: AllocationMap): DirtySet {
    if (call.set && call.epoch === allocations.epoch) return call.set;
    // An output in host memory (a scalar result) is in no allocation.
    const { outputs: places, family } = call.description;
    const outputs = places.filter(({ address }) => allocations.find(address)).flatMap(descriptorsOf);
    const own = [...(this.#owned.get(family) ?? [])].map(({ address, size }) =>
      rangeDescriptor({ from: address, to: address + BigInt(size) }),
    );
    const message = `outputs as ${call.name} documents them`;
    const reason = { code: 'GCR5018', message, line: 0, instruction: '' } as const;
    call.set = new DirtySet('bounded', [reason], [...outputs, ...own]);
    call.epoch = allocations.epoch;
    return call.set;
  }
}

/** The rows that something writes, as access descriptors. */
export function descriptorsOf(at: Place): readonly AccessDescriptor[] {
  if (extentOf(at) === 0n) return [];
  const { address, width, pitch, height, slicePitch, depth } = at;
  const dimensions = [
    { stride: pitch, count: height },
    { stride: slicePitch, count: depth },
  ].filter(({ count, stride }) => count > 1 && stride > 0);
  return [{ start: address, width, dimensions }];
}
