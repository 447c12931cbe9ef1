/**
 * Integer operations as JavaScript. The common ones have code of their own for one word and for two; everything else goes
 * through `evaluateInteger`, so that there is one meaning. `test/sim/integer.test.ts` holds both against each other.
 */
import type { IntegerOperation, ValueId } from '../ir/form.js';
import { assignBig, type Names } from './names.js';

/** A statement that gives value `id` its bits; `slow` registers a call of the general definition. */
export function integerStatement(
  n: Names,
  id: ValueId,
  slow: (op: IntegerOperation, width: number, operandWidth: number) => number,
): string {
  const { op, width, args } = n.value(id) as { op: IntegerOperation; width: number; args: readonly ValueId[] };
  const operandWidth = n.width(args[0]!);
  const fast =
    operandWidth > 64 || width > 64
      ? undefined
      : (mixed(n, id, op, width, operandWidth) ??
        (operandWidth === 64 ? pairStatement(n, id, op) : wordStatement(n, id, op, width)));
  if (fast !== undefined) return fast;
  const index = slow(op, width, operandWidth);
  return assignBig(id, width, `X.integer(${index},[${args.map((arg) => n.big(arg)).join()}])`);
}

/** Operations between widths. */
function mixed(n: Names, id: ValueId, op: string, width: number, from: number): string | undefined {
  const { args } = n.value(id);
  const [a, b, c] = args as [ValueId, ValueId, ValueId];
  const mask = (expression: string) =>
    width === 32 ? `v${id}=${expression}|0;` : `v${id}=${expression}&${2 ** width - 1};`;
  switch (op) {
    case 'truncate':
      if (from === 64) return width < 64 ? mask(n.low(a)) : undefined;
      return mask(n.word(a));
    case 'zeroExtend':
      if (width < 64) return width === 32 ? `v${id}=${n.word(a)}|0;` : `v${id}=${n.word(a)};`;
      return from <= 32 ? `l${id}=${n.word(a)}|0;h${id}=0;` : undefined;
    case 'signExtend':
      if (width < 64) return mask(n.signed(a));
      return from <= 32 ? `l${id}=${n.signed(a)};h${id}=l${id}>>31;` : undefined;
    case 'concat':
      if (width === 64) return `l${id}=${n.word(a)};h${id}=${n.word(b)};`;
      return width <= 32 ? mask(`((${n.word(b)}<<${from})|${n.word(a)})`) : undefined;
    case 'select': {
      const condition = n.word(a);
      if (width === 64) {
        return `if(${condition}){l${id}=${n.low(b)};h${id}=${n.high(b)};}else{l${id}=${n.low(c)};h${id}=${n.high(c)};}`;
      }
      return `v${id}=${condition}?${n.word(b)}:${n.word(c)};`;
    }
    case 'popCount':
      return from === 64
        ? `v${id}=X.popCount(${n.low(a)})+X.popCount(${n.high(a)});`
        : `v${id}=X.popCount(${n.word(a)});`;
    case 'leadingZeros':
      if (from === 64) return `v${id}=${n.high(a)}!==0?Math.clz32(${n.high(a)}):32+Math.clz32(${n.low(a)});`;
      return `v${id}=Math.clz32(${n.word(a)})-${32 - from};`;
    default:
      return undefined;
  }
}

