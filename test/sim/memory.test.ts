/** Memory: atomics of every type, windows, copies, barrier objects, what is recorded as written, what is refused. */
import { describe, expect, it } from 'vitest';
import { compileKernel, DeviceMemory } from '../../src/sim/index.js';
import { run, statements } from './helpers.js';

const view = new DataView(new ArrayBuffer(16));

describe('atomics', () => {
  const bits32 = (x: number) => {
    view.setFloat32(0, x);
    return view.getUint32(0);
  };

  it.each<[string, number, string, number, number]>([
    ['add.u32', 5, 'mov.b32 %r4, 7;', 12, 5],
    ['add.u32', 0xffffffff, 'mov.b32 %r4, 2;', 1, 0xffffffff],
    ['min.s32', -3, 'mov.b32 %r4, 2;', -3, -3],
    ['min.u32', -3, 'mov.b32 %r4, 2;', 2, -3],
    ['max.s32', -3, 'mov.b32 %r4, 2;', 2, -3],
    ['max.u32', -3, 'mov.b32 %r4, 2;', -3, -3],
    ['and.b32', 12, 'mov.b32 %r4, 10;', 8, 12],
    ['or.b32', 12, 'mov.b32 %r4, 10;', 14, 12],
    ['xor.b32', 12, 'mov.b32 %r4, 10;', 6, 12],
    ['exch.b32', 12, 'mov.b32 %r4, 10;', 10, 12],
    ['inc.u32', 4, 'mov.b32 %r4, 4;', 0, 4],
    ['inc.u32', 3, 'mov.b32 %r4, 4;', 4, 3],
    ['dec.u32', 0, 'mov.b32 %r4, 9;', 9, 0],
    ['dec.u32', 5, 'mov.b32 %r4, 9;', 4, 5],
    ['add.f32', bits32(1.5), `mov.b32 %r4, ${bits32(2.25)};`, bits32(3.75), bits32(1.5)],
    ['add.noftz.f16x2', 0x3c003c00, 'mov.b32 %r4, 0x40003c00;', 0x42004000, 0x3c003c00],
    ['add.noftz.bf16x2', 0x3f803f80, 'mov.b32 %r4, 0x40003f80;', 0x40404000, 0x3f803f80],
  ])('%s on %s', (name, before, load, after, old) => {
    const kernel = statements(`${load} atom.global.${name} %r5, [%rd2], %r4; st.global.u32 [%rd1], %r5;`);
    const [out, cell] = [new Int32Array(2), Int32Array.from([before])];
    run(kernel, [1, 1, 1], [1, 1, 1], [out, cell, 0]);
    expect([cell[0], out[0]]).toEqual([after | 0, old | 0]);
    // A reduction does the same without a result.
    if (name.startsWith('exch')) return;
    const reduced = Int32Array.from([before]);
    run(statements(`${load} red.global.${name} [%rd2], %r4;`), [1, 1, 1], [1, 1, 1], [out, reduced, 0]);
    expect(reduced[0]).toBe(after | 0);
  });

  it('compare and swap counts as a write also when it fails', () => {
    const kernel = statements('mov.b32 %r4, 3; mov.b32 %r5, 9; atom.global.cas.b32 %r6, [%rd2], %r4, %r5;');
    for (const [before, after] of [
      [3, 9],
      [4, 4],
    ] as const) {
      const cell = Int32Array.from([before]);
      const { memory, address } = run(kernel, [1, 1, 1], [1, 1, 1], [new Int32Array(2), cell, 0]);
      expect(cell[0]).toBe(after);
      expect(memory.written()).toEqual([{ from: address(cell), to: address(cell) + 4n }]);
    }
  });

  it('of 16, 64 and 128 bits, and of vectors', () => {
    const out = new BigUint64Array(8);
    const cell = BigUint64Array.from([10n, 2n ** 63n, 5n, 6n, 0x3f8000003f800000n, 7n]);
    run(
      statements(`mov.b64 %rd5, 90; atom.global.add.u64 %rd6, [%rd2], %rd5; st.global.u64 [%rd1], %rd6;
atom.global.min.s64 %rd7, [%rd2+8], %rd5; mov.b64 %rd8, 5; mov.b64 %rd9, 6; mov.b128 %q1, {%rd8, %rd9}; mov.b64 %rd10, 77; mov.b128 %q2, {%rd10, %rd9};
atom.global.cas.b128 %q3, [%rd2+16], %q1, %q2; mov.b128 {%rd11, %rd12}, %q3; st.global.u64 [%rd1+8], %rd11; st.global.u64 [%rd1+16], %rd12;
mov.f32 %f1, 0f40000000; mov.f32 %f2, 0f40400000; atom.global.add.v2.f32 {%f3, %f4}, [%rd2+32], {%f1, %f2}; st.global.f32 [%rd1+24], %f4;
mov.b16 %h1, 7; mov.b16 %h2, 9; atom.global.cas.b16 %h3, [%rd2+40], %h1, %h2;`),
      [1, 1, 1],
      [1, 1, 1],
      [out, cell, 0],
    );
    expect([...cell]).toEqual([100n, 2n ** 63n, 77n, 6n, 0x4080000040400000n, 9n]);
    expect([...out.subarray(0, 4)]).toEqual([10n, 5n, 6n, 0x3f800000n]);
  });

  it('of doubles', () => {
    const cell = Float64Array.from([0.5]);
    run(
      statements('mov.f64 %fd1, 0d3ff8000000000000; red.global.add.f64 [%rd2], %fd1;'),
      [1, 1, 1],
      [32, 1, 1],
      [new Int32Array(2), cell, 0],
    );
    expect(cell[0]).toBe(0.5 + 32 * 1.5);
  });
});

