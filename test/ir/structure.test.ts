/** Control flow and calls of programs, by what is easy to get wrong: each program keeps the invariants of its form. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS, formatProgram, type KernelProgram, validateProgram } from '../../src/ir/index.js';
import { ModuleBuild } from '../../src/pipeline/module-build.js';
import { splitVersions } from '../../src/sources/index.js';
import { processorTime } from '../processor-time.js';
import { HEAD, kernelText, loopsOf, notesOf, programOf, programsOf, writesOf } from './helpers.js';

const STORE = 'st.global.u32 [%rd1], %r2;';

/** A program that keeps its invariants. */
function valid(program: KernelProgram): KernelProgram {
  expect(validateProgram(program)).toEqual([]);
  expect(formatProgram(program)).toContain(`kernel ${program.name}`);
  return program;
}

describe('every fixture', () => {
  const root = join(import.meta.dirname, '../../fixtures/ptx');
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ptx'));

  it('gives programs that keep the invariants, the same ones each time', () => {
    let programs = 0;
    for (const file of files.sort()) {
      const text = readFileSync(join(root, file), 'latin1').replace(/\0+$/, '');
      for (const block of splitVersions(text)) {
        const lower = () => {
          const build = new ModuleBuild({ name: file, ...block });
          return build.kernels.map((node) => build.lower(node)).filter((program) => program !== undefined);
        };
        const again = lower();
        for (const [index, program] of lower().entries()) {
          expect(validateProgram(program), `${file} ${program.name}`).toEqual([]);
          expect(formatProgram(program) === formatProgram(again[index]!), `${file} ${program.name}`).toBe(true);
          programs++;
        }
      }
    }
    expect(programs).toBeGreaterThan(200);
  });
});

