/**
 * Random kernels: thread coordinates, numbers and loaded values that sums, products, quotients, masks, minima and choices are made of;
 * branches, loops and returns over conditions that are used again; stores where all that leads. Launches of kernels that people
 * wrote meet a rule of the analysis in the one way they are written; these meet it in others. A program follows from its seed alone.
 */
import { Random } from './random.mjs';

const HEAD = '.version 8.0\n.target sm_80\n.address_size 64\n';
const FACTORS = [1, 2, 3, 4, 5, 7, 8, 10, 16, 31, 32, 33, 100];
const BOUNDS = [0, 1, 2, 3, 5, 10, 20, 30, 40, 61, 97, 100, 123];
const DEPTH = 2;

class Program {
  lines = [];
  #registers = 0;
  #labels = 0;
  /** Numbers and conditions that every thread has that comes to the present place. */
  #numbers = [];
  #conditions = [];
  #threads;

  constructor(random) {
    this.random = random;
    this.#define('mov.u32 $, %tid.x;');
    this.#define('mov.u32 $, %ctaid.x;');
    if (random.chance(0.5)) this.#define('mov.u32 $, %tid.y;');
    if (random.chance(0.4)) this.#define('mov.u32 $, %ctaid.y;');
    if (random.chance(0.5)) this.#define('ld.param.u32 $, [n];');
    if (random.chance(0.3)) this.#define('ld.param.u32 $, [m];');
    if (random.chance(0.15)) this.#define('mov.u32 $, %laneid;');
    const [thread, block] = this.#numbers;
    this.#threads = this.#define('mov.u32 $, %ntid.x;');
    this.#numbers.pop();
    if (random.chance(0.7)) this.#define(`mad.lo.s32 $, ${block}, ${this.#threads}, ${thread};`);
    this.#block(3 + random.below(6), DEPTH);
    this.#store();
  }