describe('windows', () => {
  it('generic addresses of shared, local and parameter memory', () => {
    const out = new Int32Array(8);
    run(
      statements(`.shared .b32 box[4]; .local .b32 own[4]; mov.u64 %rd5, box; cvta.shared.u64 %rd6, %rd5; st.u32 [%rd6+4], 11; ld.shared.u32 %r4, [box+4]; st.global.u32 [%rd1], %r4;
mov.u64 %rd7, own; cvta.local.u64 %rd8, %rd7; mul.wide.u32 %rd9, %r1, 4; add.u64 %rd10, %rd8, %rd9; st.u32 [%rd10], 22; ld.local.u32 %r5, [own+8]; st.global.u32 [%rd1+4], %r5;
isspacep.shared %p1, %rd6; isspacep.local %p2, %rd6; isspacep.global %p3, %rd1; isspacep.global %p4, %rd10;
selp.b32 %r6, 1, 0, %p1; selp.b32 %r7, 2, 0, %p2; selp.b32 %r8, 4, 0, %p3; selp.b32 %r9, 8, 0, %p4; or.b32 %r6, %r6, %r7; or.b32 %r6, %r6, %r8; or.b32 %r6, %r6, %r9; st.global.u32 [%rd1+8], %r6;
cvta.to.shared.u64 %rd11, %rd6; ld.shared.u32 %r10, [%rd11+4]; st.global.u32 [%rd1+12], %r10;
mov.b64 %rd12, n; cvta.param.u64 %rd13, %rd12; ld.u32 %r11, [%rd13]; st.global.u32 [%rd1+16], %r11;`),
      [1, 1, 1],
      [1, 1, 1],
      [out, out, 2],
    );
    expect([...out.subarray(0, 5)]).toEqual([11, 22, 5, 11, 2]);
  });

  it('every thread has its own local memory and stack', () => {
    const out = new Int32Array(128);
    run(
      statements(`.local .b32 own[4]; mul.wide.u32 %rd5, %r1, 4; mov.u64 %rd6, own; add.u64 %rd7, %rd6, %rd5; st.local.u32 [%rd7], %r2; bar.sync 0; ld.local.u32 %r3, [%rd7];
alloca.u64 %rd8, 16, 16; st.local.u32 [%rd8], %r2; bar.sync 0; ld.local.u32 %r4, [%rd8]; st.global.u32 [%rd3], %r3; st.global.u32 [%rd3+4], %r4;`),
      [1, 1, 1],
      [64, 1, 1],
      [out, out, 1],
    );
    expect([...out]).toEqual(Array.from({ length: 128 }, (_, i) => i >> 1));
  });
});

