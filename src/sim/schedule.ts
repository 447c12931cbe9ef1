/**
 * Runs the threads of a launch, deterministically. A thread runs until it waits, ends, or has used up its slice. Lanes that
 * wait for each other go on as soon as all members of their mask that still live are there, wherever in the code the others
 * came from; a block's barrier when all are there. A cluster (mostly one block) runs until it ends; one in which
 * all threads that can run do nothing but use up slices may be waiting for memory, so others get their turn: the next ones are
 * started, and what was started goes round.
 */
import { InputError } from '../diagnostics/index.js';
import { COLLECTIVES } from './collective.js';
import type { LaunchState } from './launch.js';
import type { Machine } from './machine.js';
import { type Barrier, type Cluster, type Cta, type Thread, type ThreadState, WARP_SIZE } from './thread.js';

/** Rounds of slices after which a cluster lets others run: when it has just started, and later. */
const FIRST_PATIENCE = 64;
const PATIENCE = 2;
/** Threads that may exist at a time before the first clusters have ended. */
const RESIDENT_THREADS = 1 << 16;

export class Scheduler {
  constructor(
    readonly kernel: string,
    readonly machine: Machine,
    readonly state: LaunchState,
    readonly maxSteps: number,
  ) {}

  /** Runs clusters to their end. */
  run(clusters: Iterator<Cluster>): void {
    let resident: Cluster[] = [];
    let next = clusters.next();
    while (!next.done || resident.length > 0) {
      // As many new ones as there are old ones, so that going round costs no more than starting.
      let threads = resident.reduce((sum, { live }) => sum + live, 0);
      for (let started = 0; !next.done && started <= resident.length && threads < RESIDENT_THREADS; ) {
        const cluster = next.value;
        next = clusters.next();
        if (this.#runCluster(cluster, FIRST_PATIENCE)) continue;
        started++;
        resident.push(cluster);
        threads += cluster.live;
      }
      // Forwards, then backwards: chains of waiting blocks dissolve in whichever direction they go.
      for (let turn = 0; turn < 2; turn++) {
        resident = resident.filter((cluster) => !this.#runCluster(cluster, PATIENCE)).reverse();
      }
    }
  }

  /** True when it has ended, false when it may be waiting for another. */
  #runCluster(cluster: Cluster, patience: number): boolean {
    for (let idle = 0; ; ) {
      let advanced = false;
      for (const cta of cluster.ctas) {
        for (const warp of cta.warps) if (this.#runWarp(cta, warp)) advanced = true;
        if (this.#releaseBarriers(cta)) advanced = true;
      }
      if (this.#releaseCluster(cluster)) advanced = true;
      if (cluster.live === 0) return true;
      if (advanced) {
        idle = 0;
        continue;
      }
      let spinning = false;
      for (const cta of cluster.ctas) {
        for (const thread of cta.threads) {
          if (thread.state !== 'spun') continue;
          thread.state = 'ready';
          spinning = true;
        }
      }
      if (!spinning) this.#deadlock(cluster);
      if (++idle >= patience) return false;
    }
  }

  #deadlock(cluster: Cluster): never {
    const waiting = cluster.ctas.flatMap((cta) => cta.threads).find((thread) => thread.state !== 'done')!;
    const { cta } = waiting;
    const where = `thread ${waiting.x},${waiting.y},${waiting.z} of block ${cta.x},${cta.y},${cta.z}`;
    throw this.machine.error('GCR6005', waiting.k, `waits for threads that never come there (${where})`);
  }

  /** Lets the lanes run as far as they come; true when one of them ended or met what it waited for. */
  #runWarp(cta: Cta, warp: readonly Thread[]): boolean {
    let advanced = false;
    for (;;) {
      for (const thread of warp) {
        if (thread.state !== 'ready') continue;
        if (this.#resume(cta, thread) !== 'spun') advanced = true;
      }
      if (!this.#meet(warp)) return advanced;
      advanced = true;
    }
  }

  #resume(cta: Cta, thread: Thread): ThreadState {
    const { state } = this;
    while (!thread.code!.next().done) {
      if (state.steps > this.maxSteps) {
        const message = `kernel did not end within ${this.maxSteps} steps`;
        throw new InputError({ code: 'GCR6004', severity: 'error', message, source: this.kernel });
      }
      const waits = this.#suspend(cta, thread);
      if (waits === 'ready') continue;
      thread.state = waits;
      return waits;
    }
    thread.state = 'done';
    thread.code = undefined;
    cta.live--;
    return 'done';
  }

  /** What a thread waits for that has just yielded. */
  #suspend(cta: Cta, thread: Thread): ThreadState {
    if (thread.k < 0) return 'spun';
    const action = this.machine.sites[thread.k]!.action!;
    switch (action.kind) {
      case 'barrier':
        this.#arrive(cta, thread);
        return action.mode === 'arrive' ? 'ready' : 'barrier';
      case 'clusterArrive':
        thread.clusterPhase = cta.cluster.phase;
        cta.cluster.arrived++;
        return 'ready';
      case 'clusterWait':
        return 'cluster';
      default:
        return 'warp';
    }
  }

  // --- lanes ---

  /** Lets lanes that wait for each other go on; true when some did. */
  #meet(warp: readonly Thread[]): boolean {
    const head = warp[0]!;
    // Mostly all lanes stand at one place.
    if (
      head.state === 'warp' &&
      warp.every((thread) => thread.state === 'warp' && thread.k === head.k && thread.m === head.m)
    ) {
      const action = this.machine.sites[head.k]!.action!;
      const all = warp.length === WARP_SIZE ? -1 : (1 << warp.length) - 1;
      if (action.members === undefined || (head.m & all) === all) {
        this.#perform(warp, head);
        return true;
      }
    }
    let live = 0;
    let running = false;
    for (const thread of warp) {
      if (thread.state !== 'done') live |= 1 << thread.lane;
      if (thread.state === 'ready') running = true;
    }
    for (const first of warp) {
      if (first.state !== 'warp') continue;
      const action = this.machine.sites[first.k]!.action!;
      const together = (thread: Thread): boolean => {
        if (thread.state !== 'warp') return false;
        if (thread.k === first.k) return true;
        const other = this.machine.sites[thread.k]!.action!;
        return action.members !== undefined && other.kind === action.kind && other.mode === action.mode;
      };
      let lanes: Thread[];
      if (action.members === undefined) {
        // Those that are there: once every lane has stopped somewhere.
        if (running) continue;
        lanes = warp.filter(together);
      } else {
        lanes = warp.filter((thread) => together(thread) && thread.m === first.m);
        const there = lanes.reduce((mask, thread) => mask | (1 << thread.lane), 0);
        if ((first.m & live & ~there) !== 0) continue;
      }
      this.#perform(lanes, first);
      return true;
    }
    return false;
  }

  #perform(lanes: readonly Thread[], first: Thread): void {
    const action = this.machine.sites[first.k]!.action!;
    COLLECTIVES[action.kind]!(action, lanes, this.machine, first.k);
    for (const thread of lanes) thread.state = 'ready';
  }

