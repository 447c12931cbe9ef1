/**
 * What threads do together or with memory of their block: barriers, votes, shuffles, barrier objects, matrix moves in
 * shared memory, the stack (PTX ISA 9.7.9.5, 9.7.13, 9.7.14.5, 9.7.17). Templates see nothing of it but results that are
 * not known; an execution does what the action says. A form without a row here has no effect, or is `unmodelled`.
 */
import type { DiagnosticCode } from '../../diagnostics/index.js';
import type { Operand } from '../../ptx/index.js';
import type { Action, ActionKind, ElementType, ValueId } from '../program.js';
import type { Frame, View } from './frame.js';

/** Describes one form; false when this variant is declined and its results become opaque. */
type Handler = (frame: Frame, view: View) => boolean;

type Details = Omit<Action, 'kind' | 'guard' | 'origin' | 'operands'> & { readonly operands?: readonly ValueId[] };

/** Appends an action; its results are made with {@link ProgramBuilder.result}. */
export function act(frame: Frame, view: View, kind: ActionKind, details: Details = {}): ValueId {
  return frame.builder.value('action', 0, [], { action: describe(frame, view, kind, details) });
}

function describe(frame: Frame, view: View, kind: ActionKind, details: Details): Action {
  const { guard } = view;
  const operands = details.operands ?? [];
  return { kind, ...details, operands, ...(guard !== undefined && { guard }), origin: frame.origin(view) };
}

function give(
  frame: Frame,
  view: View,
  action: ValueId,
  results: readonly (readonly [Operand | undefined, number])[],
  reason: DiagnosticCode = 'GCR4011',
): void {
  for (const [index, [operand, width]] of results.entries()) {
    if (operand) frame.define(view, operand, frame.builder.result(action, index, width, reason));
  }
}

/** The two destinations of `d|p`. */
function pair(operand: Operand | undefined): readonly [Operand | undefined, Operand | undefined] {
  return operand?.kind === 'pair' ? [operand.first, operand.second] : [operand, undefined];
}

function pick<T>(view: View, names: Readonly<Record<string, T>>): T | undefined {
  for (const [name, value] of Object.entries(names)) if (view.m.has.has(name)) return value;
  return undefined;
}

const SHUFFLES = { up: 'up', down: 'down', bfly: 'butterfly', idx: 'index' } as const;

/** A lane's value from some lane of the same warp: at least the set of values is known (PTX ISA 9.7.9.6). */
const shuffle =
  (sync: boolean): Handler =>
  (frame, view) => {
    const { operands } = view.node;
    const [destination, valid] = pair(operands[0]);
    const mode = pick(view, SHUFFLES) ?? 'unknown';
    const source = frame.use(view, operands[1], 32);
    const action = describe(frame, view, 'shuffle', {
      mode,
      operands: [frame.use(view, operands[2], 32), frame.use(view, operands[3], 32)],
      ...(sync && { members: frame.use(view, operands[4], 32) }),
    });
    const value = frame.builder.value('exchange', 32, [source], { action });
    frame.define(view, destination, value);
    if (valid) frame.define(view, valid, frame.builder.result(value, 1, 1, 'GCR4011'));
    return true;
  };

const VOTES = { all: 'all', any: 'any', uni: 'uniform', ballot: 'ballot' } as const;

const vote =
  (sync: boolean): Handler =>
  (frame, view) => {
    const { operands } = view.node;
    const mode = pick(view, VOTES);
    if (!mode) return false;
    const action = act(frame, view, 'vote', {
      mode,
      operands: [frame.use(view, operands[1], 1)],
      ...(sync && { members: frame.use(view, operands[2], 32) }),
    });
    give(frame, view, action, [[operands[0], mode === 'ballot' ? 32 : 1]]);
    return true;
  };

const match =
  (mode: 'any' | 'all'): Handler =>
  (frame, view) => {
    const { operands } = view.node;
    const [destination, valid] = pair(operands[0]);
    const width = view.m.types[0]?.width ?? 32;
    const action = act(frame, view, 'match', {
      mode,
      operands: [frame.use(view, operands[1], width)],
      members: frame.use(view, operands[2], 32),
    });
    give(frame, view, action, [
      [destination, 32],
      [valid, 1],
    ]);
    return true;
  };

const FUNCTIONS = { add: 'add', min: 'min', max: 'max', and: 'and', or: 'or', xor: 'xor' } as const;

