/**
 * `KernelProgram`: one kernel as a control-flow graph in static single assignment form, calls resolved, nothing of the
 * source language left. An operation is an operation with a width in bits, defined here on integers modulo 2^width; a
 * second front end (machine code) lowers to the same form. Templates are derived from it and the simulated device
 * executes it, so everything an execution needs is in it.
 *
 * Invariants (checked by `validateProgram`): blocks are numbered in reverse postorder, block 0 is the entry and has no
 * predecessors; values of a block have ascending ids, phis first; an operand's definition dominates its use (a phi's
 * operand: the end of the matching predecessor).
 */
import type { DiagnosticCode, Span } from '../diagnostics/index.js';

/** Index into {@link KernelProgram.values}. */
export type ValueId = number;
/** Index into {@link KernelProgram.blocks}. */
export type BlockId = number;

/**
 * Pure integer operations; all operands and the result have the value's width unless said otherwise. Division by zero
 * gives all ones, remainder by zero the dividend (what the hardware does; PTX ISA 9.7.1.8 leaves it unspecified).
 */
export const INTEGER_OPERATIONS = [
  'add',
  'sub',
  'mul',
  'mulHighSigned',
  'mulHighUnsigned',
  'divSigned',
  'divUnsigned',
  'remSigned',
  'remUnsigned',
  'minSigned',
  'minUnsigned',
  'maxSigned',
  'maxUnsigned',
  'and',
  'or',
  'xor',
  'not',
  /** Shift amounts are unsigned 32-bit and clamp at the width (PTX ISA 9.7.8.8). */
  'shiftLeft',
  'shiftRightLogical',
  'shiftRightArithmetic',
  /** (low, high, amount): the upper 32 bits of (high:low) shifted left, amount modulo 32. */
  'funnelLeft',
  /** (low, high, amount): the lower 32 bits of (high:low) shifted right, amount modulo 32. */
  'funnelRight',
  /** (value, position, length), PTX ISA 9.7.1.19. */
  'extractBitsSigned',
  'extractBitsUnsigned',
  /** (field, value, position, length), PTX ISA 9.7.1.20. */
  'insertBits',
  'popCount',
  'leadingZeros',
  'bitReverse',
  /** (low, high, selector): byte permutation in the default mode, PTX ISA 9.7.9.7. */
  'permuteBytes',
  /** (a, b, c, table): bitwise function of three inputs by an 8-bit table, PTX ISA 9.7.8.6. */
  'logic3',
  /** Result of width 1, operands of equal width. */
  'equal',
  'notEqual',
  'lessSigned',
  'lessEqualSigned',
  'lessUnsigned',
  'lessEqualUnsigned',
  /** (condition of width 1, then, otherwise). */
  'select',
  /** Operand of another width. */
  'truncate',
  'zeroExtend',
  'signExtend',
  /** (low, high): the concatenation, result twice as wide. */
  'concat',
  /** (a, b, carry of width 1): the carry out of a + b + carry, width 1. */
  'carry',
] as const;

/** Orderings of two integers, width 1. */
export const ORDER_OPERATIONS = ['lessSigned', 'lessEqualSigned', 'lessUnsigned', 'lessEqualUnsigned'] as const;
/** Comparisons of two integers, width 1. */
export const COMPARISON_OPERATIONS = ['equal', 'notEqual', ...ORDER_OPERATIONS] as const;

export type IntegerOperation = (typeof INTEGER_OPERATIONS)[number];

/** Floating-point operations on IEEE bits; `mode` of the instruction refines them. */
export const FLOAT_OPERATIONS = [
  'floatAdd',
  'floatSub',
  'floatMul',
  'floatFma',
  'floatDiv',
  'floatMin',
  'floatMax',
  'floatAbs',
  'floatNegate',
  'floatSquareRoot',
  'floatReciprocal',
  'floatReciprocalSquareRoot',
  'floatSine',
  'floatCosine',
  'floatLog2',
  'floatExp2',
  'floatTanh',
  /** Width 1; the relation is in the mode. */
  'floatCompare',
  'floatFromSigned',
  'floatFromUnsigned',
  'floatToSigned',
  'floatToUnsigned',
  'floatConvert',
] as const;

