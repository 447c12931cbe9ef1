/** What threads do together: lanes, blocks, clusters, and blocks that wait for each other in memory. */
import { describe, expect, it } from 'vitest';
import type { CompiledKernel } from '../../src/sim/index.js';
import { run, statements } from './helpers.js';

/** What each thread stores at `%rd3`: the low words. */
function words(kernel: CompiledKernel, threads: number, n = 0, grid = 1): number[] {
  const out = new Int32Array(2 * threads * grid);
  run(kernel, [grid, 1, 1], [threads, 1, 1], [out, new Int32Array(4), n]);
  return Array.from({ length: threads }, (_, i) => out[2 * i]!);
}

const lanes = (count: number, of: (lane: number) => number) => Array.from({ length: count }, (_, lane) => of(lane));

describe('shuffles', () => {
  const shuffle = (mode: string, b: string, c: string) =>
    statements(`add.u32 %r3, %r2, 100; shfl.sync.${mode}.b32 %r4|%p1, %r3, ${b}, ${c}, 0xffffffff;
selp.b32 %r5, 1000, 0, %p1; add.u32 %r4, %r4, %r5; st.global.u32 [%rd3], %r4;`);

  it.each<[string, string, string, (lane: number) => number]>([
    ['up', '3', '0', (lane) => (lane >= 3 ? 1100 + lane - 3 : 100 + lane)],
    ['down', '5', '31', (lane) => (lane + 5 < 32 ? 1105 + lane : 100 + lane)],
    ['bfly', '9', '31', (lane) => 1100 + (lane ^ 9)],
    ['idx', '7', '31', () => 1107],
    // Segments of eight lanes.
    ['down', '2', '0x1807', (lane) => (lane % 8 < 6 ? 1102 + lane : 100 + lane)],
    ['idx', '1', '0x181f', (lane) => 1101 + (lane & ~7)],
    ['up', '1', '0x1800', (lane) => (lane % 8 > 0 ? 1099 + lane : 100 + lane)],
  ])('%s by %s, clamp %s', (mode, b, c, of) => {
    expect(words(shuffle(mode, b, c), 32)).toEqual(lanes(32, of));
  });

  it('in a warp that is not full, and under a mask', () => {
    const kernel = statements(`setp.lt.u32 %p1, %r2, 4; mov.u32 %r4, -1;
@%p1 shfl.sync.bfly.b32 %r4, %r2, 1, 31, 0xf; st.global.u32 [%rd3], %r4;`);
    expect(words(kernel, 6)).toEqual([1, 0, 3, 2, -1, -1]);
  });
});

