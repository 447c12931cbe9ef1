/**
 * What one launch may write, from its template and what is known of memory: the one place that {@link ShadowExecutor} asks.
 * Here: thread by thread where that is possible, and whole allocations where only the pointers are known.
 *
 * Soundness. `unknown` stands for every allocation, and its descriptors for nothing. In every other answer each site that can
 * execute has its bytes among the descriptors: those of the threads, or the allocations of all its bases. The latter relies
 * on pointers staying in the allocation they were derived from, and is not used without `provenance`.
 */
import {
  type Base,
  countsAsWrite,
  type KernelTemplate,
  type Reason,
  type Site,
  type Verdict,
} from '../templates/index.js';
import type { Allocation, AllocationMap } from './allocations.js';
import { executeConcretely } from './concrete.js';
import { type AccessDescriptor, rangeDescriptor } from './descriptor.js';
import type { KnownMemory } from './known-memory.js';
import type { LaunchRecord } from './launch.js';

/** What a launch finds on the device. */
export interface LaunchEnvironment {
  /** Where the module's variables are, by name. */
  readonly symbols: ReadonlyMap<string, bigint>;
  readonly memory: KnownMemory;
  readonly allocations: AllocationMap;
  /** Whether pointers stay in what they were derived from. */
  readonly provenance: boolean;
}

export interface LaunchAnalysis {
  readonly verdict: Verdict;
  readonly reasons: readonly Reason[];
  /** All that may be written; of no meaning when the verdict is `unknown`. */
  readonly descriptors: readonly AccessDescriptor[];
}

const POINTER_BYTES = 8;
const hex = (address: bigint): string => `0x${address.toString(16)}`;
const unknown = (reasons: readonly Reason[]): LaunchAnalysis => ({ verdict: 'unknown', reasons, descriptors: [] });

/** The allocation a base points into; `none` when it names no global memory; in words why it is not known. */
function allocationOf(
  base: Base,
  template: KernelTemplate,
  launch: LaunchRecord,
  environment: LaunchEnvironment,
): Allocation | 'none' | { readonly why: string } {
  let pointer: bigint | undefined;
  if ('parameter' in base) {
    const { buffer, byteOffset, byteLength } = launch.parameters;
    if (base.parameter + POINTER_BYTES <= byteLength)
      pointer = new DataView(buffer, byteOffset, byteLength).getBigUint64(base.parameter, true);
  } else if ('object' in base) {
    const object = template.objects[base.object];
    if (object && object.space !== 'global') return 'none';
    pointer = environment.symbols.get(object?.name ?? '');
    if (pointer === undefined) return { why: `the place of variable ${object?.name} is not known` };
  } else if ('window' in base) {
    return 'none';
  }
  if (pointer === undefined) return { why: 'what the address is derived from is not known' };
  return environment.allocations.find(pointer) ?? { why: `${hex(pointer)} is in no known allocation` };
}

/**
 * Analyses one launch.
 *
 * @throws InputError GCR5001 when the launch does not fit the template
 */
export function analyseLaunch(
  template: KernelTemplate,
  launch: LaunchRecord,
  environment: LaunchEnvironment,
): LaunchAnalysis {
  const { verdict, ranges, reasons, unresolved } = executeConcretely(template, launch, {
    symbols: environment.symbols,
  });
  if (!environment.provenance) {
    const strayed = template.writes.filter((site) => !countsAsWrite(site));
    const message = 'a generic address is taken to stay in its memory only while provenance is relied on';
    const also = strayed.map(({ line, instruction }): Reason => ({ code: 'GCR4012', message, line, instruction }));
    if (also.length > 0 || unresolved.length > 0) return unknown([...reasons, ...also]);
  }
  if (unresolved.length === 0) return { verdict, reasons, descriptors: ranges.map(rangeDescriptor) };
  const whole = new Set<Allocation>();
  for (const site of unresolved) {
    const stop = addAllocations(site, whole, (base) => allocationOf(base, template, launch, environment));
    if (stop) return unknown([...reasons, stop]);
  }
  return { verdict: 'allocation', reasons, descriptors: [...ranges, ...whole].map(rangeDescriptor) };
}

/** Adds the allocations a site may write, or says why they are not known. */
function addAllocations(
  site: Site,
  whole: Set<Allocation>,
  find: (base: Base) => ReturnType<typeof allocationOf>,
): Reason | undefined {
  const reason = (code: Reason['code'], message: string): Reason => {
    return { code, message, line: site.line, instruction: site.instruction };
  };
  if (site.verdict === 'unknown' || site.bases.length === 0) return reason('GCR4012', 'where it writes is not known');
  for (const base of site.bases) {
    const found = find(base);
    if (found === 'none') continue;
    if ('why' in found) return reason('GCR5016', found.why);
    whole.add(found);
  }
  return undefined;
}
