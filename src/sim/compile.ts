/**
 * A kernel made ready to run, and its launches. Nothing is shared between launches but the code, so the same launch on the
 * same memory gives the same bytes. The tests of the analysis judge by it, so it knows nothing of templates.
 */
import { InputError } from '../diagnostics/index.js';
import type { KernelProgram, MemoryObject } from '../ir/form.js';
import { Arithmetic } from './arithmetic.js';
import { type EmittedKernel, emitKernel } from './emit.js';
import type { Launch, LaunchState, LaunchStatistics } from './launch.js';
import { Machine } from './machine.js';
import { Scheduler } from './schedule.js';
import { Cluster, Cta, Thread, WARP_SIZE } from './thread.js';

const DEFAULT_STEPS = 4e9;
const MAX_SHARED = 1 << 24;
const MAX_BLOCK = 1024;

type ThreadCode = (thread: Thread) => Iterator<undefined, undefined, undefined> | undefined;
type Factory = (arithmetic: Arithmetic, machine: Machine, state: LaunchState) => ThreadCode;

/** Where the variables of one space are, one behind the other; open-ended ones at the end, at the same place. */
function layOut(objects: readonly MemoryObject[], space: MemoryObject['space']) {
  const offsets = new Map<number, number>();
  let end = 0;
  const align = (to: number) => Math.ceil(end / Math.max(1, to)) * Math.max(1, to);
  for (const [index, object] of objects.entries()) {
    if (object.space !== space || object.size === 0) continue;
    end = align(object.align);
    offsets.set(index, end);
    end += object.size;
  }
  for (const [index, object] of objects.entries()) {
    if (object.space !== space || object.size > 0) continue;
    offsets.set(index, align(Math.max(16, object.align)));
  }
  const open = [...offsets].filter(([index]) => objects[index]!.size === 0).map(([, offset]) => offset);
  return { offsets, end: Math.max(end, ...open) };
}

/** A kernel as JavaScript. */
export class CompiledKernel {
  readonly #emitted: EmittedKernel;
  readonly #factory: Factory;
  readonly #shared;
  readonly #local;

  constructor(
    readonly program: KernelProgram,
    readonly recorded: boolean,
  ) {
    this.#emitted = emitKernel(program, recorded);
    this.#factory = new Function('X', 'M', 'K', this.#emitted.source) as Factory;
    this.#shared = layOut(program.objects, 'shared');
    this.#local = layOut(program.objects, 'local');
  }

  /** Bytes of shared memory that a block has beside what a launch gives it. */
  get sharedBytes(): number {
    return this.#shared.end;
  }

  /** The generated source; for those who look into it. */
  get source(): string {
    return this.#emitted.source;
  }

