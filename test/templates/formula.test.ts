/** Formulas as a person reads them: the usual kernels, and that texts stay short whatever a kernel does. */
import { describe, expect, it } from 'vitest';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';
import { FormulaPrinter, type KernelTemplate, type SiteFormula } from '../../src/templates/index.js';

const REGISTERS = '.reg .pred %p<9>; .reg .b32 %r<40>; .reg .b64 %rd<20>;';

async function kernelOf(parameters: string, statements: string, module = ''): Promise<KernelTemplate> {
  const text = `.version 8.0\n.target sm_80\n.address_size 64\n${module}\n.visible .entry k(${parameters})\n{\n${REGISTERS}\n${statements}\nret;\n}\n`;
  const { product, diagnostics } = await buildTemplatesFromText(text);
  expect(diagnostics).toEqual([]);
  return product.kernels[0]!;
}

/** Formulas of what a kernel writes. */
async function formulas(parameters: string, statements: string, module?: string): Promise<SiteFormula[]> {
  const kernel = await kernelOf(parameters, statements, module);
  const printer = new FormulaPrinter(kernel);
  return kernel.writes.map((site) => printer.site(site));
}

const POINTER = '.param .u64 out';
const OUT_N = '.param .u64 out, .param .u32 n';
const LOAD = 'ld.param.u64 %rd1, [out]; ld.param.u32 %r1, [n];';
/** %r5 = ctaid.x · ntid.x + tid.x. */
const INDEX = 'mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x; mad.lo.s32 %r5, %r2, %r3, %r4;';
const STORE = 'mul.wide.s32 %rd2, %r5, 4; add.s64 %rd3, %rd1, %rd2; st.global.u32 [%rd3], %r5;';

