/**
 * Shadow execution, thread by thread: runs a template's slice for every thread of a launch and collects the addresses its
 * write sites touch. Exact where it answers; where a value is needed that the launch does not determine (content of
 * memory, another thread's register, an approximated function), it says so and answers with the verdict that is left. Meant for small launches and
 * as the reference that faster ways are checked against.
 *
 * Soundness. A thread follows a branch only on a known condition; an unknown one ends the execution with `unknown`. A site
 * whose address, length or guard is not known is never given ranges: its verdict goes into the result instead.
 */
import { type Diagnostic, InputError } from '../diagnostics/index.js';
import {
  countsAsWrite,
  evaluateFloat,
  evaluateInteger,
  type FloatMode,
  type FloatOperation,
  isFloatOperation,
  isIntegerOperation,
  type KernelTemplate,
  type Reason,
  type Site,
  type SliceValue,
  type Verdict,
  worseVerdict,
} from '../templates/index.js';
import type { LaunchRecord } from './launch.js';
import { type AddressRange, RangeCollector } from './ranges.js';

export interface ConcreteOptions {
  /** Where module variables are, by name. A variable without a place makes what depends on it unknown. */
  readonly symbols?: ReadonlyMap<string, bigint>;
  /** Launches of more threads are not executed (GCR5002). Default 65,536. */
  readonly maxThreads?: number;
  /** Steps (blocks entered) of one thread before it is given up. Default 1,000,000. */
  readonly maxSteps?: number;
}

export interface ConcreteResult {
  /**
   * `exact`: `ranges` is precisely what the launch's write sites touch. `bounded` with GCR5003 alone: a superset. Otherwise
   * ranges are incomplete.
   */
  readonly verdict: Verdict;
  readonly ranges: readonly AddressRange[];
  readonly reasons: readonly Reason[];
  /** Sites that `ranges` says nothing of, or not all. */
  readonly unresolved: readonly Site[];
}

const MAX_THREADS = 1 << 16;
const MAX_STEPS = 1_000_000;
/** Threads of a warp (PTX ISA 10.3). */
export const WARP = 32;
/** Rows of a matrix fragment start at multiples of this many bytes. */
export const ROW_ALIGNMENT = 16;

/** Functions that PTX gives within an error only, whatever the modifiers. */
const APPROXIMATED: ReadonlySet<FloatOperation> = new Set([
  'floatReciprocalSquareRoot',
  'floatSine',
  'floatCosine',
  'floatLog2',
  'floatExp2',
  'floatTanh',
]);

/** Whether an operation's result is defined to the bit; what the hardware approximates, it approximates in its own way. */
export function isExactFloat(op: FloatOperation, mode: FloatMode): boolean {
  return !mode.approximate && !APPROXIMATED.has(op);
}

/** The little-endian number in some bytes. */
export function readBits(view: DataView, offset: number, bytes: number): bigint {
  let bits = 0n;
  for (let index = bytes - 1; index >= 0; index--) bits = (bits << 8n) | BigInt(view.getUint8(offset + index));
  return bits;
}

/** Thrown inside only: a thread's way is not known. */
class Undecided extends Error {
  constructor(readonly block: number) {
    super('undecided');
  }
}

class Execution {
  readonly collector = new RangeCollector();
  readonly unresolved = new Set<Site>();
  /** Sites of which a superset was collected. */
  readonly rounded = new Set<Site>();
  readonly #sites: Site[][];
  readonly #ends: number[];
  readonly #parameters: DataView;
  #values: (bigint | undefined)[] = [];
  #specials: Readonly<Record<string, number>> = {};

  constructor(
    readonly template: KernelTemplate,
    readonly launch: LaunchRecord,
    readonly options: ConcreteOptions,
  ) {
    this.#sites = template.blocks.map(() => []);
    for (const site of template.writes) if (countsAsWrite(site)) this.#sites[site.block]!.push(site);
    this.#ends = template.blocks.map((_, index) => template.blocks[index + 1]?.first ?? template.values.length);
    const { buffer, byteOffset, byteLength } = launch.parameters;
    this.#parameters = new DataView(buffer, byteOffset, byteLength);
  }

