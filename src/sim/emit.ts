/**
 * A program as the source of one JavaScript function that runs one thread. Reducible control flow becomes loops and
 * labelled blocks (Ramsey, "Beyond Relooper": a block stands inside its immediate dominator, blocks where control joins
 * behind it); the rest becomes a switch in a loop. A function that may wait or run long is a generator: it yields where the
 * thread waits, and in loops after some hundred instructions, so that threads can wait for each other in memory.
 *
 * Nothing of the source's text goes into the function: only numbers and names made of numbers.
 */
import { accessOperands, actionOperands, type KernelProgram, targetsOf, type ValueId } from '../ir/form.js';
import { type Demand, findDemand } from './demand.js';
import { WAITING } from './emit-action.js';
import { type SlowLists, ValueEmitter } from './emit-value.js';
import { makeNames, type Names } from './names.js';
import { collectSites, type SiteTable } from './sites.js';

/** Instructions of a thread between two looks at the others. */
const SLICE = 512;

export interface EmittedKernel {
  /** Body of `(X, M, K) => function of T`. */
  readonly source: string;
  /** Whether it yields. */
  readonly generator: boolean;
  readonly sites: SiteTable;
  readonly slow: SlowLists;
}

class Emitter {
  readonly n: Names;
  readonly sites: SiteTable;
  readonly demand: Demand;
  readonly values: ValueEmitter;
  readonly lines: string[] = [];
  readonly generator: boolean;
  readonly #children: number[][];
  readonly #joins: Uint8Array;
  readonly #headers: Uint8Array;
  readonly #local: Uint8Array;
  readonly #outer = new Set<string>();
  #switch = false;

  constructor(
    readonly program: KernelProgram,
    readonly recorded: boolean,
  ) {
    this.n = makeNames(program);
    this.sites = collectSites(program);
    this.demand = findDemand(program, this.n);
    this.values = new ValueEmitter(this);
    const { blocks, values } = program;
    this.#children = blocks.map(() => []);
    this.#joins = new Uint8Array(blocks.length);
    this.#headers = new Uint8Array(blocks.length);
    for (const [index, block] of blocks.entries()) {
      if (index > 0) this.#children[block.immediateDominator]!.push(index);
      let forward = 0;
      for (const predecessor of block.predecessors) {
        if (predecessor < index) forward++;
        else {
          this.#headers[index] = 1;
          if (!this.#dominates(index, predecessor)) this.#switch = true;
        }
      }
      if (forward > 1) this.#joins[index] = 1;
    }
    this.generator =
      this.#headers.includes(1) || values.some(({ action }) => action !== undefined && WAITING.has(action.kind));
    this.#local = this.#findLocal();
  }

  #dominates(above: number, below: number): boolean {
    for (let block = below; ; block = this.program.blocks[block]!.immediateDominator) {
      if (block === above) return true;
      if (block === 0) return false;
    }
  }