describe('votes and their relatives', () => {
  it.each<[string, string, (lane: number) => number]>([
    ['ballot', 'vote.sync.ballot.b32 %r4, %p1, -1;', () => 0b111],
    ['any', 'vote.sync.any.pred %p2, %p1, -1; selp.b32 %r4, 1, 0, %p2;', () => 1],
    ['all', 'vote.sync.all.pred %p2, %p1, -1; selp.b32 %r4, 1, 0, %p2;', () => 0],
    ['uni', 'vote.sync.uni.pred %p2, %p1, -1; selp.b32 %r4, 1, 0, %p2;', () => 0],
    ['not', 'vote.sync.all.pred %p2, !%p1, -1; selp.b32 %r4, 1, 0, %p2;', () => 0],
    [
      'match.any',
      'and.b32 %r3, %r2, 1; match.any.sync.b32 %r4, %r3, -1;',
      (lane) => (lane & 1 ? 0xaaaaaaaa | 0 : 0x55555555),
    ],
    ['match.all', 'match.all.sync.b32 %r4|%p2, %r1, -1;', () => -1],
    ['redux.add', 'redux.sync.add.s32 %r4, %r2, -1;', () => 496],
    ['redux.min', 'sub.s32 %r3, %r2, 5; redux.sync.min.s32 %r4, %r3, -1;', () => -5],
    ['redux.umin', 'sub.s32 %r3, %r2, 5; redux.sync.min.u32 %r4, %r3, -1;', () => 0],
    ['redux.xor', 'redux.sync.xor.b32 %r4, %r2, -1;', () => 0],
    ['elect', 'elect.sync %r4|%p2, 0xfffffff0; @%p2 add.u32 %r4, %r4, 100;', (lane) => (lane === 4 ? 104 : 4)],
  ])('%s', (name, body, of) => {
    const guarded =
      name === 'elect' ? `setp.ge.u32 %p3, %r2, 4; @!%p3 bra end; ${body} st.global.u32 [%rd3], %r4; end: ret;` : '';
    const kernel = statements(guarded || `setp.lt.u32 %p1, %r2, 3; ${body} st.global.u32 [%rd3], %r4;`);
    const got = words(kernel, 32);
    expect(got.slice(4)).toEqual(lanes(32, of).slice(4));
    if (name !== 'elect') expect(got).toEqual(lanes(32, of));
  });

  it('activemask in divergent code names the lanes that are there', () => {
    const kernel = statements(
      `mov.u32 %r4, 0; setp.lt.u32 %p1, %r2, 5; @!%p1 bra join; activemask.b32 %r4; join: st.global.u32 [%rd3], %r4;`,
    );
    expect(words(kernel, 32)).toEqual(lanes(32, (lane) => (lane < 5 ? 31 : 0)));
  });
});

describe('divergence', () => {
  it('loops of different length, then a barrier and an exchange through shared memory', () => {
    const kernel = statements(`.shared .b32 box[64]; mov.u32 %r3, 0; mov.u32 %r4, 0;
loop: setp.ge.u32 %p1, %r3, %r2; @%p1 bra done; add.u32 %r4, %r4, %r3; add.u32 %r3, %r3, 1; bra loop;
done: mov.u32 %r5, box; shl.b32 %r6, %r2, 2; add.u32 %r7, %r5, %r6; st.shared.u32 [%r7], %r4;
bar.sync 0; mov.u32 %r8, 63; sub.u32 %r8, %r8, %r2; shl.b32 %r8, %r8, 2; add.u32 %r9, %r5, %r8; ld.shared.u32 %r10, [%r9];
st.global.u32 [%rd3], %r10;`);
    expect(words(kernel, 64)).toEqual(lanes(64, (lane) => (((63 - lane) * (62 - lane)) / 2) | 0));
  });

  it('threads that left do not hold a barrier up', () => {
    const kernel = statements('setp.gt.u32 %p1, %r2, 40; @%p1 exit; bar.sync 0; st.global.u32 [%rd3], 1;');
    expect(words(kernel, 64)).toEqual(lanes(64, (lane) => (lane > 40 ? 0 : 1)));
  });

  it('one warp arrives, another waits; a reduction over a barrier', () => {
    const kernel = statements(`.shared .b32 box; setp.lt.u32 %p1, %r2, 32; @%p1 bra producer;
bar.sync 1, 64; ld.shared.u32 %r4, [box]; st.global.u32 [%rd3], %r4; bra end;
producer: setp.eq.u32 %p2, %r2, 0; @%p2 st.shared.u32 [box], 77; bar.arrive 1, 64;
end: setp.lt.u32 %p3, %r2, 10; bar.red.popc.u32 %r5, 0, %p3; @%p1 st.global.u32 [%rd3], %r5;`);
    expect(words(kernel, 64)).toEqual(lanes(64, (lane) => (lane < 32 ? 10 : 77)));
  });

  it('lanes of a warp that lock each other out in turn', () => {
    const kernel = statements(`.shared .b32 lock; .shared .b32 count; setp.eq.u32 %p1, %r2, 0;
@%p1 st.shared.u32 [lock], 0; @%p1 st.shared.u32 [count], 0; bar.sync 0;
again: atom.shared.cas.b32 %r3, [lock], 0, 1; setp.ne.u32 %p2, %r3, 0; @%p2 bra again;
ld.shared.u32 %r4, [count]; add.u32 %r5, %r4, 1; st.shared.u32 [count], %r5; atom.shared.exch.b32 %r6, [lock], 0;
bar.sync 0; ld.shared.u32 %r7, [count]; st.global.u32 [%rd3], %r7;`);
    expect(words(kernel, 40)).toEqual(lanes(40, () => 40));
  });

  it('waiting for threads that never come is an error, and so is running for ever', () => {
    const never = statements(
      'setp.lt.u32 %p1, %r2, 4; @%p1 bra other; bar.sync 0; ret; other: bar.warp.sync -1; bar.sync 1, 128;',
    );
    expect(() => words(never, 32)).toThrow('GCR6005');
    const endless = statements('loop: bra loop;');
    expect(() => run(endless, [1, 1, 1], [1, 1, 1], [], { maxSteps: 1e5 })).toThrow('GCR6004');
  });
});