  thread(specials: Readonly<Record<string, number>>): void {
    this.#specials = specials;
    this.#values = new Array(this.template.values.length);
    const { blocks } = this.template;
    let block = 0;
    let previous = -1;
    for (let steps = 0; ; steps++) {
      if (steps > (this.options.maxSteps ?? MAX_STEPS)) throw new Undecided(block);
      this.#runBlock(block, previous);
      for (const site of this.#sites[block]!) this.#touch(site);
      const { end } = blocks[block]!;
      previous = block;
      if (end[0] === 'exit') return;
      if (end[0] === 'jump') block = end[1];
      else {
        const choice = this.#values[end[1]];
        if (choice === undefined) throw new Undecided(block);
        if (end[0] === 'branch') block = choice !== 0n ? end[2] : end[3];
        else {
          const targets = end.slice(2) as number[];
          block = targets[Math.min(Number(choice), targets.length - 1)]!;
        }
      }
    }
  }

  #runBlock(block: number, previous: number): void {
    const { first } = this.template.blocks[block]!;
    const last = this.#ends[block]!;
    // Phis read the values of before the block, all at once.
    const phis: [number, bigint | undefined][] = [];
    for (let id = first; id < last; id++) {
      const value = this.template.values[id]!;
      if (value[0] === 'phi') phis.push([id, this.#phi(value, previous)]);
    }
    for (const [id, bits] of phis) this.#values[id] = bits;
    for (let id = first; id < last; id++) {
      const value = this.template.values[id]!;
      if (value[0] !== 'phi') this.#values[id] = this.#evaluate(value);
    }
  }

  #phi(value: SliceValue, previous: number): bigint | undefined {
    for (let index = 2; index < value.length; index += 2) {
      if (value[index] === previous) return this.#values[value[index + 1] as number];
    }
    return undefined;
  }

  #evaluate(value: SliceValue): bigint | undefined {
    const [op, width, ...rest] = value;
    switch (op) {
      case 'constant':
        return BigInt(rest[0] as string);
      case 'special': {
        const special = this.#specials[rest[0] as string];
        return special === undefined ? undefined : BigInt(special);
      }
      case 'parameter':
        return this.#parameter(rest[0] as number, width);
      case 'objectAddress': {
        const object = this.template.objects[rest[0] as number]!;
        return object.space === 'global' ? this.options.symbols?.get(object.name) : undefined;
      }
      default: {
        if (isFloatOperation(op)) return this.#float(op, width, rest);
        if (!isIntegerOperation(op)) return undefined;
        const args: bigint[] = [];
        for (const operand of rest as number[]) {
          const bits = this.#values[operand];
          // A choice on a known condition needs only the chosen value.
          if (bits === undefined && op !== 'select') return undefined;
          args.push(bits ?? -1n);
        }
        if (op === 'select') {
          if (args[0] === -1n) return undefined;
          return this.#values[(args[0] !== 0n ? rest[1] : rest[2]) as number];
        }
        return evaluateInteger(op, width, this.template.values[rest[0] as number]![1], args);
      }
    }
  }