/** Operations of other than two operands. */
const OPERAND_COUNTS: Readonly<Partial<Record<IntegerOperation | (typeof FLOAT_OPERATIONS)[number], number>>> = {
  not: 1,
  popCount: 1,
  leadingZeros: 1,
  bitReverse: 1,
  truncate: 1,
  zeroExtend: 1,
  signExtend: 1,
  funnelLeft: 3,
  funnelRight: 3,
  extractBitsSigned: 3,
  extractBitsUnsigned: 3,
  insertBits: 4,
  permuteBytes: 3,
  logic3: 4,
  select: 3,
  carry: 3,
  floatFma: 3,
  floatAbs: 1,
  floatNegate: 1,
  floatSquareRoot: 1,
  floatReciprocal: 1,
  floatReciprocalSquareRoot: 1,
  floatSine: 1,
  floatCosine: 1,
  floatLog2: 1,
  floatExp2: 1,
  floatTanh: 1,
  floatFromSigned: 1,
  floatFromUnsigned: 1,
  floatToSigned: 1,
  floatToUnsigned: 1,
  floatConvert: 1,
};

/** Number of operands of an integer or float operation; undefined for any other name. */
export function operandCount(op: string): number | undefined {
  const known =
    (INTEGER_OPERATIONS as readonly string[]).includes(op) || (FLOAT_OPERATIONS as readonly string[]).includes(op);
  return known ? (OPERAND_COUNTS[op as IntegerOperation] ?? 2) : undefined;
}

export type FloatOperation = (typeof FLOAT_OPERATIONS)[number];

/** Values that differ from thread to thread or launch to launch, fixed during a thread's life unless said otherwise. */
export const SPECIAL_VALUES = [
  'tid.x',
  'tid.y',
  'tid.z',
  'ntid.x',
  'ntid.y',
  'ntid.z',
  'ctaid.x',
  'ctaid.y',
  'ctaid.z',
  'nctaid.x',
  'nctaid.y',
  'nctaid.z',
  'laneid',
  'clusterid.x',
  'clusterid.y',
  'clusterid.z',
  'nclusterid.x',
  'nclusterid.y',
  'nclusterid.z',
  'cluster_ctaid.x',
  'cluster_ctaid.y',
  'cluster_ctaid.z',
  'cluster_nctaid.x',
  'cluster_nctaid.y',
  'cluster_nctaid.z',
  'cluster_ctarank',
  'cluster_nctarank',
  'lanemask_eq',
  'lanemask_le',
  'lanemask_lt',
  'lanemask_ge',
  'lanemask_gt',
  'dynamic_smem_size',
  'total_smem_size',
  'aggr_smem_size',
] as const;

/** The field's own names for them (PTX ISA 10), without the percent sign. */
export type SpecialValue = (typeof SPECIAL_VALUES)[number];

/** Where an access goes. `generic`: any of global, shared, local, parameter; `runtime`: memory of the device runtime. */
export const MEMORY_SPACES = ['global', 'generic', 'constant', 'shared', 'local', 'parameter', 'runtime'] as const;
export type MemorySpace = (typeof MEMORY_SPACES)[number];

export type Operation =
  | IntegerOperation
  | FloatOperation
  /** Immediate bits. */
  | 'constant'
  /** A register that was never written on this path: any value may be chosen for it. */
  | 'undefined'
  /** A value this form does not model; `reason` says why. */
  | 'opaque'
  | 'special'
  /** Little-endian bits of the parameter block at byte `immediate`. */
  | 'parameter'
  /** Address `immediate` bytes into the parameter block, in the parameter space (or generic after `toGeneric`). */
  | 'parameterAddress'
  /** Address of {@link KernelProgram.objects}[`immediate`], in its own space. */
  | 'objectAddress'
  /** Address of {@link KernelProgram.functions}[`immediate`]. */
  | 'functionAddress'
  /** (address in `space`): the generic address; global addresses are equal to their generic form. */
  | 'toGeneric'
  /** (generic address): the address in `space`. */
  | 'fromGeneric'
  /** (generic address): whether it is in `space`; width 1. */
  | 'isSpace'
  /** Memory read: (address); `access` says more. Of several elements: use `element`. */
  | 'load'
  /** Element `immediate` of a load or atomic of several elements. */
  | 'element'
  /** (value): the same register's value in some thread of the same warp; `action` says which. */
  | 'exchange'
  /** What a thread does with other threads, or with memory that does not outlive the launch; `action` says what. */
  | 'action'
  /** (action or exchange): result `immediate` of it; of an exchange, 1 is whether the lane was in range. */
  | 'result'
  /** Memory written or read without a result in a register; `access` says how. */
  | 'access'
  /** One operand per predecessor of the block, in the order of {@link Block.predecessors}. */
  | 'phi';

