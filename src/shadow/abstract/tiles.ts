/**
 * Boxes of a tensor that are written through its map: which elements, as forms over the domain, which is narrowed to what lies inside of the
 * tensor.
 *
 * Soundness. An element is written if every coordinate of it is inside of the tensor; coordinates are narrowed by nothing else. The device
 * writes rows in pieces of 16 bytes, so a box that may begin in the middle of one reaches to both sides of it.
 */
import { GRANULE, type TensorDimension, type TensorMap } from '../tensor-maps.js';
import type { Domain } from './domain.js';
import { addForms, addNumber, atomForm, constantForm, type Form, scaleForm } from './form.js';

export interface BoxInTensor {
  /** The element's place in each dimension. */
  readonly places: readonly Form[];
  /** Every place is written. */
  readonly isExact: boolean;
}

const isMultiple = ({ constant, coefs }: Form, unit: number): boolean =>
  constant % unit === 0 && coefs.every((coefficient) => coefficient % unit === 0);

/** A number from `low` to `high`. */
const between = (domain: Domain, low: number, high: number): Form =>
  low === high ? constantForm(low) : addNumber(atomForm(domain.atom(0, high - low)), low)!;

/**
 * The part of a box inside of the tensor. Changes the domain.
 *
 * @param corner the box's first element, as signed numbers
 */
export function boxInTensor(
  domain: Domain,
  { elementBytes, isRagged }: TensorMap,
  dimensions: readonly TensorDimension[],
  corner: readonly Form[],
): BoxInTensor | 'outside' | 'unknown' {
  const places: Form[] = [];
  let isExact = !isRagged;
  for (const [axis, { size, count, step }] of dimensions.entries()) {
    const first = corner[axis]!;
    const unit = axis === 0 ? GRANULE / elementBytes : 1;
    const slack = isMultiple(first, unit) ? 0 : unit - 1;
    if (slack > 0) isExact = false;
    const offsets = between(domain, -slack, count - 1 + slack);
    const place = addForms(first, offsets, step, 64);
    const opposite = place && scaleForm(place, -1, 64);
    const rest = opposite && addNumber(opposite, size - 1);
    if (!place || place.isLarge || !rest) return 'unknown';
    if (!domain.assumeNonNegative(place) || !domain.assumeNonNegative(rest)) return 'outside';
    places.push(place);
  }
  return { places, isExact };
}

/** Any element of the tensor. */
export function wholeTensor(domain: Domain, dimensions: readonly TensorDimension[]): BoxInTensor {
  return { places: dimensions.map(({ size }) => between(domain, 0, size - 1)), isExact: false };
}

/** Any place of one dimension between the least and the greatest that a form takes; undefined when none of them is inside of the tensor. */
export function spanOf(domain: Domain, place: Form, { size }: TensorDimension): Form | undefined {
  const low = domain.low(place);
  const high = domain.high(place);
  const least = Number.isFinite(low) ? Math.max(0, low) : 0;
  const most = Number.isFinite(high) ? Math.min(size - 1, high) : size - 1;
  return least <= most ? between(domain, least, most) : undefined;
}