describe('control flow', () => {
  it('an empty body is an exit', () => {
    const [program] = programsOf(`${HEAD}.visible .entry k()\n{\n}\n`);
    valid(program!);
    expect(program!.values).toEqual([]);
    expect(program!.parameterBytes).toBe(0);
    expect(program!.blocks.at(-1)!.terminator).toEqual({ kind: 'exit' });
  });

  it('a body without ret ends at its end', () => {
    const program = valid(programOf(STORE));
    expect(writesOf(program)).toEqual(['st.global.u32']);
    expect(program.blocks.filter(({ terminator }) => terminator.kind === 'exit')).toHaveLength(1);
  });

  it('an endless loop has no way out', () => {
    const program = valid(programOf('L: bra L;'));
    expect(writesOf(program)).toEqual([]);
    expect(loopsOf(program)).toHaveLength(1);
    expect(program.blocks.some(({ terminator }) => terminator.kind === 'exit')).toBe(false);
  });

  it('a store in an endless loop stays, with its address going on', () => {
    const program = valid(programOf(`L: ${STORE} add.u64 %rd1, %rd1, 4; bra L;`));
    expect(writesOf(program)).toEqual(['st.global.u32']);
    const header = loopsOf(program)[0]!;
    const first = program.values[program.blocks[header]!.first]!;
    expect(first.op).toBe('phi');
  });

  it.each([
    [
      'a circle entered at two places',
      `setp.eq.u32 %p1, %r1, 0; @%p1 bra B;
       A: add.u64 %rd1, %rd1, 4; ${STORE}
       B: add.u64 %rd1, %rd1, 8; setp.lt.u32 %p2, %r2, %r1; @%p2 bra A; ret;`,
    ],
    [
      'a circle of three entered at three places',
      `setp.eq.u32 %p1, %r1, 0; @%p1 bra B; setp.eq.u32 %p2, %r1, 1; @%p2 bra C;
       A: add.u64 %rd1, %rd1, 4; B: add.u64 %rd1, %rd1, 8; ${STORE}
       C: add.u64 %rd1, %rd1, 16; setp.lt.u32 %p3, %r2, %r1; @%p3 bra A; ret;`,
    ],
    [
      'a circle entered at two places within a loop',
      `O: setp.eq.u32 %p1, %r1, %r2; @%p1 bra B;
       A: add.u64 %rd1, %rd1, 4;
       B: ${STORE} setp.lt.u32 %p2, %r2, %r1; @%p2 bra A;
       add.u32 %r2, %r2, 1; setp.lt.u32 %p3, %r2, 100; @%p3 bra O; ret;`,
    ],
  ])('%s is noted as irreducible, and nothing in it is lost', (_, statements) => {
    const program = valid(programOf(statements));
    expect(writesOf(program)).toEqual(['st.global.u32']);
    expect(notesOf(program)).toEqual(['GCR4008']);
  });

  it('what cannot be reached is not there', () => {
    const program = valid(programOf(`bra END; ${STORE} DEAD: ${STORE} bra DEAD; END: ret; ${STORE}`));
    expect(writesOf(program)).toEqual([]);
    expect(loopsOf(program)).toEqual([]);
  });

  it('a guarded ret goes on for the others', () => {
    const program = valid(programOf(`setp.ge.u32 %p1, %r2, %r1; @%p1 ret; ${STORE} ret;`));
    expect(program.blocks.filter(({ terminator }) => terminator.kind === 'branch')).toHaveLength(1);
    expect(writesOf(program)).toHaveLength(1);
  });

  it('a branch to where the text goes on anyway is a jump in effect', () => {
    const program = valid(programOf(`setp.eq.u32 %p1, %r1, 0; @%p1 bra L; L: ${STORE} ret;`));
    expect(writesOf(program)).toHaveLength(1);
  });

  it('nested loops know what they stand in', () => {
    const program = valid(
      programOf(
        `mov.u32 %r3, 0; O: mov.u32 %r4, 0; I: ${STORE} add.u32 %r4, %r4, 1; setp.lt.u32 %p1, %r4, %r1; @%p1 bra I;
         add.u32 %r3, %r3, 1; setp.lt.u32 %p2, %r3, %r1; @%p2 bra O; ret;`,
      ),
    );
    expect(loopsOf(program)).toHaveLength(2);
  });

  it('five thousand blocks are lowered in moments', () => {
    const body = Array.from(
      { length: 2500 },
      (_, i) => `setp.eq.u32 %p1, %r2, ${i}; @%p1 bra L${i}; st.global.u32 [%rd1+${4 * i}], %r2; L${i}:`,
    ).join('\n');
    const start = processorTime();
    const program = valid(programOf(`${body}\nret;`));
    expect(processorTime() - start).toBeLessThan(10_000);
    expect(program.blocks.length).toBeGreaterThanOrEqual(5000);
    expect(writesOf(program)).toHaveLength(2500);
  });

  it('a register that is never set is undefined, not an error', () => {
    const program = valid(programOf('st.global.u32 [%rd1], %r29; ret;'));
    expect(program.values.some(({ op }) => op === 'undefined')).toBe(true);
  });
});

describe('addresses', () => {
  it('of 32 bits are widened', () => {
    const head = '.version 1.4\n.target sm_13\n.address_size 32\n';
    const [program] = programsOf(
      `${head}.entry k(.param .u32 out)\n{\n.reg .u32 %r<4>;\nld.param.u32 %r1, [out];\nst.global.u32 [%r1+4], 7;\nexit;\n}\n`,
    );
    valid(program!);
    expect(program!.parameterBytes).toBe(4);
    const store = program!.values.find(({ access }) => access?.writes === 'store')!;
    expect(store.access!.bytes).toBe(4);
  });

  it('of 64 bits are taken as they are', () => {
    const program = valid(programOf('st.global.u32 [%rd1+4], 7; ret;'));
    const store = program.values.find(({ access }) => access?.writes === 'store')!;
    expect(program.values[store.args[0] ?? 0]!.width).toBeGreaterThan(0);
    expect(program.parameters.map(({ name, offset, size }) => [name, offset, size])).toEqual([
      ['out', 0, 8],
      ['n', 8, 4],
    ]);
    expect(program.parameterBytes).toBe(12);
  });
});