describe('blocks', () => {
  it('wait for one that runs later, and for one that ran before', () => {
    // Block b adds itself to what its neighbour left: from the highest block down.
    const kernel =
      statements(`mov.u32 %r3, %ctaid.x; mov.u32 %r4, %nctaid.x; add.u32 %r5, %r3, 1; mul.wide.u32 %rd5, %r3, 4; add.u64 %rd6, %rd1, %rd5;
mov.u32 %r7, 1; setp.eq.u32 %p1, %r5, %r4; @%p1 bra store;
wait: ld.acquire.gpu.global.u32 %r6, [%rd6+4]; setp.eq.u32 %p2, %r6, 0; @%p2 bra wait; add.u32 %r7, %r6, 1;
store: st.release.gpu.global.u32 [%rd6], %r7;`);
    const out = new Int32Array(100);
    run(kernel, [100, 1, 1], [1, 1, 1], [out, out, 0]);
    expect([...out]).toEqual(lanes(100, (block) => 100 - block));
  });

  it('meet at a barrier of the whole grid', () => {
    const kernel = statements(`mov.u32 %r3, %nctaid.x; mov.u32 %r4, %ctaid.x; setp.ne.u32 %p1, %r2, 0; @%p1 bra behind;
atom.add.release.gpu.global.u32 %r5, [%rd2], 1;
wait: ld.acquire.gpu.global.u32 %r6, [%rd2]; setp.lt.u32 %p2, %r6, %r3; @%p2 bra wait;
behind: bar.sync 0; ld.global.u32 %r7, [%rd2]; mad.lo.u32 %r8, %r4, 64, %r2; mul.wide.u32 %rd5, %r8, 4; add.u64 %rd6, %rd1, %rd5; st.global.u32 [%rd6], %r7;`);
    const out = new Int32Array(64 * 20);
    run(kernel, [20, 1, 1], [64, 1, 1], [out, new Int32Array(1), 0]);
    expect(new Set(out)).toEqual(new Set([20]));
  });

  it('of a cluster see each other’s shared memory', () => {
    const kernel =
      statements(`.shared .b32 box; mov.u32 %r3, %cluster_ctarank; add.u32 %r4, %r3, 50; st.shared.u32 [box], %r4;
barrier.cluster.arrive; barrier.cluster.wait; xor.b32 %r5, %r3, 1; mov.u32 %r6, box; mapa.shared::cluster.u32 %r7, %r6, %r5;
ld.shared::cluster.u32 %r8, [%r7]; mov.u32 %r9, %ctaid.x; mul.wide.u32 %rd5, %r9, 4; add.u64 %rd6, %rd1, %rd5; st.global.u32 [%rd6], %r8;
barrier.cluster.arrive; barrier.cluster.wait;`);
    const out = new Int32Array(4);
    run(kernel, [4, 1, 1], [1, 1, 1], [out, out, 0], { cluster: [2, 1, 1] });
    expect([...out]).toEqual([51, 50, 51, 50]);
  });
});
