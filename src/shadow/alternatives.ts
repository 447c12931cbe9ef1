/**
 * One answer from several templates of which one is true, because it is not known which of an image's texts the code that runs was
 * compiled from: what any of them says may have been written.
 */
import { type Reason, worseVerdict } from '../templates/index.js';
import type { AccessDescriptor } from './descriptor.js';
import { DirtySet } from './dirty-set.js';

function isSame(a: AccessDescriptor, b: AccessDescriptor): boolean {
  return (
    a.start === b.start &&
    a.width === b.width &&
    a.dimensions.length === b.dimensions.length &&
    a.dimensions.every(({ stride, count }, i) => stride === b.dimensions[i]!.stride && count === b.dimensions[i]!.count)
  );
}

const areSame = (a: readonly AccessDescriptor[], b: readonly AccessDescriptor[]): boolean =>
  a === b || (a.length === b.length && a.every((descriptor, i) => isSame(descriptor, b[i]!)));

const NOT_KNOWN: Reason = {
  code: 'GCR5019',
  message: 'texts for several targets write different places',
  line: 0,
  instruction: '',
};

/** Remembers: the same answers give the same object, which everybody who was given it knows again. */
export class Alternatives {
  readonly #known = new WeakMap<DirtySet, { readonly sets: readonly DirtySet[]; readonly set: DirtySet }>();

  /** @param sets at least one */
  join(sets: readonly DirtySet[]): DirtySet {
    const first = sets[0]!;
    const known = this.#known.get(first);
    if (known && known.sets.length === sets.length && known.sets.every((set, i) => set === sets[i])) return known.set;
    const set = joined(sets);
    this.#known.set(first, { sets, set });
    return set;
  }
}

function joined(sets: readonly DirtySet[]): DirtySet {
  const verdict = sets.map((set) => set.verdict).reduce(worseVerdict);
  const worst = sets.find((set) => set.verdict === verdict)!;
  if (verdict === 'unknown' || sets.every((set) => areSame(set.descriptors, worst.descriptors))) return worst;
  const reasons = [...new Set([NOT_KNOWN, ...sets.flatMap((set) => set.reasons)])];
  const descriptors = sets.flatMap((set) => set.descriptors);
  return new DirtySet(worseVerdict(verdict, 'bounded'), reasons, descriptors);
}