  #float(op: FloatOperation, width: number, rest: readonly SliceValue[number][]): bigint | undefined {
    const args: bigint[] = [];
    let mode: FloatMode = {};
    for (const part of rest) {
      if (typeof part === 'object') mode = part;
      else {
        const bits = this.#values[part as number];
        if (bits === undefined) return undefined;
        args.push(bits);
      }
    }
    return isExactFloat(op, mode) ? evaluateFloat(op, width, mode, args) : undefined;
  }

  #parameter(offset: number, width: number): bigint | undefined {
    const bytes = Math.max(1, width / 8);
    if (offset + bytes > this.#parameters.byteLength) return undefined;
    return BigInt.asUintN(width, readBits(this.#parameters, offset, bytes));
  }

  #touch(site: Site): void {
    const of = (id: number | undefined) => (id === undefined ? undefined : this.#values[id]);
    if (site.guard !== undefined) {
      const guard = of(site.guard);
      if (guard === 0n) return;
      if (guard === undefined) {
        this.unresolved.add(site);
        return;
      }
    }
    const address = of(site.address);
    const bytes = site.length === undefined ? BigInt(site.bytes) : of(site.length);
    if (
      address === undefined ||
      bytes === undefined ||
      site.masked ||
      site.verdict === 'unknown' ||
      (site.length === undefined && site.bytes === 0)
    ) {
      this.unresolved.add(site);
      return;
    }
    if (!site.rows) {
      this.collector.add(address, bytes);
      return;
    }
    const stride = of(site.rows.stride);
    if (stride === undefined) {
      this.unresolved.add(site);
      return;
    }
    if (stride % BigInt(ROW_ALIGNMENT) !== 0n) {
      // Not allowed (PTX ISA 9.7.14.4.4), and hardware rounds such strides down: the hull holds whatever it makes of it.
      this.collector.add(address, BigInt(site.rows.count - 1) * stride + bytes);
      this.rounded.add(site);
      return;
    }
    for (let row = 0; row < site.rows.count; row++) this.collector.add(address + BigInt(row) * stride, bytes);
  }
}

/** A launch with the cluster that its kernel was compiled for, which prevails; no other can be asked for. */
export function withCluster(template: KernelTemplate, launch: LaunchRecord): LaunchRecord {
  const { requiredCluster } = template.bounds;
  return requiredCluster ? { ...launch, cluster: requiredCluster } : launch;
}

/** @throws InputError GCR5001 when a launch does not fit its template */
export function checkLaunch(template: KernelTemplate, launch: LaunchRecord): void {
  const bad = (message: string): Diagnostic => ({ code: 'GCR5001', severity: 'error', message, source: launch.kernel });
  if (launch.parameters.length < template.parameterBytes) {
    const have = launch.parameters.length;
    throw new InputError(bad(`parameter block has ${have} bytes, the kernel needs ${template.parameterBytes}`));
  }
  const { grid, block, cluster } = launch;
  for (const sizes of cluster ? [grid, block, cluster] : [grid, block]) {
    for (let axis = 0; axis < sizes.length; axis++) {
      const size = sizes[axis]!;
      if (!Number.isInteger(size) || size < 1)
        throw new InputError(bad(`launch size ${size} is not a positive whole number`));
    }
  }
  if (cluster?.some((size, axis) => grid[axis]! % size !== 0))
    throw new InputError(bad(`clusters of ${cluster.join(', ')} do not divide a grid of ${grid.join(', ')}`));
}

/**
 * Executes one launch on a template, thread by thread.
 *
 * @throws InputError GCR5001 when the launch does not fit the template
 */
export function executeConcretely(
  template: KernelTemplate,
  record: LaunchRecord,
  options: ConcreteOptions = {},
): ConcreteResult {
  const launch = withCluster(template, record);
  checkLaunch(template, launch);
  const [gridX, gridY, gridZ] = launch.grid;
  const [blockX, blockY, blockZ] = launch.block;
  const [clusterX, clusterY, clusterZ] = launch.cluster ?? [1, 1, 1];
  const threads = gridX * gridY * gridZ * blockX * blockY * blockZ;
  const reason = (code: Reason['code'], message: string): Reason => ({
    code,
    message,
    line: template.line,
    instruction: '',
  });
  if (threads > (options.maxThreads ?? MAX_THREADS)) {
    const reasons = [reason('GCR5002', `launch of ${threads} threads is too large to execute one by one`)];
    return { verdict: 'unknown', ranges: [], reasons, unresolved: template.writes.filter(countsAsWrite) };
  }
  const execution = new Execution(template, launch, options);
  try {
    for (let z = 0; z < gridZ; z++) {
      for (let y = 0; y < gridY; y++) {
        for (let x = 0; x < gridX; x++) {
          for (let thread = 0; thread < blockX * blockY * blockZ; thread++) {
            const lane = thread % WARP;
            const inCluster = [x % clusterX, y % clusterY, z % clusterZ] as const;
            execution.thread({
              'tid.x': thread % blockX,
              'tid.y': Math.floor(thread / blockX) % blockY,
              'tid.z': Math.floor(thread / (blockX * blockY)),
              'ntid.x': blockX,
              'ntid.y': blockY,
              'ntid.z': blockZ,
              'ctaid.x': x,
              'ctaid.y': y,
              'ctaid.z': z,
              'nctaid.x': gridX,
              'nctaid.y': gridY,
              'nctaid.z': gridZ,
              laneid: lane,
              'clusterid.x': Math.floor(x / clusterX),
              'clusterid.y': Math.floor(y / clusterY),
              'clusterid.z': Math.floor(z / clusterZ),
              'nclusterid.x': gridX / clusterX,
              'nclusterid.y': gridY / clusterY,
              'nclusterid.z': gridZ / clusterZ,
              'cluster_ctaid.x': inCluster[0],
              'cluster_ctaid.y': inCluster[1],
              'cluster_ctaid.z': inCluster[2],
              'cluster_nctaid.x': clusterX,
              'cluster_nctaid.y': clusterY,
              'cluster_nctaid.z': clusterZ,
              cluster_ctarank: inCluster[0] + clusterX * (inCluster[1] + clusterY * inCluster[2]),
              cluster_nctarank: clusterX * clusterY * clusterZ,
              lanemask_eq: (1 << lane) >>> 0,
              lanemask_lt: ((1 << lane) - 1) >>> 0,
              lanemask_le: 2 ** (lane + 1) - 1,
              lanemask_gt: 2 ** 32 - 2 ** (lane + 1),
              lanemask_ge: 2 ** 32 - 2 ** lane,
              ...(launch.sharedMemory !== undefined && { dynamic_smem_size: launch.sharedMemory }),
            });
          }
        }
      }
    }
  } catch (error) {
    if (!(error instanceof Undecided)) throw error;
    return {
      verdict: 'unknown',
      ranges: [],
      reasons: [reason('GCR4003', 'the way of a thread depends on what the launch does not determine')],
      unresolved: template.writes.filter(countsAsWrite),
    };
  }
  let verdict: Verdict = 'exact';
  const reasons: Reason[] = [];
  for (const site of execution.unresolved) {
    verdict = worseVerdict(verdict, site.verdict === 'exact' ? 'unknown' : site.verdict);
    reasons.push(...site.reasons);
    if (site.reasons.length === 0) {
      const message = 'needs a value the launch record does not have (the place of a variable?)';
      reasons.push({ code: 'GCR4008', message, line: site.line, instruction: site.instruction });
    }
  }
  for (const site of execution.rounded) {
    verdict = worseVerdict(verdict, 'bounded');
    const message = `stride is no multiple of ${ROW_ALIGNMENT} bytes`;
    reasons.push({ code: 'GCR5003', message, line: site.line, instruction: site.instruction });
  }
  return { verdict, ranges: execution.collector.ranges(), reasons, unresolved: [...execution.unresolved] };
}
