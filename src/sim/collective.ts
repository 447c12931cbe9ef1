/**
 * What the lanes of a warp do together, on the lanes that take part: shuffles, votes, matches, reductions, moves of
 * matrices (PTX ISA 9.7.9.6, 9.7.13.9 to 9.7.13.14, 9.7.14.5.15). Operands are in `o`, results go to `r0` and up.
 */
import { type Action, evaluateFloat } from '../ir/form.js';
import type { Machine } from './machine.js';
import { type Thread, WARP_SIZE } from './thread.js';

type Collective = (action: Action, lanes: readonly Thread[], machine: Machine, site: number) => void;

function maskOf(lanes: readonly Thread[]): number {
  return lanes.reduce((mask, thread) => mask | (1 << thread.lane), 0);
}

/** Lane that a shuffle reads, and whether it is in range (PTX ISA 9.7.9.6, pseudo code). */
function shuffleSource(mode: string, lane: number, b: number, c: number): readonly [number, boolean] {
  const amount = b & 31;
  const clamp = c & 31;
  const segment = (c >>> 8) & 31;
  const most = (lane & segment) | (clamp & ~segment);
  const least = lane & segment;
  switch (mode) {
    case 'up':
      return [lane - amount, lane - amount >= most];
    case 'down':
      return [lane + amount, lane + amount <= most];
    case 'butterfly':
      return [lane ^ amount, (lane ^ amount) <= most];
    default: {
      const source = least | (amount & ~segment & 31);
      return [source, source <= most];
    }
  }
}

/** Values by lane, and whether the lane takes part. */
const shuffled = new Int32Array(WARP_SIZE);
const present = new Uint8Array(WARP_SIZE);

const shuffle: Collective = ({ mode }, lanes) => {
  present.fill(0);
  for (const thread of lanes) {
    shuffled[thread.lane] = thread.o[0]!;
    present[thread.lane] = 1;
  }
  for (const thread of lanes) {
    const { lane, o } = thread;
    const [source, inRange] = shuffleSource(mode!, lane, o[1]!, o[2]!);
    // A lane that does not take part has no value to give (PTX ISA: undefined): the reader keeps its own.
    thread.r0 = inRange && present[source] === 1 ? shuffled[source]! : o[0]!;
    thread.r1 = inRange ? 1 : 0;
  }
};

const vote: Collective = ({ mode }, lanes) => {
  const ballot = maskOf(lanes.filter((thread) => thread.o[0] !== 0));
  const all = maskOf(lanes);
  const results: Readonly<Record<string, number>> = {
    ballot,
    all: ballot === all ? 1 : 0,
    any: ballot !== 0 ? 1 : 0,
    uniform: ballot === 0 || ballot === all ? 1 : 0,
  };
  for (const thread of lanes) thread.r0 = results[mode!]!;
};

const match: Collective = ({ mode }, lanes) => {
  const same = (a: Thread, b: Thread) => a.o[0] === b.o[0] && a.o[1] === b.o[1];
  const all = lanes.every((thread) => same(thread, lanes[0]!));
  for (const thread of lanes) {
    if (mode === 'any') thread.r0 = maskOf(lanes.filter((other) => same(thread, other)));
    else {
      thread.r0 = all ? maskOf(lanes) : 0;
      thread.r1 = all ? 1 : 0;
    }
  }
};

const REDUCTIONS: Readonly<Record<string, (a: number, b: number, signed: boolean) => number>> = {
  add: (a, b) => (a + b) | 0,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  min: (a, b, signed) => ((signed ? a < b : a >>> 0 < b >>> 0) ? a : b),
  max: (a, b, signed) => ((signed ? a > b : a >>> 0 > b >>> 0) ? a : b),
};

const reduce: Collective = ({ mode, elementType }, lanes) => {
  const values = lanes.map((thread) => thread.o[0]!);
  const result = values.reduce((a, b) => {
    if (!elementType?.float) return REDUCTIONS[mode!]!(a, b, elementType?.signed === true);
    const bits = [BigInt(a >>> 0), BigInt(b >>> 0)];
    return Number(BigInt.asIntN(32, evaluateFloat(mode === 'min' ? 'floatMin' : 'floatMax', 32, {}, bits)));
  });
  for (const thread of lanes) thread.r0 = result;
};

const activeMask: Collective = (_action, lanes) => {
  for (const thread of lanes) thread.r0 = maskOf(lanes);
};

const elect: Collective = (_action, lanes) => {
  const leader = Math.min(...lanes.map((thread) => thread.lane));
  for (const thread of lanes) {
    thread.r0 = leader;
    thread.r1 = thread.lane === leader ? 1 : 0;
  }
};

const RESULTS = ['r0', 'r1', 'r2', 'r3'] as const;

/**
 * Row r of matrix i is at the address that lane 8i + r gives; the lane l holds elements 2(l mod 4) and the next of row
 * l / 4, or of column l / 4 when transposed.
 */
const matrixLoad: Collective = ({ mode, elementType }, lanes, machine, site) => {
  const byLane = new Map(lanes.map((thread) => [thread.lane, thread]));
  const element = (thread: Thread, matrix: number, row: number, column: number): number => {
    const [low, high] = byLane.get(8 * matrix + row)?.o ?? [0, 0];
    const region = machine.other(site, thread, 'generic', (low! + 2 * column) | 0, high!, 2, false);
    return region.view.getUint16(machine.o, true);
  };
  const results = lanes.map((thread) =>
    RESULTS.map((_, matrix) => {
      if (matrix >= (elementType?.lanes ?? 1)) return 0;
      const major = thread.lane >> 2;
      const minor = 2 * (thread.lane & 3);
      const [a, b] = [0, 1].map((next) =>
        mode === 'transposed'
          ? element(thread, matrix, minor + next, major)
          : element(thread, matrix, major, minor + next),
      );
      return a! | (b! << 16);
    }),
  );
  for (const [index, thread] of lanes.entries()) {
    RESULTS.forEach((name, matrix) => {
      thread[name] = results[index]![matrix]!;
    });
  }
};

const matrixStore: Collective = ({ mode, operands }, lanes, machine, site) => {
  const byLane = new Map(lanes.map((thread) => [thread.lane, thread]));
  const count = operands.length - 1;
  for (let matrix = 0; matrix < count; matrix++) {
    for (const thread of lanes) {
      for (const next of [0, 1]) {
        const major = thread.lane >> 2;
        const minor = 2 * (thread.lane & 3) + next;
        const [row, column] = mode === 'transposed' ? [minor, major] : [major, minor];
        // The address of a row that no lane gives is nowhere.
        const giver = byLane.get(8 * matrix + row);
        if (!giver) continue;
        const [low, high] = giver.o;
        const region = machine.other(site, thread, 'generic', (low! + 2 * column) | 0, high!, 2, true);
        region.view.setUint16(machine.o, thread.o[2 + matrix]! >>> (16 * next), true);
      }
    }
  }
};

/** By kind of action; a kind without a row is no collective of a warp. */
export const COLLECTIVES: Readonly<Record<string, Collective>> = {
  shuffle,
  vote,
  match,
  reduce,
  activeMask,
  elect,
  warpBarrier: () => {},
  matrixLoad,
  matrixStore,
};