  #new(kind) {
    // The first ones are the pointers.
    return `%${kind}${++this.#registers + 2}`;
  }

  #define(line) {
    const register = this.#new('r');
    this.lines.push(line.replaceAll('$', register));
    this.#numbers.push(register);
    return register;
  }

  #any() {
    return this.random.pick(this.#numbers);
  }

  #within(make) {
    const numbers = this.#numbers.length;
    const conditions = this.#conditions.length;
    make();
    this.#numbers.length = numbers;
    this.#conditions.length = conditions;
  }

  #address(pointer, offset, scale) {
    const bytes = this.#new('rd');
    const address = this.#new('rd');
    this.lines.push(`mul.wide.s32 ${bytes}, ${offset}, ${scale}; add.s64 ${address}, ${pointer}, ${bytes};`);
    return address;
  }

  #condition() {
    const { random } = this;
    if (this.#conditions.length > 0 && random.chance(0.4)) return random.pick(this.#conditions);
    const condition = this.#new('p');
    const relation = random.pick(['lt', 'le', 'gt', 'ge', 'eq', 'ne', 'lt', 'ge']);
    const right = random.chance(0.35) ? this.#any() : random.pick(BOUNDS);
    this.lines.push(`setp.${relation}.${random.pick(['s32', 's32', 'u32'])} ${condition}, ${this.#any()}, ${right};`);
    this.#conditions.push(condition);
    return condition;
  }

  #guard() {
    const condition = this.#condition();
    return `@${this.random.chance(0.5) ? '!' : ''}${condition}`;
  }

  #value() {
    const { random } = this;
    const any = () => this.#any();
    switch (random.below(15)) {
      case 0:
      case 1:
        return this.#define(`add.s32 $, ${any()}, ${any()};`);
      case 2:
        return this.#define(`sub.s32 $, ${any()}, ${any()};`);
      case 3:
      case 4:
        return this.#define(`mad.lo.s32 $, ${any()}, ${random.pick(FACTORS)}, ${any()};`);
      case 5:
        return this.#define(`add.s32 $, ${any()}, ${random.pick([-1, 1, -3, 5, 31, -32])};`);
      case 6:
      case 7: {
        const divide = random.pick(['div.u32', 'div.s32', 'rem.u32', 'rem.s32']);
        return this.#define(`${divide} $, ${any()}, ${random.pick([2, 3, 4, 5, 7, 8, 31, 32, 12])};`);
      }
      case 8:
        return this.#define(`${random.pick(['shr.u32', 'shr.s32', 'shl.b32'])} $, ${any()}, ${1 + random.below(4)};`);
      case 9:
        return this.#define(`and.b32 $, ${any()}, ${random.pick([1, 3, 7, 15, 31, 63, -4, 12])};`);
      case 10: {
        const right = random.chance(0.5) ? any() : 5 + random.below(60);
        return this.#define(`${random.pick(['min', 'max'])}.${random.pick(['s32', 'u32'])} $, ${any()}, ${right};`);
      }
      case 11: {
        const condition = this.#condition();
        return this.#define(`selp.b32 $, ${any()}, ${any()}, ${condition};`);
      }
      case 12:
      case 13: {
        const index = this.#define(`and.b32 $, ${any()}, 63;`);
        const address = this.#address('%rd2', random.chance(0.5) ? index : any(), 4);
        const loaded = this.#define(`ld.global.u32 $, [${address}];`);
        return this.#define(`and.b32 $, ${loaded}, 63;`);
      }
      default:
        return this.#define(`xor.b32 $, ${any()}, ${random.pick([1, 3, 7, 31])};`);
    }
  }

  #store() {
    const { random } = this;
    this.#within(() => {
      let at = this.#any();
      for (let terms = random.below(3); terms > 0; terms--)
        at = this.#define(`mad.lo.s32 $, ${this.#any()}, ${random.pick([1, 4, 8, 10, 100, 1000, -1])}, ${at};`);
      const address = this.#address('%rd1', at, random.pick([1, 4]));
      const guard = random.chance(0.25) ? this.#guard() : '';
      this.lines.push(`${guard} st.global.${random.pick(['u8', 'u32'])} [${address}], 1;`);
    });
  }

  #block(count, depth) {
    for (; count > 0; count--) this.#statement(depth);
  }

  #statement(depth) {
    const { random } = this;
    const kind = random.below(12);
    if (kind < 4 || (kind >= 8 && depth === 0)) this.#value();
    else if (kind < 6) this.lines.push(`${this.#guard()} bra EXIT;`);
    else if (kind < 8) this.#store();
    else if (kind < 10) this.#branch(depth);
    else this.#loop(depth);
  }

  #branch(depth) {
    const { random } = this;
    const [otherwise, end] = [`L${this.#labels++}`, `L${this.#labels++}`];
    const shared = this.#define(`mov.u32 $, ${this.#any()};`);
    const side = () =>
      this.#within(() => {
        this.#block(1 + random.below(2), depth - 1);
        if (random.chance(0.5)) this.lines.push(`mov.u32 ${shared}, ${this.#any()};`);
      });
    this.lines.push(`@${this.#condition()} bra ${otherwise};`);
    side();
    if (random.chance(0.3)) {
      this.lines.push(`bra ${end};`, `${otherwise}:`);
      side();
      this.lines.push(`${end}:`);
    } else this.lines.push(`${otherwise}:`);
  }

  #loop(depth) {
    const { random, lines } = this;
    const [head, end] = [`L${this.#labels++}`, `L${this.#labels++}`];
    const counter = this.#define(`mov.u32 $, ${random.chance(0.5) ? this.#any() : random.below(3)};`);
    const limit = random.chance(0.5) ? this.#any() : random.pick([1, 3, 4, 8, 40, 100]);
    const step = random.chance(0.3) ? this.#threads : random.pick([1, 1, 2, 4, 7, 31]);
    const sum = random.chance(0.5) ? this.#define(`mov.u32 $, ${this.#any()};`) : undefined;
    const sign = random.pick(['s32', 's32', 'u32']);
    const test = (relation, target) => {
      const condition = this.#new('p');
      lines.push(`setp.${relation}.${sign} ${condition}, ${counter}, ${limit}; @${condition} bra ${target};`);
    };
    const isTestedFirst = random.chance(0.5);
    if (isTestedFirst) lines.push(`${head}:`);
    if (isTestedFirst || random.chance(0.8)) test('ge', end);
    if (!isTestedFirst) lines.push(`${head}:`);
    this.#within(() => {
      if (random.chance(0.7)) this.#store();
      this.#block(random.below(2), depth - 1);
      if (random.chance(0.15)) lines.push(`@${this.#condition()} bra ${end};`);
      if (!sum) return;
      const added = random.chance(0.3)
        ? this.#define(`selp.b32 $, ${random.pick([1, 2, 100])}, ${random.pick([1, 3, 0])}, ${this.#condition()};`)
        : random.chance(0.6)
          ? random.pick([1, 3, 4, -1])
          : this.#any();
      lines.push(`add.s32 ${sum}, ${sum}, ${added};`);
    });
    lines.push(`add.s32 ${counter}, ${counter}, ${step};`);
    if (isTestedFirst) lines.push(`bra ${head};`);
    else test('lt', head);
    lines.push(`${end}:`);
  }
}

/** The text of a module with one kernel. */
export function randomProgram(seed) {
  const { lines } = new Program(new Random(seed));
  const registers = ['.pred %p', '.b32 %r', '.b64 %rd'].map((kind) => `.reg ${kind}<999>;`).join(' ');
  return `${HEAD}.visible .entry k(.param .u64 out, .param .u64 table, .param .u32 n, .param .u32 m)
{
${registers}
ld.param.u64 %rd1, [out]; ld.param.u64 %rd2, [table];
${lines.join('\n')}
EXIT: ret;
}
`;
}
