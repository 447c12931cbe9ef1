/**
 * Checkpoints in host memory: an image has a slot for each chunk that is not zero, and the names of all of them. An increment uses its parent's slots for
 * what has not changed, so each image is whole, whichever others are dropped. Images live as long as the process that they are of is supervised.
 */
import { randomBytes } from 'node:crypto';
import { type Allocation, CHUNK_BYTES } from '../checkpoint/index.js';
import type { NameTable } from './chain.js';
import { RuntimeError } from './errors.js';
import type { HostMemory } from './host-memory.js';
import type { SupervisedProcess } from './process.js';
import type { Saved } from './sink.js';

/** One allocation of an image, and where its chunks are in the image's row. */
export interface ImagePart {
  readonly allocation: Allocation;
  readonly number: number;
  readonly first: number;
  readonly count: number;
}

export interface HostImage {
  readonly id: string;
  /** Whose memory it is. */
  readonly owner: object;
  readonly saved: Saved;
  readonly parts: readonly ImagePart[];
  /** The slot of each chunk; NO_SLOT for one of zeros. */
  readonly slots: Uint32Array;
  readonly table: NameTable;
}

/** What is told of an image. */
export interface ImageStatus {
  readonly id: string;
  readonly created: string;
  readonly parent: string | null;
  readonly kind: Saved['kind'];
  /** Of the memory that it holds. */
  readonly bytes: number;
  /** Bytes that dropping it frees. */
  readonly ownBytes: number;
  /** Bytes that it shares with other images. */
  readonly sharedBytes: number;
  readonly note?: string;
}

export class HostImages {
  readonly #images = new Map<string, HostImage>();

  constructor(readonly memory: HostMemory) {}

  newId(): string {
    return randomBytes(8).toString('hex');
  }

  /** Takes an image over; each of its slots counts it as a user already. */
  add(image: HostImage): void {
    this.#images.set(image.id, image);
  }

  get(id: string): HostImage | undefined {
    return this.#images.get(id);
  }

  /** Images of a process, the oldest first. */
  of(owner: object): HostImage[] {
    return [...this.#images.values()].filter((image) => image.owner === owner);
  }

  /** The image of a process whose id begins so, if there is exactly one. */
  find(owner: object, beginning: string): HostImage | undefined {
    const found = this.of(owner).filter(({ id }) => id.startsWith(beginning));
    return found.length === 1 ? found[0] : undefined;
  }

  /** @returns bytes that are free now */
  drop(image: HostImage): number {
    if (!this.#images.delete(image.id)) return 0;
    const before = this.memory.freeSlots;
    this.memory.drop(image.slots);
    return (this.memory.freeSlots - before) * CHUNK_BYTES;
  }

  dropAll(owner: object): void {
    for (const image of this.of(owner)) this.drop(image);
  }

  status(owner: object): ImageStatus[] {
    return this.of(owner).map(({ id, saved, slots }) => {
      const { own, shared } = this.memory.usage(slots);
      return {
        id,
        created: saved.created,
        parent: saved.parent,
        kind: saved.kind,
        bytes: saved.allocations.bytes,
        ownBytes: own * CHUNK_BYTES,
        sharedBytes: shared * CHUNK_BYTES,
        ...(saved.note !== undefined && { note: saved.note }),
      };
    });
  }
}

/** What became free. */
export interface DropResult {
  readonly id: string;
  readonly bytes: number;
}

/**
 * Gives up a checkpoint in memory; the others are as they were.
 *
 * @param name the beginning of its id
 * @throws RuntimeError GCR7011 when there is none, GCR8116 when it holds the memory of a suspended process
 */
export function dropImage(process: SupervisedProcess, name: string): DropResult {
  const image = process.hostImages.find(process, name);
  const hint = '`gcr-templates status` shows them; checkpoints in the store are removed by `gcr-templates prune`';
  if (!image) {
    const message = `no one checkpoint of process ${process.pid} in host memory begins with ${JSON.stringify(name)}`;
    throw new RuntimeError('not-found', 'GCR7011', message, hint);
  }
  if (process.suspendedAs?.id === image.id)
    throw new RuntimeError(
      'refused',
      'GCR8116',
      `checkpoint ${image.id} holds all memory of process ${process.pid}, which is suspended`,
      'resume it first',
    );
  return { id: image.id, bytes: process.hostImages.drop(image) };
}
