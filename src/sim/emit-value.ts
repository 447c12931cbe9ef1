/** One value as a statement: leaves, address conversions, selections, and dispatch to integers, floats, accesses, actions. */
import { InternalError } from '../diagnostics/index.js';
import {
  type FloatMode,
  type FloatOperation,
  type IntegerOperation,
  isFloatOperation,
  isIntegerOperation,
  type MemorySpace,
  type SpecialValue,
  type ValueId,
} from '../ir/form.js';
import { type AccessEmitter, accessStatement } from './emit-access.js';
import { actionStatement } from './emit-action.js';
import { slowFloatStatement } from './emit-float.js';
import { integerStatement } from './emit-integer.js';
import { assignBig } from './names.js';

/** Calls of the general definitions, numbered as they are met. */
export interface SlowLists {
  readonly integers: [IntegerOperation, number, number][];
  readonly floats: [FloatOperation, number, FloatMode][];
}

/** Upper half of generic addresses: windows at 0x00a… stand for memory that is not global. */
export const WINDOWS: Readonly<Partial<Record<MemorySpace, number>>> = {
  shared: 0xa0,
  local: 0xa1,
  parameter: 0xa2,
};
export const FUNCTION_WINDOW = 0xa8;

const AXES = ['x', 'y', 'z'] as const;

const SPECIALS: Readonly<Record<string, string>> = {
  laneid: 'T.lane',
  cluster_ctarank: 'T.cta.rank',
  cluster_nctarank: 'K.cluster[0]*K.cluster[1]*K.cluster[2]',
  lanemask_eq: '1<<T.lane',
  lanemask_lt: '(1<<T.lane)-1|0',
  lanemask_le: '(2<<T.lane)-1|0',
  lanemask_gt: '~((2<<T.lane)-1)',
  lanemask_ge: '~((1<<T.lane)-1)',
  dynamic_smem_size: 'K.dynamicShared',
  total_smem_size: 'K.totalShared',
  aggr_smem_size: 'K.totalShared',
  ...Object.fromEntries(
    AXES.flatMap((axis, index) => [
      [`tid.${axis}`, `T.${axis}`],
      [`ntid.${axis}`, `K.block[${index}]`],
      [`ctaid.${axis}`, `T.cta.${axis}`],
      [`nctaid.${axis}`, `K.grid[${index}]`],
      [`clusterid.${axis}`, `T.cta.${axis}/K.cluster[${index}]|0`],
      [`nclusterid.${axis}`, `K.grid[${index}]/K.cluster[${index}]|0`],
      [`cluster_ctaid.${axis}`, `T.cta.${axis}%K.cluster[${index}]`],
      [`cluster_nctaid.${axis}`, `K.cluster[${index}]`],
    ]),
  ),
} satisfies Record<SpecialValue, string> | Record<string, string>;

export class ValueEmitter {
  readonly lists: SlowLists = { integers: [], floats: [] };

  constructor(readonly e: AccessEmitter) {}

  /** The statement that computes a value; empty for what needs none. */
  statement(id: ValueId): string {
    const { n } = this.e;
    const value = n.value(id);
    const { op, width } = value;
    switch (op) {
      case 'constant':
      case 'phi':
      case 'element':
      case 'result':
        return '';
      case 'undefined':
        return this.#noise(id, `M.noise(T,${id},`);
      case 'opaque':
        return this.#noise(id, `M.opaque(T,${this.e.sites.of.get(id) ?? -1},`);
      case 'special':
        return `v${id}=${SPECIALS[value.special!]!};${this.#float(id)}`;
      case 'parameter':
        return this.#parameter(id, Number(value.immediate));
      case 'parameterAddress':
        return `l${id}=${Number(value.immediate)};h${id}=0;`;
      case 'objectAddress':
        return `l${id}=K.objects[${2 * Number(value.immediate)}];h${id}=K.objects[${2 * Number(value.immediate) + 1}];`;
      case 'functionAddress':
        return `l${id}=${16 * (Number(value.immediate) + 1)};h${id}=${FUNCTION_WINDOW << 16};`;
      case 'toGeneric':
      case 'fromGeneric':
        return this.#convert(id, op === 'toGeneric');
      case 'isSpace':
        return this.#isSpace(id);
      case 'load':
      case 'access':
        return accessStatement(this.e, id);
      case 'exchange':
      case 'action':
        return actionStatement(this.e, id);
      case 'select':
        if (width === 32 || width === 64) return this.#select(id);
        break;
      default:
        break;
    }
    if (isFloatOperation(op)) return this.#floatOperation(id);
    if (!isIntegerOperation(op)) throw new InternalError(`operation ${op} is not executed`);
    const integer = integerStatement(n, id, (name, wide, from) => this.lists.integers.push([name, wide, from]) - 1);
    return integer + this.#float(id);
  }