describe('calls', () => {
  /** `f0` calls `f1` … calls `f<depth>`, which stores through the pointer it is given. */
  const chain = (depth: number) => {
    const pass = (next: string) => `{ .param .b64 a; st.param.b64 [a], %rd1; call ${next}, (a); }`;
    const one = (i: number) =>
      `.func f${i}(.param .b64 p)\n{\n.reg .b64 %rd<2>;\nld.param.b64 %rd1, [p];\n${i === depth ? 'st.global.u32 [%rd1], 1;' : pass(`f${i + 1}`)}\nret;\n}\n`;
    const functions = Array.from({ length: depth + 1 }, (_, i) => one(depth - i)).join('');
    return kernelText(`${pass('f0')} ret;`, functions);
  };

  it('of a chain are expanded, outermost first', () => {
    const [program] = programsOf(chain(30));
    valid(program!);
    const store = program!.values.find(({ access }) => access?.writes === 'store')!;
    expect(store.access!.origin.inlined).toHaveLength(31);
    expect(program!.spans).toHaveLength(32);
    expect(notesOf(program!)).toEqual([]);
  });

  it('of a chain that is too deep are not, and say so', () => {
    const [program] = programsOf(chain(200));
    valid(program!);
    expect(program!.values.some(({ access }) => access?.writes === 'call')).toBe(true);
    expect(notesOf(program!)).toEqual(['GCR3007']);
  });

  it.each([{ values: 3 }, { calls: 5 }, { depth: 5 }])('beyond %j are not expanded any more', (limit) => {
    const [program] = programsOf(chain(30), { ...DEFAULT_LIMITS, ...limit });
    valid(program!);
    expect(program!.values.some(({ access }) => access?.writes === 'call')).toBe(true);
    expect(notesOf(program!)).toEqual(['GCR3007']);
  });

  it('that recur may write anything when what they reach stores', () => {
    const functions = `.func f(.param .b64 p)\n{\n.reg .b64 %rd<2>; .reg .pred %p<2>; ld.param.b64 %rd1, [p];
      st.global.u32 [%rd1], 1; setp.eq.u64 %p1, %rd1, 0; @%p1 ret;
      { .param .b64 a; st.param.b64 [a], %rd1; call f, (a); } ret;\n}\n`;
    const program = valid(programOf('{ .param .b64 a; st.param.b64 [a], %rd1; call f, (a); } ret;', functions));
    expect(program.values.some(({ access }) => access?.writes === 'call')).toBe(true);
    expect(notesOf(program)).toContain('GCR3004');
  });

  it('that recur by turns without a store write nothing', () => {
    const functions = `.func b ();\n.func a ()\n{\ncall b, ();\nret;\n}\n.func b ()\n{\ncall a, ();\nret;\n}\n`;
    const program = valid(programOf('call a, (); ret;', functions));
    expect(writesOf(program)).toEqual([]);
  });

  it('of the same function twice give two copies', () => {
    const functions = `.func f(.param .b64 p)\n{\n.reg .b64 %rd<2>; ld.param.b64 %rd1, [p]; st.global.u32 [%rd1], 1; ret;\n}\n`;
    const call = '{ .param .b64 a; st.param.b64 [a], %rd1; call f, (a); }';
    const program = valid(programOf(`${call} add.u64 %rd1, %rd1, 64; ${call} ret;`, functions));
    expect(writesOf(program)).toEqual(['st.global.u32', 'st.global.u32']);
    expect(program.spans).toHaveLength(2);
  });

  it('that never come back leave what follows unreached', () => {
    const functions = '.func f ()\n{\nL: bra L;\n}\n';
    const program = valid(programOf(`call f, (); ${STORE} ret;`, functions));
    expect(writesOf(program)).toEqual([]);
  });

  it('that exit end the thread, guarded ones only those threads', () => {
    const functions = '.func f ()\n{\nexit;\n}\n';
    expect(writesOf(valid(programOf(`call f, (); ${STORE} ret;`, functions)))).toEqual([]);
    const guarded = valid(programOf(`setp.eq.u32 %p1, %r1, 0; @%p1 call f, (); ${STORE} ret;`, functions));
    expect(writesOf(guarded)).toEqual(['st.global.u32']);
  });
});