describe('a formula', () => {
  it('of a guarded element names the array, the element and the guard', async () => {
    expect(
      await formulas(
        OUT_N,
        `${LOAD} mov.u32 %r2, %ctaid.x; mov.u32 %r4, %tid.x; shl.b32 %r3, %r2, 8; add.s32 %r5, %r3, %r4;
         setp.ge.s32 %p1, %r5, %r1; @%p1 bra END; ${STORE} END:`,
      ),
    ).toEqual([
      {
        place: 'out[4·(256·ctaid.x + tid.x)]',
        conditions: ['256·ctaid.x + tid.x < n'],
        loops: [],
        where: [],
      },
    ]);
  });

  it('of a guarded instruction is the same as behind a branch', async () => {
    const branch = await formulas(OUT_N, `${LOAD} ${INDEX} setp.ge.s32 %p1, %r5, %r1; @%p1 bra END; ${STORE} END:`);
    const guard = await formulas(
      OUT_N,
      `${LOAD} ${INDEX} setp.lt.s32 %p1, %r5, %r1; ${STORE.replace('st.global', '@%p1 st.global')}`,
    );
    expect(guard).toEqual(branch);
    expect(branch[0]!.conditions).toEqual(['ctaid.x·ntid.x + tid.x < n']);
  });

  it('of a grid-stride loop says where the variable starts, its step and its end', async () => {
    const [formula] = await formulas(
      OUT_N,
      `${LOAD} ${INDEX} mov.u32 %r6, %nctaid.x; mul.lo.s32 %r7, %r6, %r3; bra CHECK;
       LOOP: ${STORE} add.s32 %r5, %r5, %r7; CHECK: setp.lt.u32 %p1, %r5, %r1; @%p1 bra LOOP;`,
    );
    expect(formula).toEqual({
      place: 'out[4·i]',
      conditions: ['i < n'],
      loops: ['i from ctaid.x·ntid.x + tid.x in steps of nctaid.x·ntid.x'],
      where: [],
    });
  });

  it('of a plane has both coordinates in place and guard', async () => {
    const [formula] = await formulas(
      '.param .u64 out, .param .u32 width, .param .u32 height',
      `ld.param.u64 %rd1, [out]; ld.param.u32 %r1, [width]; ld.param.u32 %r2, [height];
       mov.u32 %r3, %ctaid.x; mov.u32 %r4, %tid.x; mad.lo.s32 %r6, %r3, 16, %r4;
       mov.u32 %r7, %ctaid.y; mov.u32 %r8, %tid.y; mad.lo.s32 %r9, %r7, 16, %r8;
       setp.lt.s32 %p1, %r6, %r1; setp.lt.s32 %p2, %r9, %r2; and.pred %p3, %p1, %p2; @!%p3 bra END;
       mad.lo.s32 %r5, %r9, %r1, %r6; ${STORE} END:`,
    );
    expect(formula!.place).toBe('out[4·(16·ctaid.y·width + tid.y·width + 16·ctaid.x + tid.x)]');
    expect(formula!.conditions).toEqual(['(16·ctaid.x + tid.x < width and 16·ctaid.y + tid.y < height)']);
  });

  it('of nested loops names each variable, the outer one first', async () => {
    const [formula] = await formulas(
      OUT_N,
      `${LOAD} mov.u32 %r2, 0; O: mov.u32 %r3, 0; I: mad.lo.s32 %r5, %r2, %r1, %r3; ${STORE}
       add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, %r1; @%p1 bra I;
       add.u32 %r2, %r2, 1; setp.lt.u32 %p2, %r2, %r1; @%p2 bra O;`,
    );
    expect(formula!.place).toBe('out[4·(j·n + i)]');
    expect(formula!.loops).toEqual([
      'j from 0 in steps of 1 while j + 1 < n',
      'i from 0 in steps of 1 while i + 1 < n',
    ]);
  });

  it.each([
    ['rem.u32 %r5, %r2, 5;', 'out[4·(tid.x mod 5)]'],
    ['div.u32 %r5, %r2, 5;', 'out[4·(tid.x / 5)]'],
    ['and.b32 %r5, %r2, 31;', 'out[4·(tid.x & 31)]'],
    ['shr.u32 %r5, %r2, 5;', 'out[4·(tid.x >> 5)]'],
    ['shl.b32 %r5, %r2, 3;', 'out[32·tid.x]'],
    ['sub.s32 %r5, 63, %r2;', 'out[4·(-tid.x + 63)]'],
    ['shr.s32 %r3, %r1, 31; shr.u32 %r3, %r3, 26; add.s32 %r3, %r1, %r3; shr.s32 %r5, %r3, 6;', 'out[4·(n / 64)]'],
    ['setp.eq.u32 %p1, %r1, 7; selp.b32 %r5, %r2, 0, %p1;', 'out[4·(n = 7 ? tid.x : 0)]'],
    ['ld.global.u32 %r5, [%rd1+8];', 'out[4·global[out + 8]]'],
    ['mov.u32 %r5, 0;', 'out[0]'],
  ])('writes %s as %s', async (statements, place) => {
    const [formula] = await formulas(OUT_N, `${LOAD} mov.u32 %r2, %tid.x; ${statements} ${STORE}`);
    expect(formula!.place).toBe(place);
  });

  it.each([
    ['setp.eq.u32 %p1, %r1, 0; @%p1 bra END;', ['n ≠ 0']],
    ['setp.gt.s32 %p1, %r1, 9; @!%p1 bra END;', ['n > 9']],
    ['setp.le.u32 %p1, %r1, 9; @%p1 bra END;', ['n > 9']],
    [
      'setp.eq.u32 %p1, %r1, 0; @%p1 bra END; mov.u32 %r9, %tid.x; setp.ne.s32 %p2, %r9, 0; @%p2 bra END;',
      ['n ≠ 0', 'tid.x = 0'],
    ],
  ])('turns the branch %s into a condition', async (branch, conditions) => {
    const [formula] = await formulas(OUT_N, `${LOAD} ${branch} mov.u32 %r5, 0; ${STORE} END:`);
    expect([...formula!.conditions].sort()).toEqual([...conditions].sort());
  });

  it('has no condition where both ways lead to the store', async () => {
    const [formula] = await formulas(
      OUT_N,
      `${LOAD} setp.eq.u32 %p1, %r1, 0; @%p1 bra A; mov.u32 %r5, 1; bra B; A: mov.u32 %r5, 2; B: ${STORE}`,
    );
    expect(formula!.conditions).toEqual([]);
    expect(formula!.place).toMatch(/^out\[4·\(one of [12], [12]\)\]$/);
  });

  it('names module variables and parts of parameters', async () => {
    const [variable] = await formulas('', 'mov.u64 %rd1, g; st.global.u32 [%rd1+8], 1;', '.global .b8 g[64];');
    expect(variable!.place).toBe('g[8]');
    const [part] = await formulas(
      '.param .align 8 .b8 k_param_0[32]',
      'ld.param.u64 %rd1, [k_param_0+16]; st.global.u32 [%rd1+4], 1;',
    );
    expect(part!.place).toBe('param_0.16[4]');
  });

  it('gives a loop variable no name that a parameter has', async () => {
    const [formula] = await formulas(
      '.param .u64 out, .param .u32 n, .param .u32 i',
      `${LOAD} ld.param.u32 %r9, [i]; mov.u32 %r5, 0; L: ${STORE} add.u32 %r5, %r5, %r9; setp.lt.u32 %p1, %r5, %r1; @%p1 bra L;`,
    );
    expect(formula!.place).toBe('out[4·j]');
    expect(formula!.loops).toEqual(['j from 0 in steps of i while j + i < n']);
  });

  it('stays short when values nest: terms get names, explained in order', async () => {
    const steps = Array.from({ length: 60 }, (_, i) => `xor.b32 %r6, %r5, ${i + 100}; mad.lo.s32 %r5, %r6, %r5, %r1;`);
    const [formula] = await formulas(
      POINTER.concat(', .param .u32 n'),
      `${LOAD} ${INDEX} ${steps.join('\n')} ${STORE}`,
    );
    expect(formula!.place.length).toBeLessThan(200);
    expect(formula!.where.length).toBeGreaterThan(3);
    const told = new Set<string>();
    for (const text of formula!.where) {
      const [name, meaning] = text.split(' = ') as [string, string];
      for (const used of meaning.match(/\$\d+/g) ?? []) expect(told, text).toContain(used);
      expect(text.length).toBeLessThan(400);
      told.add(name);
    }
  });

  it('of a chain of twenty thousand operations needs no deep stack', async () => {
    const steps = Array.from({ length: 20_000 }, (_, i) => `add.s32 %r5, %r5, ${i % 7};`).join('\n');
    const [formula] = await formulas(OUT_N, `${LOAD} ${INDEX} ${steps} ${STORE}`);
    expect(formula!.place).toMatch(/^out\[4·\(ctaid\.x·ntid\.x \+ tid\.x \+ \d+\)\]$/);
  });
});