  /**
   * Executes a launch to its end.
   *
   * @throws InputError GCR6001 to GCR6007, see the table of codes
   */
  launch(launch: Launch): LaunchStatistics {
    this.#check(launch);
    const { program } = this;
    const arithmetic = new Arithmetic(this.#emitted.slow);
    const dynamicShared = launch.sharedMemory ?? 0;
    const sharedBytes = this.#shared.end + dynamicShared;
    const state: LaunchState = {
      grid: launch.grid,
      block: launch.block,
      cluster: launch.cluster ?? program.bounds.requiredCluster ?? [1, 1, 1],
      parameters: new DataView(launch.parameters.buffer, launch.parameters.byteOffset, launch.parameters.byteLength),
      objects: this.#place(launch),
      dynamicShared,
      totalShared: sharedBytes,
      steps: 0,
    };
    const constants = program.objects.flatMap((object) => {
      const address = object.space === 'constant' ? launch.symbols?.get(object.name) : undefined;
      return address === undefined ? [] : [[address, object.size] as const];
    });
    const machine = new Machine(program.name, this.#emitted.sites.list, launch, arithmetic, constants, this.recorded);
    const code = this.#factory(arithmetic, machine, state);
    const scheduler = new Scheduler(program.name, machine, state, launch.maxSteps ?? DEFAULT_STEPS);
    const clusters = this.#clusters(launch, state, sharedBytes, code);
    if (this.#emitted.generator) scheduler.run(clusters);
    else for (const _cluster of clusters);
    const blocks = launch.grid[0] * launch.grid[1] * launch.grid[2];
    const threads = blocks * launch.block[0] * launch.block[1] * launch.block[2];
    return { instructions: state.steps, threads };
  }

  #check(launch: Launch): void {
    const bad = (message: string): InputError =>
      new InputError({ code: 'GCR6006', severity: 'error', message, source: this.program.name });
    const { grid, block, cluster = this.program.bounds.requiredCluster ?? [1, 1, 1], parameters } = launch;
    const sizes = [...grid, ...block, ...cluster];
    if (sizes.some((size) => !Number.isInteger(size) || size < 1)) throw bad('a size is not a positive whole number');
    if (block[0] * block[1] * block[2] > MAX_BLOCK) throw bad(`a block has more than ${MAX_BLOCK} threads`);
    if (grid.some((size, axis) => size % cluster[axis]! !== 0)) throw bad('the grid is no multiple of the cluster');
    const needed = this.program.parameterBytes;
    if (parameters.byteLength < needed) {
      throw bad(`parameter block has ${parameters.byteLength} bytes, the kernel needs ${needed}`);
    }
    const shared = launch.sharedMemory ?? 0;
    if (!Number.isInteger(shared) || shared < 0 || shared > MAX_SHARED) throw bad('size of shared memory is not valid');
  }

  /** Addresses of the program's objects. */
  #place(launch: Launch): Int32Array {
    const { objects } = this.program;
    const words = new Int32Array(2 * objects.length);
    for (const [index, object] of objects.entries()) {
      let address: bigint | undefined;
      if (object.space === 'shared' || object.space === 'local') {
        address = BigInt((object.space === 'shared' ? this.#shared : this.#local).offsets.get(index)!);
      } else address = launch.symbols?.get(object.name);
      if (address === undefined) {
        const message = `the place of variable '${object.name}' is not given`;
        throw new InputError({ code: 'GCR6006', severity: 'error', message, source: this.program.name });
      }
      words[2 * index] = Number(BigInt.asIntN(32, address));
      words[2 * index + 1] = Number(BigInt.asIntN(32, address >> 32n));
    }
    return words;
  }

  /** Clusters in order, made when they are asked for. Without a generator their threads have run then. */
  *#clusters(launch: Launch, state: LaunchState, sharedBytes: number, code: ThreadCode): Generator<Cluster> {
    const [gridX, gridY, gridZ] = launch.grid;
    const [clusterX, clusterY, clusterZ] = state.cluster;
    for (let z = 0; z < gridZ; z += clusterZ) {
      for (let y = 0; y < gridY; y += clusterY) {
        for (let x = 0; x < gridX; x += clusterX) {
          const ctas: Cta[] = [];
          for (let rank = 0; rank < clusterX * clusterY * clusterZ; rank++) {
            const cx = x + (rank % clusterX);
            const cy = y + (Math.floor(rank / clusterX) % clusterY);
            const cz = z + Math.floor(rank / (clusterX * clusterY));
            ctas.push(new Cta(cx, cy, cz, cx + gridX * (cy + gridY * cz), sharedBytes));
          }
          const cluster = new Cluster(ctas);
          for (const cta of ctas) this.#start(cta, launch, code);
          yield cluster;
        }
      }
    }
  }

  #start(cta: Cta, launch: Launch, code: ThreadCode): void {
    const [sizeX, sizeY, sizeZ] = launch.block;
    let index = 0;
    for (let z = 0; z < sizeZ; z++) {
      for (let y = 0; y < sizeY; y++) {
        for (let x = 0; x < sizeX; x++, index++) {
          const thread = new Thread(cta, index, x, y, z, this.#local.end);
          if (!this.#emitted.generator) {
            code(thread);
            continue;
          }
          thread.code = code(thread);
          cta.threads.push(thread);
          if (index % WARP_SIZE === 0) cta.warps.push([]);
          cta.warps.at(-1)!.push(thread);
          cta.live++;
        }
      }
    }
  }
}

/**
 * Compiles a kernel's program; launches of it are cheap.
 *
 * @param options `recorded: false` leaves out the record of what is written, and allows memory that is mapped without one
 */
export function compileKernel(program: KernelProgram, options: { readonly recorded?: boolean } = {}): CompiledKernel {
  return new CompiledKernel(program, options.recorded ?? true);
}