const reduce: Handler = (frame, view) => {
  const { operands, mnemonic } = view.node;
  const type = view.m.types[0];
  const mode = pick(view, FUNCTIONS);
  const { has } = view.m;
  if (!type || !mode || has.has('NaN') || has.has('abs')) return false;
  const elementType: ElementType = type.as === 'float' ? { float: 'ieee' } : { signed: type.as === 'signed' };
  const action = act(frame, view, 'reduce', {
    mode,
    elementType,
    operands: [frame.use(view, operands[1], type.width)],
    ...(mnemonic.modifiers.includes('sync') && { members: frame.use(view, operands[2], 32) }),
  });
  give(frame, view, action, [[operands[0], type.width]]);
  return true;
};

const activeMask: Handler = (frame, view) => {
  give(frame, view, act(frame, view, 'activeMask'), [[view.node.operands[0], 32]]);
  return true;
};

const elect: Handler = (frame, view) => {
  const { operands } = view.node;
  const [lane, leader] = pair(operands[0]);
  const action = act(frame, view, 'elect', { members: frame.use(view, operands[1], 32) });
  give(frame, view, action, [
    [lane, 32],
    [leader, 1],
  ]);
  return true;
};

const barrier =
  (mode: 'sync' | 'arrive'): Handler =>
  (frame, view) => {
    const [number, count] = view.node.operands;
    act(frame, view, 'barrier', {
      mode,
      operands: [frame.use(view, number, 32)],
      ...(count && { count: frame.use(view, count, 32) }),
    });
    return true;
  };

const barrierReduce: Handler = (frame, view) => {
  const { operands } = view.node;
  const mode = pick(view, { popc: 'popCount', and: 'and', or: 'or' });
  if (!mode) return false;
  const count = operands.length > 3 ? operands[2] : undefined;
  const action = act(frame, view, 'barrier', {
    mode,
    operands: [frame.use(view, operands[1], 32), frame.use(view, operands.at(-1), 1)],
    ...(count && { count: frame.use(view, count, 32) }),
  });
  give(frame, view, action, [[operands[0], mode === 'popCount' ? 32 : 1]]);
  return true;
};

/** Barrier objects (PTX ISA 9.7.13.15). `address`: index of that operand; `extra`: of the count or state. */
const phase =
  (mode: string, address: number, extra?: number): Handler =>
  (frame, view) => {
    const { operands } = view.node;
    const tests = mode === 'test';
    const parity = tests && view.m.has.has('parity');
    const width = tests && !parity ? 64 : 32;
    const operand = extra === undefined ? undefined : operands[extra];
    // A generic address of shared memory, or one in it.
    const place = frame.address(view, operands[address]).value;
    const shared = view.m.spaces.length > 0;
    const action = act(frame, view, 'phaseBarrier', {
      mode: parity ? 'testParity' : mode,
      operands: [
        shared ? frame.builder.value('toGeneric', 64, [place], { space: 'shared' }) : place,
        ...(operand ? [frame.use(view, operand, width)] : []),
      ],
    });
    if (address > 0 && operands[0]?.kind !== 'address') {
      give(frame, view, action, [[operands[0], tests ? 1 : 64]]);
    }
    return true;
  };

const phasePending: Handler = (frame, view) => {
  const [destination, state] = view.node.operands;
  const action = act(frame, view, 'phaseBarrier', { mode: 'pending', operands: [frame.use(view, state, 64)] });
  give(frame, view, action, [[destination, 32]]);
  return true;
};

const copyArrive: Handler = (frame, view) =>
  // Copies are done when they are issued: what is added before is taken back at once, unless nothing was added.
  view.m.has.has('noinc') ? phase('arrive', 0)(frame, view) : true;

/** ldmatrix, stmatrix of eight rows of eight 16-bit elements, one to four of them. */
const matrixMove =
  (store: boolean): Handler =>
  (frame, view) => {
    const { has } = view.m;
    const { operands } = view.node;
    const count = pick(view, { x1: 1, x2: 2, x4: 4 });
    if (!count || !has.has('m8n8') || !has.has('b16')) return unmodelled(frame, view);
    const place = frame.address(view, operands[store ? 0 : 1]).value;
    const shared = view.m.spaces.length > 0;
    const address = shared ? frame.builder.value('toGeneric', 64, [place], { space: 'shared' }) : place;
    const mode = has.has('trans') ? 'transposed' : 'plain';
    const elementType: ElementType = { lanes: count, width: 16 };
    const registers = operands[store ? 1 : 0];
    const list: readonly (Operand | undefined)[] = registers?.kind === 'vector' ? registers.elements : [registers];
    if (list.length !== count) return unmodelled(frame, view);
    if (store) {
      const values = list.map((operand) => frame.use(view, operand, 32));
      act(frame, view, 'matrixStore', { mode, elementType, operands: [address, ...values] });
    } else {
      const action = act(frame, view, 'matrixLoad', { mode, elementType, operands: [address] });
      const results = list.map((operand) => [operand, 32] as const);
      give(frame, view, action, results, 'GCR4008');
    }
    return true;
  };