describe('copies', () => {
  it('cp.async fills up with zeros, bulk copies tell their barrier, and go back', () => {
    const input = Int32Array.from({ length: 16 }, (_, i) => i + 1);
    const out = new Int32Array(32);
    run(
      statements(
        `.shared .align 128 .b8 box[128]; .shared .b64 bar; mov.u32 %r4, box; mov.u32 %r5, 8;
cp.async.ca.shared.global [%r4], [%rd2], 16, %r5; cp.async.commit_group; cp.async.wait_group 0;
ld.shared.v4.u32 {%r6, %r7, %r8, %r9}, [%r4]; st.global.v4.u32 [%rd1], {%r6, %r7, %r8, %r9};
mov.u32 %r10, bar; mbarrier.init.shared::cta.b64 [%r10], 1; mbarrier.arrive.expect_tx.shared::cta.b64 %rd5, [%r10], 64;
mbarrier.test_wait.shared::cta.b64 %p1, [%r10], %rd5; selp.b32 %r11, 1, 0, %p1; st.global.u32 [%rd1+16], %r11;
cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [%r4], [%rd2], 64, [%r10];
wait: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r10], 0; @!%p2 bra wait;
cp.async.bulk.global.shared::cta.bulk_group [%rd1+64], [%r4+16], 16; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;
cp.reduce.async.bulk.global.shared::cta.bulk_group.add.s32 [%rd1+80], [%r4], 16;`,
        '.version 8.6\n.target sm_90a\n.address_size 64\n',
      ),
      [1, 1, 1],
      [1, 1, 1],
      [out, input, 0],
    );
    expect([...out.subarray(0, 5)]).toEqual([1, 2, 0, 0, 0]);
    expect([...out.subarray(16, 24)]).toEqual([5, 6, 7, 8, 1, 2, 3, 4]);
  });

  it('ldmatrix and stmatrix are each other’s inverse', () => {
    const input = Uint16Array.from({ length: 256 }, (_, i) => i);
    const out = new Uint16Array(256);
    run(
      statements(`.shared .align 128 .b8 a[512]; .shared .align 128 .b8 b[512]; mov.u32 %r3, a; mov.u32 %r4, b; shl.b32 %r5, %r2, 4; add.u32 %r6, %r3, %r5; add.u32 %r7, %r4, %r5;
mul.wide.u32 %rd5, %r2, 16; add.u64 %rd6, %rd2, %rd5; ld.global.v4.u32 {%r10, %r11, %r12, %r13}, [%rd6]; st.shared.v4.u32 [%r6], {%r10, %r11, %r12, %r13}; bar.warp.sync -1;
ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r14, %r15, %r16, %r17}, [%r6];
stmatrix.sync.aligned.m8n8.x4.shared.b16 [%r7], {%r14, %r15, %r16, %r17}; bar.warp.sync -1;
ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r7]; add.u64 %rd7, %rd1, %rd5; st.global.v4.u32 [%rd7], {%r10, %r11, %r12, %r13};`),
      [1, 1, 1],
      [32, 1, 1],
      [out, input, 0],
    );
    const expected = input.map((_, i) => (i & ~63) | ((i & 7) << 3) | ((i >> 3) & 7));
    expect(out).toEqual(expected);
  });
});