function wordStatement(n: Names, id: ValueId, op: string, width: number): string | undefined {
  const { args } = n.value(id);
  const from = n.width(args[0]!);
  const [a, b, c] = args.map((arg) => (n.width(arg) <= 32 ? n.word(arg) : '')) as [string, string, string];
  const [ua, ub] = args.map((arg) => (n.width(arg) <= 32 ? n.unsigned(arg) : '')) as [string, string];
  const [sa, sb] = args.map((arg) => (n.width(arg) <= 32 ? n.signed(arg) : '')) as [string, string];
  const put = (expression: string) =>
    width === 32 ? `v${id}=${expression}|0;` : `v${id}=(${expression})&${2 ** width - 1};`;
  const exact = (expression: string) => `v${id}=${expression};`;
  const truth = (expression: string) => `v${id}=${expression}?1:0;`;
  const amount = args[1] === undefined ? undefined : n.constant(args[1]);
  switch (op) {
    case 'add':
      return put(`(${a}+${b})`);
    case 'sub':
      return put(`(${a}-${b})`);
    case 'mul':
      return put(`Math.imul(${a},${b})`);
    case 'mulHighUnsigned':
      return width === 32 ? exact(`X.mulHigh(${a},${b})`) : put(`(${a}*${b}/${2 ** width}|0)`);
    case 'mulHighSigned':
      return width === 32 ? exact(`X.mulHighSigned(${a},${b})`) : put(`(${sa}*${sb}>>${width})`);
    case 'divUnsigned':
      return put(`(${b}===0?-1:${ua}/${ub})`);
    case 'remUnsigned':
      return put(`(${b}===0?${a}:${ua}%${ub})`);
    case 'divSigned':
      return put(`(${b}===0?-1:${sa}/${sb})`);
    case 'remSigned':
      return put(`(${b}===0?${a}:${sa}%${sb})`);
    case 'minSigned':
      return exact(`${sa}<${sb}?${a}:${b}`);
    case 'maxSigned':
      return exact(`${sa}>${sb}?${a}:${b}`);
    case 'minUnsigned':
      return exact(`${ua}<${ub}?${a}:${b}`);
    case 'maxUnsigned':
      return exact(`${ua}>${ub}?${a}:${b}`);
    case 'and':
      return exact(`${a}&${b}`);
    case 'or':
      return exact(`${a}|${b}`);
    case 'xor':
      return exact(`${a}^${b}`);
    case 'not':
      return put(`(~${a})`);
    case 'shiftLeft':
      if (amount !== undefined) return put(amount >= BigInt(width) ? '0' : `(${a}<<${amount})`);
      return put(`(${ub}<${width}?${a}<<${b}:0)`);
    case 'shiftRightLogical':
      if (amount !== undefined) return put(amount >= BigInt(width) ? '0' : `(${a}>>>${amount})`);
      return put(`(${ub}<${width}?${a}>>>${b}:0)`);
    case 'shiftRightArithmetic':
      if (amount !== undefined) return put(`(${sa}>>${amount > 31n ? 31n : amount})`);
      return put(`(${sa}>>(${ub}<31?${b}:31))`);
    case 'funnelLeft':
      return exact(`X.funnelLeft(${a},${b},${c})`);
    case 'funnelRight':
      return exact(`X.funnelRight(${a},${b},${c})`);
    case 'extractBitsUnsigned':
      return width === 32 ? exact(`X.extract(${a},${b},${c})`) : undefined;
    case 'extractBitsSigned':
      return width === 32 ? exact(`X.extractSigned(${a},${b},${c})`) : undefined;
    case 'insertBits':
      return width === 32 ? exact(`X.insert(${a},${b},${c},${n.word(args[3]!)})`) : undefined;
    case 'permuteBytes':
      return exact(`X.permute(${a},${b},${c})`);
    case 'bitReverse':
      return width === 32 ? exact(`X.reverse(${a})`) : undefined;
    case 'logic3': {
      const table = n.constant(args[3]!);
      return table === undefined || width !== 32 ? undefined : exact(logic3(a, b, c, Number(table)));
    }
    case 'equal':
      return truth(`${a}===${b}`);
    case 'notEqual':
      return truth(`${a}!==${b}`);
    case 'lessSigned':
      return truth(`${sa}<${sb}`);
    case 'lessEqualSigned':
      return truth(`${sa}<=${sb}`);
    case 'lessUnsigned':
      return truth(`${ua}<${ub}`);
    case 'lessEqualUnsigned':
      return truth(`${ua}<=${ub}`);
    case 'carry':
      return truth(`${ua}+${ub}+${c}>${2 ** from - 1}`);
    default:
      return undefined;
  }
}

/** A bitwise function of three inputs as the union of its rows. */
function logic3(a: string, b: string, c: string, table: number): string {
  const rows: string[] = [];
  for (let row = 0; row < 8; row++) {
    if (!((table >> row) & 1)) continue;
    rows.push(`(${row & 4 ? a : `~${a}`}&${row & 2 ? b : `~${b}`}&${row & 1 ? c : `~${c}`})`);
  }
  if (rows.length === 0) return '0';
  return rows.length === 8 ? '-1' : rows.join('|');
}

/** A comparison of two words of each operand. */
function order(n: Names, a: ValueId, b: ValueId, orEqual: boolean, signed: boolean): string {
  const high = (x: ValueId) => (signed ? n.high(x) : `(${n.high(x)}>>>0)`);
  const low = `(${n.low(a)}>>>0)${orEqual ? '<=' : '<'}(${n.low(b)}>>>0)`;
  return `(${n.high(a)}===${n.high(b)}?${low}:${high(a)}<${high(b)})`;
}