export type Rounding = 'nearestEven' | 'zero' | 'down' | 'up' | 'nearestAway' | 'stochastic';

/**
 * How the bits of a floating-point number are read: `ieee` by the width (16, 32, 64), or one of the formats of machine
 * learning (PTX ISA 5.2.3, 5.2.4); those of fewer bits than their width have the rest in front, zero.
 */
export type FloatFormat = 'ieee' | 'bf16' | 'tf32' | 'e4m3' | 'e5m2' | 'e2m3' | 'e3m2' | 'e2m1' | 'ue8m0';

export interface FloatMode {
  /** Width in bits of the operands where it differs from the result's (conversions, comparisons). */
  readonly operandWidth?: number;
  /** Absent: `ieee`. */
  readonly format?: FloatFormat;
  /** Format of a conversion's operand; absent: `ieee`. */
  readonly operandFormat?: FloatFormat;
  /** Numbers packed into one value, the first in the lowest bits; absent: 1. */
  readonly lanes?: number;
  /** The result is at least zero. */
  readonly clampNegative?: boolean;
  /** Beyond the largest number comes the largest number, not infinity. */
  readonly saturateFinite?: boolean;
  /** floatMin, floatMax: a NaN operand gives NaN. */
  readonly propagateNaN?: boolean;
  /** floatMin, floatMax: of magnitudes. */
  readonly magnitude?: boolean;
  /** floatMin, floatMax: the sign is the exclusive or of the operands' signs. */
  readonly xorSign?: boolean;
  readonly rounding?: Rounding;
  /** Result is an integral value (`.rni` and the like). */
  readonly integral?: boolean;
  readonly flushSubnormals?: boolean;
  readonly saturate?: boolean;
  readonly approximate?: boolean;
  /** floatCompare: eq, ne, lt, le, gt, ge and their unordered forms equ …, num, nan. */
  readonly relation?: string;
}

/**
 * Ways of touching memory. The first group writes global memory (or may), the second only reads it.
 */
export const WRITE_KINDS = [
  'store',
  'atomic',
  'reduction',
  'asyncStore',
  'asyncReduction',
  'bulkStore',
  'bulkCopy',
  'bulkReduction',
  'tensorStore',
  'tensorReduction',
  'matrixStore',
  'multicastStore',
  'multicastReduction',
  'surfaceStore',
  'surfaceReduction',
  'tensorMapUpdate',
  'discard',
  'runtimeMemory',
  'childLaunch',
  'call',
  'unknownInstruction',
] as const;
export const READ_KINDS = [
  'load',
  'atomicLoad',
  'asyncLoad',
  'bulkLoad',
  'tensorLoad',
  'matrixLoad',
  'multicastLoad',
  'surfaceLoad',
  'textureLoad',
] as const;
export type WriteKind = (typeof WRITE_KINDS)[number];
export type ReadKind = (typeof READ_KINDS)[number];

/** Where an access stands in the source; for people and reports only, no rule depends on it. */
export interface Origin {
  /** Offset in the module's source text. */
  readonly offset: number;
  /** The instruction's spelling, `st.global.v2.u32`. */
  readonly instruction: string;
  /** Functions it was inlined through, outermost first; empty in the kernel itself. */
  readonly inlined: readonly string[];
}

/** Elements of an atomic function. */
export interface ElementType {
  readonly signed?: boolean;
  readonly float?: FloatFormat;
  /** Numbers in one element of the access; matrixLoad, matrixStore: matrices. */
  readonly lanes?: number;
  /** Bits of an element, where the access does not say it by its values. */
  readonly width?: number;
}