  /** After its bits are there: the number they are, where it is needed. */
  #float(id: ValueId): string {
    if (!this.e.demand.float[id]) return '';
    return this.e.n.width(id) === 32 ? `f${id}=X.single(v${id});` : `f${id}=X.double(l${id},h${id});`;
  }

  #noise(id: ValueId, call: string): string {
    const width = this.e.n.width(id);
    if (width > 64) return assignBig(id, width, `M.bigNoise(T,${id},${width})`);
    if (width === 64) return `l${id}=${call}0);h${id}=${call}1);${this.#float(id)}`;
    return `v${id}=${call}0)${width === 32 ? '' : `&${2 ** width - 1}`};${this.#float(id)}`;
  }

  #parameter(id: ValueId, offset: number): string {
    const width = this.e.n.width(id);
    if (width === 64)
      return `l${id}=P.getInt32(${offset},true);h${id}=P.getInt32(${offset + 4},true);${this.#float(id)}`;
    if (width === 32) return `v${id}=P.getInt32(${offset},true);${this.#float(id)}`;
    if (width === 16) return `v${id}=P.getUint16(${offset},true);`;
    if (width <= 8) return `v${id}=P.getUint8(${offset})${width < 8 ? `&${2 ** width - 1}` : ''};`;
    return assignBig(id, width, `M.readBig(P,${offset},${width / 8})`);
  }

  #convert(id: ValueId, toGeneric: boolean): string {
    const { n } = this.e;
    const { args, space, width } = n.value(id);
    const [address] = args as [ValueId];
    if (width !== 64) return `v${id}=${n.word(address)};`;
    const window = WINDOWS[space!];
    if (window === undefined) return `l${id}=${n.low(address)};h${id}=${n.high(address)};`;
    return `l${id}=${n.low(address)};h${id}=${toGeneric ? window << 16 : 0};`;
  }

  #isSpace(id: ValueId): string {
    const { n } = this.e;
    const { args, space } = n.value(id);
    const [address] = args as [ValueId];
    const window = WINDOWS[space!];
    if (window !== undefined) return `v${id}=(${n.high(address)}>>>16)===${window}?1:0;`;
    if (space === 'constant') return `v${id}=M.isConstant(${n.low(address)},${n.high(address)})?1:0;`;
    return `v${id}=(${n.high(address)}>>>20)===10?0:1;`;
  }

  #select(id: ValueId): string {
    const { n, demand } = this.e;
    const [condition, a, b] = n.value(id).args as [ValueId, ValueId, ValueId];
    const parts: string[] = [];
    if (demand.bits[id]) parts.push(integerStatement(n, id, () => 0));
    if (demand.float[id]) parts.push(`f${id}=${n.word(condition)}?${n.float(a)}:${n.float(b)};`);
    return parts.join('');
  }

  #floatOperation(id: ValueId): string {
    const { n, demand } = this.e;
    const { op, width, args } = n.value(id);
    const plan = demand.plans[id];
    if (!plan) {
      const mode = { operandWidth: n.width(args[0]!), ...n.value(id).mode };
      const index = this.lists.floats.push([op as FloatOperation, width, mode]) - 1;
      return slowFloatStatement(n, id, index) + this.#float(id);
    }
    const text = plan.expression(n, id);
    if (plan.result === 'bits') return `v${id}=${text};${this.#float(id)}`;
    if (width !== 32 && width !== 64) throw new InternalError('a number that is neither single nor double');
    const toBits = (number: string) =>
      width === 32 ? `v${id}=X.singleBits(${number});` : `l${id}=X.doubleBits(${number});h${id}=X.h;`;
    if (!demand.float[id]) return toBits(text);
    return `f${id}=${text};${demand.bits[id] ? toBits(`f${id}`) : ''}`;
  }
}