function pairStatement(n: Names, id: ValueId, op: string): string | undefined {
  const { args } = n.value(id);
  const [a, b] = args as [ValueId, ValueId];
  const put = (low: string, high: string) => `l${id}=${low};h${id}=${high};`;
  const amount = args[1] === undefined ? undefined : n.constant(args[1]);
  const choose = (condition: string) =>
    `if(${condition}){${put(n.low(a), n.high(a))}}else{${put(n.low(b), n.high(b))}}`;
  const call = (name: string, operands: string) => `l${id}=X.${name}(${operands});h${id}=X.h;`;
  const both = () => `${n.low(a)},${n.high(a)},${n.low(b)},${n.high(b)}`;
  switch (op) {
    case 'add':
      return put(`(${n.low(a)}+${n.low(b)})|0`, `(${n.high(a)}+${n.high(b)}+((l${id}>>>0)<(${n.low(a)}>>>0)?1:0))|0`);
    case 'sub':
      return put(
        `(${n.low(a)}-${n.low(b)})|0`,
        `(${n.high(a)}-${n.high(b)}-((${n.low(a)}>>>0)<(${n.low(b)}>>>0)?1:0))|0`,
      );
    case 'mul':
      if (amount !== undefined && amount > 0n && (amount & (amount - 1n)) === 0n) {
        return shiftLeft(n, id, a, amount.toString(2).length - 1);
      }
      return put(
        `Math.imul(${n.low(a)},${n.low(b)})`,
        `(X.mulHigh(${n.low(a)},${n.low(b)})+Math.imul(${n.high(a)},${n.low(b)})+Math.imul(${n.low(a)},${n.high(b)}))|0`,
      );
    case 'divUnsigned':
      return call('divide', both());
    case 'remUnsigned':
      return call('remainder', both());
    case 'minSigned':
      return choose(order(n, a, b, true, true));
    case 'maxSigned':
      return choose(order(n, b, a, true, true));
    case 'minUnsigned':
      return choose(order(n, a, b, true, false));
    case 'maxUnsigned':
      return choose(order(n, b, a, true, false));
    case 'and':
      return put(`${n.low(a)}&${n.low(b)}`, `${n.high(a)}&${n.high(b)}`);
    case 'or':
      return put(`${n.low(a)}|${n.low(b)}`, `${n.high(a)}|${n.high(b)}`);
    case 'xor':
      return put(`${n.low(a)}^${n.low(b)}`, `${n.high(a)}^${n.high(b)}`);
    case 'not':
      return put(`~${n.low(a)}`, `~${n.high(a)}`);
    case 'shiftLeft':
      if (amount !== undefined) return shiftLeft(n, id, a, Number(amount));
      return call('shiftLeft', `${n.low(a)},${n.high(a)},${n.unsigned(b)}`);
    case 'shiftRightLogical':
    case 'shiftRightArithmetic': {
      const signed = op === 'shiftRightArithmetic';
      if (amount === undefined) {
        return call(signed ? 'shiftRightSigned' : 'shiftRight', `${n.low(a)},${n.high(a)},${n.unsigned(b)}`);
      }
      return shiftRight(n, id, a, Number(amount), signed);
    }
    case 'equal':
      return `v${id}=${n.low(a)}===${n.low(b)}&&${n.high(a)}===${n.high(b)}?1:0;`;
    case 'notEqual':
      return `v${id}=${n.low(a)}!==${n.low(b)}||${n.high(a)}!==${n.high(b)}?1:0;`;
    case 'lessSigned':
      return `v${id}=${order(n, a, b, false, true)}?1:0;`;
    case 'lessEqualSigned':
      return `v${id}=${order(n, a, b, true, true)}?1:0;`;
    case 'lessUnsigned':
      return `v${id}=${order(n, a, b, false, false)}?1:0;`;
    case 'lessEqualUnsigned':
      return `v${id}=${order(n, a, b, true, false)}?1:0;`;
    default:
      return undefined;
  }
}

function shiftLeft(n: Names, id: ValueId, a: ValueId, amount: number): string {
  if (amount === 0) return `l${id}=${n.low(a)};h${id}=${n.high(a)};`;
  if (amount >= 64) return `l${id}=0;h${id}=0;`;
  if (amount >= 32) return `l${id}=0;h${id}=${n.low(a)}<<${amount - 32};`;
  return `l${id}=${n.low(a)}<<${amount};h${id}=(${n.high(a)}<<${amount})|(${n.low(a)}>>>${32 - amount});`;
}

function shiftRight(n: Names, id: ValueId, a: ValueId, amount: number, signed: boolean): string {
  const shift = signed ? '>>' : '>>>';
  const top = signed ? `${n.high(a)}>>31` : '0';
  if (amount === 0) return `l${id}=${n.low(a)};h${id}=${n.high(a)};`;
  if (amount >= 64) return `l${id}=${top};h${id}=${top};`;
  if (amount >= 32) return `l${id}=(${n.high(a)}${shift}${amount - 32})|0;h${id}=${top};`;
  return `l${id}=(${n.low(a)}>>>${amount})|(${n.high(a)}<<${32 - amount});h${id}=(${n.high(a)}${shift}${amount})|0;`;
}