  // --- blocks ---

  #arrive(cta: Cta, thread: Thread): void {
    const number = thread.o[0]!;
    let barrier = cta.barriers.get(number);
    if (!barrier) {
      barrier = { arrived: [], count: 0 };
      cta.barriers.set(number, barrier);
    }
    barrier.arrived.push(thread);
    const { count } = this.machine.sites[thread.k]!.action!;
    barrier.count = count === undefined ? 0 : thread.count;
  }

  #releaseBarriers(cta: Cta): boolean {
    let released = false;
    for (const [number, barrier] of cta.barriers) {
      if (!this.#isComplete(cta, barrier)) continue;
      const waiting = barrier.arrived.filter((thread) => thread.state === 'barrier' && thread.o[0] === number);
      const values = waiting.filter((thread) => thread.o[1] !== undefined && thread.o[1] !== 0).length;
      for (const thread of waiting) {
        const { mode } = this.machine.sites[thread.k]!.action!;
        if (mode === 'popCount') thread.r0 = values;
        else if (mode === 'and') thread.r0 = values === waiting.length ? 1 : 0;
        else if (mode === 'or') thread.r0 = values > 0 ? 1 : 0;
        thread.state = 'ready';
      }
      cta.barriers.delete(number);
      released = true;
    }
    return released;
  }

  /** Arrivals count by warps: lanes that do not exist or have ended count as there once the others are. */
  #isComplete(cta: Cta, barrier: Barrier): boolean {
    if (barrier.count === 0) return barrier.arrived.length >= cta.live;
    let count = 0;
    const byWarp = new Map<number, number>();
    for (const { index } of barrier.arrived) byWarp.set(index >> 5, (byWarp.get(index >> 5) ?? 0) + 1);
    for (const [warp, arrived] of byWarp) {
      const live = cta.warps[warp]!.filter((thread) => thread.state !== 'done').length;
      count += arrived >= live ? WARP_SIZE : arrived;
    }
    return count >= barrier.count;
  }

  #releaseCluster(cluster: Cluster): boolean {
    if (cluster.arrived > 0 && cluster.arrived >= cluster.live) {
      cluster.phase++;
      cluster.arrived = 0;
    }
    let released = false;
    for (const cta of cluster.ctas) {
      for (const thread of cta.threads) {
        if (thread.state !== 'cluster' || thread.clusterPhase === cluster.phase) continue;
        thread.state = 'ready';
        released = true;
      }
    }
    return released;
  }
}
