/** What is known of pointers that threads pass to each other through shared memory, and where nothing is. */
import { describe, expect, it } from 'vitest';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';

/** A store through a pointer that `body` leaves in %rd9; %rd1 and %rd2 are the parameters, %r1 is the thread. */
async function verdict(body: string, target = 'sm_90') {
  const { product, diagnostics } = await buildTemplatesFromText(`.version 8.0
.target ${target}
.address_size 64
.visible .entry k(.param .u64 a, .param .u64 b, .param .u32 n) {
  .reg .pred %p<9>; .reg .b32 %r<20>; .reg .b64 %rd<20>;
  .shared .align 16 .b8 slots[1024];
  ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; ld.param.u32 %r2, [n];
  mov.u32 %r1, %tid.x; setp.eq.u32 %p1, %r1, 0; setp.lt.u32 %p2, %r1, %r2; mov.u32 %r3, slots;
  ${body}
  st.global.u32 [%rd9], %r1;
  ret;
}
`);
  expect(diagnostics).toEqual([]);
  const { writes } = product.kernels[0]!;
  const { verdict, bases } = writes.at(-1)!;
  return [
    verdict,
    ...bases.map((base) => ('parameter' in base ? (base.parameter === 0 ? 'a' : 'b') : Object.keys(base)[0])),
  ];
}

const PUT = 'st.shared.u64 [%r3], %rd1;';
const GET = 'ld.shared.u64 %rd9, [%r3];';
const BARRIER = 'bar.sync 0;';
/** Half of a pointer, or of one in memory: nobody knows. */
const HALF = 'st.shared.u32 [%r3], %r1;';

describe('a pointer from shared memory', () => {
  it.each([
    ['one pointer', `@%p1 ${PUT} ${BARRIER} ${GET}`, ['allocation', 'a']],
    ['two pointers', `${PUT} st.shared.u64 [%r3+8], %rd2; ${BARRIER} ${GET}`, ['allocation', 'a', 'b']],
    [
      'vectors',
      `st.shared.v2.u64 [%r3], {%rd1, %rd2}; ${BARRIER} ld.shared.v2.u64 {%rd8, %rd9}, [%r3];`,
      ['allocation', 'a', 'b'],
    ],
    [
      'a pointer with an offset from memory',
      `ld.global.u64 %rd3, [%rd2]; add.u64 %rd4, %rd1, %rd3; st.shared.u64 [%r3], %rd4; ${BARRIER} ${GET}`,
      ['allocation', 'a', 'memory'],
    ],
    [
      'a pointer with an index from memory',
      `ld.global.u32 %r4, [%rd2]; mul.wide.u32 %rd3, %r4, 4; add.u64 %rd4, %rd1, %rd3; st.shared.u64 [%r3], %rd4; ${BARRIER} ${GET}`,
      ['allocation', 'a'],
    ],
    [
      'a pointer that is moved on in its place',
      `${PUT} ${BARRIER} ld.shared.u64 %rd3, [%r3]; add.u64 %rd3, %rd3, 4; st.shared.u64 [%r3], %rd3; ${GET}`,
      ['allocation', 'a'],
    ],
    ['something else behind a barrier', `${PUT} ${BARRIER} ${GET} ${BARRIER} ${HALF}`, ['allocation', 'a']],
    [
      'something else in a loop behind a barrier',
      `${PUT} ${BARRIER} ${GET} ${BARRIER} $L: ${HALF} add.u32 %r1, %r1, 1; setp.lt.u32 %p3, %r1, 99; @%p3 bra $L;`,
      ['allocation', 'a'],
    ],
  ])('is known to be what was put there: %s', async (_what, body, expected) => {
    expect(await verdict(body)).toEqual(expected);
  });

  it.each([
    ['nothing was put there', GET],
    ['it only comes from itself', `${GET} add.u64 %rd9, %rd9, 4; st.shared.u64 [%r3], %rd9; ${BARRIER} ${GET}`],
    ['a pointer in memory was put there', `ld.global.u64 %rd3, [%rd2]; st.shared.u64 [%r3], %rd3; ${BARRIER} ${GET}`],
    ['halves were put there', `mov.b64 {%r4, %r5}, %rd1; st.shared.v2.u32 [%r3], {%r4, %r5}; ${BARRIER} ${GET}`],
    ['halves may be put there before', `${PUT} ${HALF} ${BARRIER} ${GET}`],
    ['no barrier keeps later halves back', `${PUT} ${BARRIER} ${GET} ${HALF}`],
    ['the barrier is for some threads only', `${PUT} ${BARRIER} ${GET} @%p2 bar.sync 0; ${HALF}`],
    ['the barrier counts threads', `${PUT} ${BARRIER} ${GET} bar.sync 0, 64; ${HALF}`],
    ['threads only arrive at it', `${PUT} ${BARRIER} ${GET} bar.arrive 0, 64; ${HALF}`],
    [
      'one more barrier is on one of two ways',
      `${PUT} ${BARRIER} ${GET} @%p2 bra $L; ${BARRIER} $L: ${BARRIER} ${HALF}`,
    ],
    [
      'the barrier is in a loop',
      `${PUT} $L: ${GET} ${BARRIER} ${HALF} add.u32 %r1, %r1, 1; setp.lt.u32 %p3, %r1, 99; @%p3 bra $L;`,
    ],
    [
      'some threads put halves there in a branch of their own',
      `${PUT} @%p2 bra $L; ${HALF} bra $M; $L: ${GET} $M: ${BARRIER}`,
    ],
    ['an atomic changes it', `${PUT} atom.shared.add.u64 %rd5, [%r3], 8; ${BARRIER} ${GET}`],
    [
      'a store of unknown space may change it',
      `${PUT} ld.global.u64 %rd4, [%rd2]; st.u32 [%rd4], %r1; ${BARRIER} ${GET}`,
    ],
    [
      'memory is copied there',
      `${PUT} cp.async.ca.shared.global [%r3], [%rd2], 16; cp.async.wait_all; ${BARRIER} ${GET}`,
    ],
    [
      'memory is copied there in bulk',
      `${PUT} cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r3], [%rd2], 64, [%r3]; ${BARRIER} ${GET}`,
    ],
    ['matrices are stored there', `${PUT} stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r3], {%r1}; ${BARRIER} ${GET}`],
    [
      'a tensor map is changed there',
      `${PUT} tensormap.replace.tile.global_address.shared::cta.b1024.b64 [%r3], %rd2; ${BARRIER} ${GET}`,
      'sm_90a',
    ],
    [
      'another block of the cluster may reach it',
      `${PUT} mapa.shared::cluster.u32 %r6, %r3, 1; st.shared::cluster.u64 [%r6], %rd2; ${BARRIER} ${GET}`,
    ],
  ])('may be anything when %s', async (_why, body, target?: string) => {
    expect((await verdict(body, target))[0]).toBe('unknown');
  });

  it('may be anything when a function that is not known may change it', async () => {
    const { product } = await buildTemplatesFromText(`.version 8.0
.target sm_90
.address_size 64
.extern .func other;
.visible .entry k(.param .u64 a) {
  .reg .b64 %rd<4>; .shared .u64 slot;
  ld.param.u64 %rd1, [a]; st.shared.u64 [slot], %rd1; call other; ld.shared.u64 %rd2, [slot]; st.global.u32 [%rd2], 1; ret;
}
`);
    expect(product.kernels[0]!.writes.at(-1)!.verdict).toBe('unknown');
  });
});