  /** Values that only their own block uses: declared there, so that suspending need not keep them. */
  #findLocal(): Uint8Array {
    const { blocks, values } = this.program;
    const blockOf = new Int32Array(values.length);
    for (const [index, { first, count }] of blocks.entries()) blockOf.fill(index, first, first + count);
    const local = new Uint8Array(values.length).fill(1);
    const use = (id: ValueId, block: number) => {
      if (blockOf[id] !== block) local[id] = 0;
    };
    for (const [id, { op, args, access, action }] of values.entries()) {
      const block = blockOf[id]!;
      if (op === 'phi') {
        local[id] = 0;
        args.forEach((arg, index) => {
          use(arg, blocks[block]!.predecessors[index]!);
        });
        continue;
      }
      for (const arg of args) use(arg, block);
      if (access) for (const arg of accessOperands(access)) use(arg, block);
      if (action) for (const arg of actionOperands(action)) use(arg, block);
    }
    for (const [index, { terminator }] of blocks.entries()) {
      if (terminator.kind === 'branch') use(terminator.condition, index);
      else if (terminator.kind === 'switch') use(terminator.index, index);
    }
    return local;
  }

  // --- blocks ---

  emit(): EmittedKernel {
    if (this.#switch) this.#emitSwitch();
    else this.#tree(0);
    const caches = this.sites.list.map((_, site) => `r${site}=M.nowhere`);
    const names = [...this.#outer].map((name) => `${name}=${name.startsWith('b') ? '0n' : '0'}`);
    const source = [
      `'use strict';`,
      ...(caches.length > 0 ? [`let ${caches.join()};`] : []),
      'const P=K.parameters;',
      `return function${this.generator ? '*' : ''}(T){`,
      'const S=T.cta.shared;let g=S,o=0,t=0,x=0,n=0;',
      ...(names.length > 0 ? [`let ${names.join()};`] : []),
      ...this.lines,
      '};',
    ].join('\n');
    return { source, generator: this.generator, sites: this.sites, slow: this.values.lists };
  }

  #tree(block: number): void {
    const joins = this.#children[block]!.filter((child) => this.#joins[child]);
    if (this.#headers[block]) this.lines.push(`L${block}:for(;;){`, this.#pause());
    for (let index = joins.length - 1; index >= 0; index--) this.lines.push(`B${joins[index]}:{`);
    this.#body(block);
    this.#end(block);
    for (const join of joins) {
      this.lines.push('}');
      this.#tree(join);
    }
    if (this.#headers[block]) this.lines.push('}');
  }

  #pause(): string {
    return `if(n>${SLICE}){K.steps+=n;n=0;T.k=-1;yield;}`;
  }

  #body(block: number): void {
    const { first, count } = this.program.blocks[block]!;
    const text: string[] = [];
    let instructions = 1;
    for (let id = first; id < first + count; id++) {
      const statement = this.values.statement(id);
      if (statement === '') continue;
      text.push(statement);
      if (this.program.values[id]!.args.length > 0) instructions++;
    }
    const inner = new Set<string>();
    for (const [name] of text.join('').matchAll(/\b[vlhfb]\d+(?==[^=])/g)) {
      (this.#local[Number(name.slice(1))] && !this.#switch ? inner : this.#outer).add(name);
    }
    if (inner.size > 0) this.lines.push(`let ${[...inner].join()};`);
    this.lines.push(...text, `n+=${instructions};`);
  }

  #end(block: number): void {
    const { terminator } = this.program.blocks[block]!;
    switch (terminator.kind) {
      case 'exit':
        this.lines.push('K.steps+=n;return;');
        return;
      case 'jump':
        this.#go(block, terminator.target);
        return;
      case 'branch': {
        const { whenTrue, whenFalse } = terminator;
        // The side that only jumps goes into the `if`, so that straight code does not nest.
        const swap = this.#inline(block, whenTrue) && !this.#inline(block, whenFalse);
        const [inside, behind] = swap ? [whenFalse, whenTrue] : [whenTrue, whenFalse];
        this.lines.push(`if(${swap ? '!' : ''}${this.n.word(terminator.condition)}){`);
        this.#go(block, inside);
        this.lines.push('}');
        this.#go(block, behind);
        return;
      }
      case 'switch': {
        const targets = targetsOf(terminator);
        const last = terminator.targets.at(-1)!;
        const index = this.n.unsigned(terminator.index);
        for (const target of targets) {
          if (target === last) continue;
          const cases = terminator.targets.flatMap((other, at) => (other === target ? [`${index}===${at}`] : []));
          this.lines.push(`if(${cases.join('||')}){`);
          this.#go(block, target);
          this.lines.push('}');
        }
        this.#go(block, last);
        return;
      }
    }
  }

  /** Whether the code of a target follows here. */
  #inline(from: number, to: number): boolean {
    return !this.#switch && to > from && !this.#joins[to];
  }

  #go(from: number, to: number): void {
    this.#copies(from, to);
    if (this.#switch) this.lines.push(`block=${to};continue;`);
    else if (to <= from) this.lines.push(`continue L${to};`);
    else if (this.#joins[to]) this.lines.push(`break B${to};`);
    else this.#tree(to);
  }

  /** Gives the phis of `to` what comes from `from`, all at once. */
  #copies(from: number, to: number): void {
    const { first, count, predecessors } = this.program.blocks[to]!;
    const { n, demand } = this;
    const edge = predecessors.indexOf(from);
    const moves: [string, string][] = [];
    for (let id = first; id < first + count; id++) {
      const { op, args, width } = this.program.values[id]!;
      if (op !== 'phi') continue;
      const source = args[edge]!;
      if (width > 64) moves.push([`b${id}`, n.big(source)]);
      else {
        const always = width !== 32 && width !== 64;
        if (always || demand.bits[id]) {
          if (width === 64) moves.push([`l${id}`, n.low(source)], [`h${id}`, n.high(source)]);
          else moves.push([`v${id}`, n.word(source)]);
        }
        if (demand.float[id]) moves.push([`f${id}`, n.float(source)]);
      }
    }
    for (const [name] of moves) this.#outer.add(name);
    const changing = moves.filter(([target, source]) => target !== source);
    if (changing.length === 0) return;
    const targets = new Set(changing.map(([target]) => target));
    if (!changing.some(([, source]) => targets.has(source))) {
      this.lines.push(changing.map(([target, source]) => `${target}=${source};`).join(''));
      return;
    }
    const saved = changing.map(([, source], index) => `c${index}=${source}`);
    const set = changing.map(([target], index) => `${target}=c${index};`);
    this.lines.push(`{const ${saved.join()};${set.join('')}}`);
  }

  // --- irreducible control flow ---

  #emitSwitch(): void {
    this.lines.push('let block=0;for(;;){', this.#pause(), 'switch(block){');
    for (const index of this.program.blocks.keys()) {
      this.lines.push(`case ${index}:{`);
      this.#body(index);
      this.#end(index);
      this.lines.push('}');
    }
    this.lines.push('}}');
  }
}

/** Generates the function of a program. */
export function emitKernel(program: KernelProgram, recorded: boolean): EmittedKernel {
  return new Emitter(program, recorded).emit();
}