describe('what is written', () => {
  it('is recorded to the byte, equal values and discarded bytes included', () => {
    const out = new Uint8Array(4096);
    const { memory, address } = run(
      statements(
        'st.global.u8 [%rd1+3], 0; st.global.u16 [%rd1+10], 0; st.global.v2.u64 [%rd1+32], {%rd4, %rd4}; discard.global.L2 [%rd1+128], 128;',
      ),
      [1, 1, 1],
      [1, 1, 1],
      [out, out, 0],
    );
    const at = address(out);
    const range = (from: bigint, bytes: bigint) => ({ from: at + from, to: at + from + bytes });
    expect(memory.written()).toEqual([range(3n, 1n), range(10n, 2n), range(32n, 16n), range(128n, 128n)]);
    memory.clearWritten();
    expect(memory.written()).toEqual([]);
  });

  it('outside of memory: refused by name, or recorded and dropped', () => {
    const kernel = statements(
      'mov.b64 %rd5, 0xfedc000000001000; st.global.u32 [%rd5], 1; ld.global.u32 %r4, [%rd5]; st.global.u32 [%rd1], %r4;',
    );
    const out = new Int32Array(2);
    expect(() => run(kernel, [1, 1, 1], [1, 1, 1], [out, out, 0])).toThrow(
      /GCR6001.*st\.global\.u32.*0xfedc000000001000/,
    );
    const { memory, address } = run(kernel, [1, 1, 1], [1, 1, 1], [out, out, 0], { outOfRange: 'ignore' });
    expect(memory.written()).toEqual([
      { from: address(out), to: address(out) + 4n },
      { from: 0xfedc000000001000n, to: 0xfedc000000001004n },
    ]);
    expect(out[0]).not.toBe(1);
  });

  it('what is not executed is refused by name', () => {
    const tensor = statements('cp.async.bulk.tensor.1d.global.shared::cta.tile.bulk_group [%rd1, {%r2}], [%r1];');
    expect(() => run(tensor, [1, 1, 1], [1, 1, 1], [])).toThrow(/GCR6003.*cp\.async\.bulk\.tensor/);
    const trap = statements('trap;');
    expect(() => run(trap, [1, 1, 1], [1, 1, 1], [])).toThrow(/GCR6007.*trap/);
    const undefinedRegister = statements('st.global.u32 [%rd1], %r40;');
    const out = new Int32Array(2);
    expect(() => run(undefinedRegister, [1, 1, 1], [1, 1, 1], [out], { undetermined: 'refuse' })).toThrow('GCR6003');
    run(undefinedRegister, [1, 1, 1], [1, 1, 1], [out], { seed: 3 });
    const first = out[0];
    run(undefinedRegister, [1, 1, 1], [1, 1, 1], [out], { seed: 4 });
    expect(out[0]).not.toBe(first);
  });

  it('memory cannot be mapped twice, nor a launch be what it cannot be', () => {
    const memory = new DeviceMemory();
    memory.map(0x1000, new Uint8Array(16));
    expect(() => memory.map(0x100f, new Uint8Array(1))).toThrow('GCR6002');
    const kernel = statements('ret;');
    const launch = { grid: [1, 1, 1], block: [1, 1, 1], parameters: new Uint8Array(4), memory } as const;
    expect(() => kernel.launch(launch)).toThrow('GCR6006');
    const parameters = new Uint8Array(24);
    expect(() => kernel.launch({ ...launch, parameters, block: [2048, 1, 1] })).toThrow('GCR6006');
    expect(kernel.launch({ ...launch, parameters }).threads).toBe(1);
  });

  it('what is unmapped is out of range, and its place can be taken again', () => {
    const memory = new DeviceMemory();
    const [first, second] = [new Uint8Array(16), new Uint8Array(16)];
    memory.map(0x1000, first);
    memory.map(0x2000, second);
    expect(memory.lookUp(0x1008, 8)?.base).toBe(0x1000);
    memory.unmap(0x1000);
    expect(memory.lookUp(0x1008, 8)).toBeUndefined();
    expect(memory.lookUp(0x2008, 8)?.base).toBe(0x2000);
    expect(() => memory.unmap(0x1000)).toThrow('GCR6002');
    memory.map(0x1008, first);
    expect(memory.lookUp(0x1008, 8)?.base).toBe(0x1008);
  });

  it('a kernel that was compiled without a record writes memory that is mapped without one', () => {
    const { program } = statements(`.shared .align 16 .b8 s[16];
st.global.u32 [%rd1], 77; atom.global.add.u32 %r5, [%rd1], 1; mov.u32 %r6, s; add.u64 %rd5, %rd1, 16;
cp.async.bulk.global.shared::cta.bulk_group [%rd5], [%r6], 16;`);
    const kernel = compileKernel(program, { recorded: false });
    const memory = new DeviceMemory();
    const bytes = new Uint8Array(32).fill(255);
    memory.map(0x1000, bytes, false);
    const parameters = new Uint8Array(Math.max(8, program.parameterBytes));
    new DataView(parameters.buffer).setBigUint64(0, 0x1000n, true);
    kernel.launch({ grid: [1, 1, 1], block: [1, 1, 1], parameters, memory });
    expect([...bytes]).toEqual([78, 0, 0, 0, ...new Array(12).fill(255), ...new Array(16).fill(0)]);
    expect(memory.written()).toEqual([]);
  });
});
