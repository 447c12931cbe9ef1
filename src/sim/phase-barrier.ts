/**
 * Barrier objects in shared memory (PTX ISA 9.7.13.15) in eight bytes of our own layout: pending arrivals (20 bits), bytes
 * that are still to come (22 bits, two's complement), phase, expected arrivals (20 bits). A state that an arrival returns
 * is the word of before it; only its phase is looked at.
 */
interface State {
  pending: number;
  expected: number;
  bytes: number;
  phase: number;
}

const COUNT = 0xfffff;

function unpack(bits: bigint): State {
  return {
    pending: Number(bits & 0xfffffn),
    bytes: Number(BigInt.asIntN(22, (bits >> 20n) & 0x3fffffn)),
    phase: Number((bits >> 42n) & 1n),
    expected: Number((bits >> 43n) & 0xfffffn),
  };
}

function pack({ pending, expected, bytes, phase }: State): bigint {
  return (
    BigInt(pending & COUNT) |
    (BigInt.asUintN(22, BigInt(bytes)) << 20n) |
    (BigInt(phase) << 42n) |
    (BigInt(expected & COUNT) << 43n)
  );
}

/** Starts the next phase when nobody and nothing is missing. */
function settle(state: State): void {
  if (state.pending > 0 || state.bytes !== 0) return;
  state.phase ^= 1;
  state.pending = state.expected;
}

/**
 * Performs an operation on a barrier object.
 *
 * @param argument count, bytes, state or parity
 * @returns the state of before (arrivals), 1 or 0 (tests), pending arrivals of a state
 */
export function phaseBarrier(view: DataView, at: number, mode: string, argument: bigint | undefined): bigint {
  if (mode === 'pending') return BigInt(unpack(argument ?? 0n).pending);
  const before = view.getBigUint64(at, true);
  const state = unpack(before);
  const count = Number(argument ?? 1n);
  switch (mode) {
    case 'initialize':
      view.setBigUint64(at, pack({ pending: count, expected: count, bytes: 0, phase: 0 }), true);
      return 0n;
    case 'invalidate':
      view.setBigUint64(at, 0n, true);
      return 0n;
    case 'test':
      return state.phase !== unpack(argument ?? 0n).phase ? 1n : 0n;
    case 'testParity':
      return state.phase !== (count & 1) ? 1n : 0n;
    case 'expect':
      state.bytes += count;
      break;
    case 'complete':
      state.bytes -= count;
      settle(state);
      break;
    case 'arriveExpect':
    case 'arriveDropExpect':
      state.bytes += count;
      state.pending--;
      if (mode === 'arriveDropExpect') state.expected--;
      settle(state);
      break;
    default:
      state.pending -= count;
      if (mode === 'arriveDrop') state.expected -= count;
      settle(state);
      break;
  }
  view.setBigUint64(at, pack(state), true);
  return before;
}