/** Where a copy reads what it writes, or puts what it reads. */
export interface Transfer {
  readonly space?: MemorySpace;
  readonly address?: ValueId;
  /** Bytes that are read; zeros follow up to the bytes written. */
  readonly length?: ValueId;
  /** Nothing is read when this value of width 1 is one: zeros. */
  readonly ignore?: ValueId;
  /** Which bytes of every sixteen are written. */
  readonly mask?: ValueId;
  /** Phase barrier in shared memory that is told the number of bytes. */
  readonly signal?: ValueId;
}

/**
 * What threads do beside computing and touching global memory. Nothing of it changes what an address depends on: results
 * (`result`) are as good as unknown to whoever asks what determines a value. It is held for execution.
 *
 * `operands` by kind: `shuffle` lane, clamp and segment; `vote`, `match`, `reduce` the value; `barrier` number, value of a
 * reduction; `phaseBarrier` address and count or state; `matrixLoad` address; `matrixStore` address, values; `stack` size,
 * alignment; `clusterAddress` address, rank; `clusterRank` address; others none.
 */
export const ACTION_KINDS = [
  'shuffle',
  'vote',
  'match',
  'reduce',
  'activeMask',
  'elect',
  'warpBarrier',
  'barrier',
  'clusterArrive',
  'clusterWait',
  /** A barrier object in shared memory, counted by arrivals and bytes. */
  'phaseBarrier',
  /** Eight by eight matrices of 16-bit elements between shared memory and the registers of a warp. */
  'matrixLoad',
  'matrixStore',
  'stack',
  'clusterAddress',
  'clusterRank',
  /** A function of the device runtime, by name in `mode`. */
  'runtimeCall',
  /** A register of the machine that depends on time or place, by name in `mode`. */
  'machineRegister',
  /** The launch ends with an error. */
  'trap',
  /** Something with an effect that is not described. */
  'unmodelled',
] as const;
export type ActionKind = (typeof ACTION_KINDS)[number];

export interface Action {
  readonly kind: ActionKind;
  /** Variation of the kind: shuffle up, down, butterfly, index; vote all, any, uniform, ballot; barrier sync, arrive, … */
  readonly mode?: string;
  readonly operands: readonly ValueId[];
  /** Mask of the lanes that take part; absent: those that are there. */
  readonly members?: ValueId;
  /** barrier: number of threads; absent: all of the block. */
  readonly count?: ValueId;
  /** Done only if this value of width 1 is one. */
  readonly guard?: ValueId;
  readonly elementType?: ElementType;
  readonly origin: Origin;
}

/** `tile`: a box from a corner on; `rows`: rows of a box, each with a coordinate of its own; `im2col`: columns of a window. */
export const TENSOR_MODES = ['tile', 'rows', 'im2col'] as const;
export type TensorMode = (typeof TENSOR_MODES)[number];

/** How a `load` or `access` touches memory. */
export interface Access {
  readonly writes?: WriteKind;
  readonly reads?: ReadKind;
  readonly space: MemorySpace;
  /** Bytes touched from the address on, when it is a constant; 0 with `length` or when not known. */
  readonly bytes: number;
  /** Bytes touched, when it is a value. */
  readonly length?: ValueId;
  /** Touched only if this value of width 1 is one. */
  readonly guard?: ValueId;
  /** matrixStore/matrixLoad: rows of `bytes` each, this many bytes apart. */
  readonly rows?: { readonly count: number; readonly stride: ValueId };
  /** A mask chooses which of the bytes are touched. */
  readonly masked?: boolean;
  /** Tensor and surface accesses: coordinates, innermost first. */
  readonly coordinates?: readonly ValueId[];
  /** Tensor accesses: how the coordinates choose elements (PTX ISA 5.5.3). */
  readonly tensorMode?: TensorMode;
  /** Values written, in order of memory; for execution. */
  readonly values?: readonly ValueId[];
  /** The other side of a copy; for execution. */
  readonly transfer?: Transfer;
  /** How the function of an atomic or reduction reads its elements; absent: unsigned. For execution. */
  readonly elementType?: ElementType;
  /** Element count of a load, store or atomic of several elements (`values.length`, results by `element`). */
  readonly elements?: number;
  /** Name of the atomic function: add, min, max, inc, dec, cas, exch, and, or, xor. */
  readonly atomic?: string;
  /** Why the written place cannot be described, when that is already certain. */
  readonly reason?: DiagnosticCode;
  readonly detail?: string;
  readonly origin: Origin;
}