const stack =
  (mode: 'allocate' | 'save' | 'restore'): Handler =>
  (frame, view) => {
    const { operands } = view.node;
    const width = view.m.types[0]?.width ?? 64;
    const sources = mode === 'save' ? [] : operands.slice(mode === 'restore' ? 0 : 1);
    const action = act(frame, view, 'stack', {
      mode,
      operands: sources.map((operand, index) => frame.use(view, operand, index === 0 ? width : 32)),
    });
    if (mode !== 'restore') give(frame, view, action, [[operands[0], width]], 'GCR4008');
    return true;
  };

const clusterRank: Handler = (frame, view) => {
  const [destination, address] = view.node.operands;
  const place = frame.use(view, address, 64);
  const shared = view.m.spaces.length > 0;
  const generic = shared ? frame.builder.value('toGeneric', 64, [place], { space: 'shared' }) : place;
  give(frame, view, act(frame, view, 'clusterRank', { operands: [generic] }), [[destination, 32]], 'GCR4008');
  return true;
};

/** Has an effect on what an execution sees, and is not described. */
const unmodelled: Handler = (frame, view) => {
  act(frame, view, 'unmodelled');
  return false;
};

const plain =
  (kind: ActionKind): Handler =>
  (frame, view) => {
    act(frame, view, kind);
    return true;
  };

const HANDLERS: Readonly<Record<string, Handler>> = {
  shfl: shuffle(false),
  'shfl.sync': shuffle(true),
  vote: vote(false),
  'vote.sync': vote(true),
  'match.any.sync': match('any'),
  'match.all.sync': match('all'),
  'redux.sync': reduce,
  activemask: activeMask,
  'elect.sync': elect,
  'bar.warp.sync': (frame, view) => {
    act(frame, view, 'warpBarrier', { members: frame.use(view, view.node.operands[0], 32) });
    return true;
  },
  'bar.sync': barrier('sync'),
  'barrier.sync': barrier('sync'),
  'bar.arrive': barrier('arrive'),
  'barrier.arrive': barrier('arrive'),
  'bar.red': barrierReduce,
  'barrier.red': barrierReduce,
  'barrier.cluster.arrive': plain('clusterArrive'),
  'barrier.cluster.wait': plain('clusterWait'),
  'mbarrier.init': phase('initialize', 0, 1),
  'mbarrier.inval': phase('invalidate', 0),
  'mbarrier.expect_tx': phase('expect', 0, 1),
  'mbarrier.complete_tx': phase('complete', 0, 1),
  'mbarrier.arrive': phase('arrive', 1, 2),
  'mbarrier.arrive.noComplete': phase('arrive', 1, 2),
  'mbarrier.arrive.expect_tx': phase('arriveExpect', 1, 2),
  'mbarrier.arrive_drop': phase('arriveDrop', 1, 2),
  'mbarrier.arrive_drop.noComplete': phase('arriveDrop', 1, 2),
  'mbarrier.arrive_drop.expect_tx': phase('arriveDropExpect', 1, 2),
  'mbarrier.test_wait': phase('test', 1, 2),
  'mbarrier.try_wait': phase('test', 1, 2),
  'mbarrier.pending_count': phasePending,
  'cp.async.mbarrier.arrive': copyArrive,
  ldmatrix: matrixMove(false),
  stmatrix: matrixMove(true),
  alloca: stack('allocate'),
  stacksave: stack('save'),
  stackrestore: stack('restore'),
  getctarank: clusterRank,
  'clusterlaunchcontrol.try_cancel': unmodelled,
  'clusterlaunchcontrol.query_cancel': unmodelled,
};

/** Lowers what is done together; false when the form is something else, or its results are to become opaque. */
export function lowerAction(frame: Frame, view: View, form: string): boolean {
  if (form.startsWith('tcgen05.') && !form.startsWith('tcgen05.wait') && !form.startsWith('tcgen05.fence')) {
    return unmodelled(frame, view);
  }
  const handler = Object.hasOwn(HANDLERS, form) ? HANDLERS[form] : undefined;
  return handler ? frame.builder.forExecution(() => handler(frame, view)) : false;
}
