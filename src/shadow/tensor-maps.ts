/**
 * Tensor maps (`CUtensorMap`): 128 bytes whose layout is the driver's own. What they were encoded from is told when they are encoded, and a
 * map that a launch uses is recognised by its bytes; one that nobody told means nothing.
 *
 * Soundness. Equal bytes are the same map to the device, whoever made them, so whatever was told of them holds. What is told of the tensor's
 * address and shape bounds what stores through the map may write: elements outside of the tensor are not written (PTX ISA 5.5.4), but for the rest
 * of the innermost dimension's last 16 bytes, which an H200 was seen to write (docs/support.md).
 */

/** Bytes of a map. */
export const TENSOR_MAP_BYTES = 128;
const MAX_RANK = 5;
/** Bytes that the device writes of a row at once. */
export const GRANULE = 16;
/** `CUtensorMapDataType`: bytes of an element; what comes behind has less than a byte each. */
const ELEMENT_BYTES = [1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4];
/** Beyond, sums of coordinates and steps would not be exact; coordinates have 32 bits. */
const MAX_SIZE = 2 ** 31;
const MAX_STRIDE = 2 ** 40;
/** Maps that are remembered; the one that was told or used longest ago goes. A program may encode one for each launch. */
const MAX_MAPS = 16_384;

/** A map as its program encoded it. */
export interface TensorMapRecord {
  readonly kind: 'tiled' | 'im2col';
  /** Of the tensor's first byte. */
  readonly address: bigint;
  /** Number of a `CUtensorMapDataType`. */
  readonly dataType: number;
  /** Elements of each dimension, innermost first. */
  readonly sizes: readonly bigint[];
  /** Bytes between neighbours, from the second dimension on. */
  readonly strides: readonly bigint[];
  /** Elements that a box spans in each dimension; empty for im2col. */
  readonly box: readonly number[];
  readonly elementStrides: readonly number[];
  /** Number of a `CUtensorMapInterleave`. */
  readonly interleave: number;
}

/** A dimension of a tensor, as stores go through it. */
export interface TensorDimension {
  /** Elements: what is written of the last 16 bytes counted. */
  readonly size: number;
  /** Bytes between neighbours. */
  readonly stride: number;
  /** Elements of a box, and how far they are apart. */
  readonly count: number;
  readonly step: number;
}

export interface TensorMap {
  readonly kind: TensorMapRecord['kind'];
  readonly address: bigint;
  readonly elementBytes: number;
  /** Innermost first; undefined where the layout is not followed (interleaved, elements of less than a byte): some place in its allocation. */
  readonly dimensions: readonly TensorDimension[] | undefined;
  /** The tensor's last row ends in the middle of what is written at once. */
  readonly isRagged: boolean;
}

function dimensionsOf(
  { kind, dataType, sizes, strides, box, elementStrides, interleave }: TensorMapRecord,
  elementBytes: number | undefined,
): readonly TensorDimension[] | undefined {
  const rank = sizes.length;
  if (elementBytes === undefined || interleave !== 0 || rank < 1 || rank > MAX_RANK) return undefined;
  if (strides.length !== rank - 1 || elementStrides.length !== rank) return undefined;
  if (kind === 'tiled' && box.length !== rank) return undefined;
  if (dataType >= ELEMENT_BYTES.length) return undefined;
  const dimensions: TensorDimension[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const size = sizes[axis]!;
    const stride = axis === 0 ? BigInt(elementBytes) : strides[axis - 1]!;
    // Without interleaving, the innermost dimension has no steps.
    const step = axis === 0 ? 1 : elementStrides[axis]!;
    const length = kind === 'tiled' ? box[axis]! : 1;
    if (size < 1n || size > BigInt(MAX_SIZE) || stride < 1n || stride > BigInt(MAX_STRIDE)) return undefined;
    if (step < 1 || length < 1) return undefined;
    const whole =
      axis === 0 ? (Math.ceil((Number(size) * elementBytes) / GRANULE) * GRANULE) / elementBytes : Number(size);
    dimensions.push({ size: whole, stride: Number(stride), count: Math.ceil(length / step), step });
  }
  return dimensions;
}

function tensorMapOf(record: TensorMapRecord): TensorMap {
  const elementBytes = ELEMENT_BYTES[record.dataType];
  const dimensions = dimensionsOf(record, elementBytes);
  const row = dimensions ? Number(record.sizes[0]) * elementBytes! : 0;
  return {
    kind: record.kind,
    address: record.address,
    elementBytes: elementBytes ?? 1,
    dimensions,
    isRagged: row % GRANULE !== 0,
  };
}

const keyOf = (content: Uint8Array): string =>
  Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString('latin1');

export class TensorMaps {
  /** By their bytes; the one that was told or used last comes last. */
  readonly #known = new Map<string, TensorMap>();
  #version = 0;

  /** @param limit maps that are remembered */
  constructor(readonly limit = MAX_MAPS) {}

  /** Grows when something is told. */
  get version(): number {
    return this.#version;
  }

  /** A map was encoded. @param content its bytes; of another length it is none */
  tell(content: Uint8Array, record: TensorMapRecord): void {
    this.#put(content, tensorMapOf(record));
  }

  /** A map was made from another with a new address. */
  move(from: Uint8Array, content: Uint8Array, address: bigint): void {
    const known = this.find(from);
    if (known) this.#put(content, { ...known, address });
    else this.#known.delete(keyOf(content));
  }

  #put(content: Uint8Array, map: TensorMap): void {
    if (content.length !== TENSOR_MAP_BYTES) return;
    const key = keyOf(content);
    this.#known.delete(key);
    this.#known.set(key, map);
    this.#version++;
    if (this.#known.size <= this.limit) return;
    const [oldest] = this.#known.keys();
    this.#known.delete(oldest!);
  }

  /** What a map means; undefined when nobody told. */
  find(content: Uint8Array): TensorMap | undefined {
    const key = keyOf(content);
    const map = this.#known.get(key);
    if (!map) return undefined;
    this.#known.delete(key);
    this.#known.set(key, map);
    return map;
  }
}