/** One SSA value or memory access. */
export interface Value {
  readonly op: Operation;
  /** Result width in bits: 1 for predicates, 8 … 128; 0 for `access` and `action`. */
  readonly width: number;
  readonly args: readonly ValueId[];
  /** `constant`: bits, 0 ≤ immediate < 2^width. `parameter…`: byte offset. Others as said at the operation. */
  readonly immediate?: bigint;
  readonly special?: SpecialValue;
  readonly space?: MemorySpace;
  readonly mode?: FloatMode;
  readonly reason?: DiagnosticCode;
  readonly access?: Access;
  readonly action?: Action;
  /** `opaque`: the instruction whose result it is, where there is one. */
  readonly origin?: Origin;
}

export type Terminator =
  | { readonly kind: 'jump'; readonly target: BlockId }
  | { readonly kind: 'branch'; readonly condition: ValueId; readonly whenTrue: BlockId; readonly whenFalse: BlockId }
  /** Index beyond the last target: undefined behaviour in the source, taken as the last. */
  | { readonly kind: 'switch'; readonly index: ValueId; readonly targets: readonly BlockId[] }
  | { readonly kind: 'exit' };

export interface Block {
  /** Values `first … first + count - 1` belong to this block. */
  readonly first: ValueId;
  readonly count: number;
  readonly predecessors: readonly BlockId[];
  readonly terminator: Terminator;
  readonly immediateDominator: BlockId;
  /** Innermost loop it belongs to, by header block; -1 outside loops. */
  readonly loop: BlockId;
}

/** One kernel parameter: bytes `offset … offset + size - 1` of the parameter block. */
export interface KernelParameter {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly align: number;
  /** Element type as declared: `u64`, `f32`, `b8` (with `size` for arrays). */
  readonly type: string;
  readonly isArray: boolean;
}

/** The address of a variable or function inside an initialiser: bits `shift …` of it stand at `offset`. */
export interface Relocation {
  readonly offset: number;
  /** 8, or 1 when a mask takes one byte of the address. */
  readonly bytes: number;
  readonly shift: number;
  readonly name: string;
  readonly space: 'global' | 'constant' | 'function';
  /** The generic address, not the one in the variable's own space. */
  readonly generic: boolean;
  readonly addend: number;
}

/** Content when the module is loaded. */
export interface InitialContent {
  /** The first bytes, hexadecimal; the rest, and what relocations cover, is zero. */
  readonly initial: string;
  readonly relocations?: readonly Relocation[];
}

/** A variable with storage: of the module, or of a function (shared, local). Without `initial` its first content is unknown. */
export interface MemoryObject extends Partial<InitialContent> {
  readonly name: string;
  readonly space: 'global' | 'constant' | 'shared' | 'local';
  /** Bytes; 0 when open-ended (`.extern .shared x[]`). */
  readonly size: number;
  readonly align: number;
  /** Declared in another module. */
  readonly external: boolean;
  /** Accessed by the host under the same address (`.managed`). */
  readonly managed: boolean;
}

/** What the source promises about the launch geometry; zero means no promise. */
export interface LaunchBounds {
  readonly requiredBlock?: readonly [number, number, number];
  readonly maximumBlock?: readonly [number, number, number];
  readonly requiredCluster?: readonly [number, number, number];
}

/** A fact about the lowering that widened something, with its place. */
export interface ProgramNote {
  readonly code: DiagnosticCode;
  readonly offset: number;
  readonly message: string;
}

export interface KernelProgram {
  readonly name: string;
  /** Offset of the kernel's declaration in the source text. */
  readonly offset: number;
  readonly parameters: readonly KernelParameter[];
  /** Size of the parameter block in bytes. */
  readonly parameterBytes: number;
  readonly bounds: LaunchBounds;
  readonly objects: readonly MemoryObject[];
  readonly functions: readonly string[];
  readonly values: readonly Value[];
  readonly blocks: readonly Block[];
  /** Source text it was made from, in order: the kernel and every function expanded into it. */
  readonly spans: readonly Span[];
  readonly notes: readonly ProgramNote[];
}
