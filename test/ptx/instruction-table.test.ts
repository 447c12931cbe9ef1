/**
 * The instruction table against instructions that ptxas accepts (`instruction-samples.txt`: at least one of every form) and
 * against every instruction of the fixtures. What must not resolve is tested as much as what must: soundness hangs on it.
 */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { instructionsIn, mnemonicOf } from '../../scripts/instruction-text.mjs';
import { type Instruction, parse, printStatement, type Statement } from '../../src/ptx/index.js';
import type { InstructionForm } from '../../src/ptx/instruction-form.js';
import { INSTRUCTION_TABLE } from '../../src/ptx/instruction-table.js';
import { assignOperandRoles, resolveInstruction } from '../../src/ptx/resolve-instruction.js';
import { fixtures } from './helpers.js';

const SAMPLES = readFileSync(new URL('instruction-samples.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [form, roles, ...instruction] = line.split('|').map((part) => part.trim());
    return { form, roles, instruction: instruction.join('|') };
  });

function resolve(text: string): InstructionForm | undefined {
  return resolveInstruction(mnemonicOf(text));
}

/** Roles of a whole instruction, `d a s`; undefined when mnemonic or operands do not fit. */
function rolesOf(instruction: string): string | undefined {
  const [parsed] = instructionsIn(`${instruction};`);
  const form = parsed && resolveInstruction(parsed.mnemonic);
  return form && assignOperandRoles(form, parsed.operands)?.join(' ');
}

describe('the table', () => {
  it('names every form once', () => {
    const names = INSTRUCTION_TABLE.map((form) => form.name);
    expect(names).toEqual([...new Set(names)]);
  });

  it('names a form after its opcode and selectors, and lists no word twice', () => {
    for (const form of INSTRUCTION_TABLE) {
      expect(form.name).toBe([form.opcode, ...form.selectors].join('.'));
      expect(form.section).toMatch(/^9\.7(\.\d+)+( 9\.7(\.\d+)+)*$/);
      for (const selector of form.selectors) expect(form.modifiers.has(selector), form.name).toBe(false);
      for (const modifier of form.modifiers) expect(modifier).toMatch(/^[A-Za-z0-9_]+(::[A-Za-z0-9_]+)*$/);
      for (const role of form.operands) expect(role).toMatch(/^([dsxalm]|\([ds]\))[?*]?$/);
    }
  });

  it('cannot be changed', () => {
    expect(Object.isFrozen(INSTRUCTION_TABLE)).toBe(true);
    for (const form of INSTRUCTION_TABLE) {
      expect([form, form.selectors, form.operands].every(Object.isFrozen), form.name).toBe(true);
    }
  });

  it('has a sample of every form', () => {
    expect([...new Set(SAMPLES.map(({ form }) => form))].sort()).toEqual(
      INSTRUCTION_TABLE.map((form) => form.name).sort(),
    );
  });
});

describe('resolveInstruction', () => {
  it.each(SAMPLES)('$instruction', ({ form, roles, instruction }) => {
    const mnemonic = instruction.split(' ')[0] as string;
    expect(resolve(mnemonic)?.name).toBe(form);
    expect(rolesOf(instruction)).toBe(roles);
  });

  it('does not know a modifier that no instruction has, on any form', () => {
    for (const { instruction } of SAMPLES) expect(resolve(`${instruction.split(' ')[0]}.unheard_of`)).toBeUndefined();
  });

  it.each([
    ['an unknown opcode', 'fabric.st.b32'],
    ['a modifier of another instruction', 'ld.global.noftz.u32'],
    ['a modifier of a shorter form', 'st.async.volatile.global.u32'],
    ['a selector of another opcode', 'st.nc.global.u32'],
    ['two forms at once', 'match.any.all.sync.b32'],
    ['a required selector missing', 'wmma.sync.aligned.row.m16n16k16.global.f16'],
    ['semantics that the instruction does not have', 'red.acquire.sys.global.add.u32'],
    ['bulk copies of later versions', 'cp.async.bulk.relaxed.cta.global.shared::cta.bulk_group.cp_mask.b128'],
    ['an empty modifier', 'ld.'],
    ['names of the object prototype', 'constructor.u32'],
  ])('leaves unknown: %s', (_, text) => {
    expect(resolve(text)).toBeUndefined();
  });

  it.each([
    ['st.u32.global', 'st'],
    ['ld.nc.u32.global', 'ld.global.nc'],
    ['atom.u32.add.global', 'atom'],
    ['cp.tensor.async.2d.bulk.global.shared::cta.bulk_group.tile', 'cp.async.bulk.tensor'],
    ['mad.cc.lo.u32', 'mad.cc'],
    ['barrier.cluster.aligned.arrive', 'barrier.cluster.arrive'],
    ['stmatrix.sync.aligned.x4.m8n8.shared.b16', 'stmatrix'],
  ])('takes modifiers in any order: %s', (text, name) => {
    expect(resolve(text)?.name).toBe(name);
  });

  it.each([
    ['st.async.release.global.gpu.u32', 'st.async'],
    ['cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes', 'cp.async.bulk'],
    ['cp.async.bulk.prefetch.L2.global', 'cp.async.bulk.prefetch'],
    ['cp.async.bulk.prefetch.tensor.1d.L2.global', 'cp.async.bulk.prefetch.tensor'],
    ['mbarrier.arrive.expect_tx.b64', 'mbarrier.arrive.expect_tx'],
    ['tcgen05.mma.ws.sp.cta_group::1.kind::i8', 'tcgen05.mma.ws.sp'],
    ['bar.warp.sync', 'bar.warp.sync'],
    ['multimem.cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32', 'multimem.cp.reduce.async.bulk'],
  ])('takes the form with most selectors: %s', (text, name) => {
    expect(resolve(text)?.name).toBe(name);
  });

  it('gives one answer for one mnemonic object', () => {
    const known = mnemonicOf('st.global.u32');
    const unknown = mnemonicOf('st.global.unheard_of');
    expect(resolveInstruction(known)).toBe(resolveInstruction(known));
    expect([resolveInstruction(unknown), resolveInstruction(unknown)]).toEqual([undefined, undefined]);
  });
});

describe('assignOperandRoles', () => {
  it.each([
    ['call callee', 'l'],
    ['call (r), %rd1, (a, b), prototype', 'd l s l'],
    ['call %rd1, prototype', 'l l'],
    ['bar.sync 0', 's'],
    ['bar.red.and.pred %p1, 0, %p2', 'd s s'],
    ['atom.global.cas.b32 %r1, [%rd1], %r2, %r3', 'd a s s'],
    ['ld.global.u32 %r1, table[%r2]', 'd a'],
    [
      'cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes.ignore_oob [%r1], [%rd1], 16, 1, 2, [%r2]',
      'a a s s s a',
    ],
    ['wgmma.mma_async.sync.aligned.m64n8k32.s32.s8.s8 {%r1, %r2, %r3, %r4}, %rd1, %rd2, %p1', 'x s s s'],
  ])('%s: %s', (instruction, roles) => {
    expect(rolesOf(instruction)).toBe(roles);
  });

  it.each([
    'st.global.u32 [%rd1]',
    'st.global.u32 [%rd1], %r1, %rd2, %rd3',
    'st.global.u32 %r1, [%rd1]',
    'ld.global.u32 [%rd1], %r1',
    'add.u32 %r1, %r2',
    'add.u32 %r1, %r2, [%rd1]',
    'add.u32 %r1, %r2, (%r3)',
    'ret %r1',
    'call (r), (a), callee',
    'mbarrier.arrive.shared.b64 [%r1]',
  ])('does not fit: %s', (instruction) => {
    expect(rolesOf(instruction)).toBeUndefined();
  });

  it('repeats a position marked with a star', () => {
    const form: InstructionForm = {
      name: 'test',
      opcode: 'test',
      selectors: [],
      modifiers: new Set(),
      operands: ['a', 's*', 'a?'],
      section: '9.7',
    };
    const kinds = (text: string) => [...text].map((char) => ({ kind: char === 'a' ? 'address' : 'name' }) as const);
    expect(assignOperandRoles(form, kinds('a'))).toEqual(['a']);
    expect(assignOperandRoles(form, kinds('asssa'))).toEqual(['a', 's', 's', 's', 'a']);
    expect(assignOperandRoles(form, kinds('asas'))).toBeUndefined();
  });
});

/** Every instruction of a body, those in its scopes included. */
function* instructionsOf(statements: readonly Statement[]): Generator<Instruction> {
  for (const statement of statements) {
    if (statement.kind === 'instruction') yield statement;
    else if (statement.kind === 'scope') yield* instructionsOf(statement.statements);
  }
}

describe('fixtures', () => {
  // Those named `unknown-…` are there to hold what the table does not know.
  const known = fixtures().filter(({ name }) => !name.includes('unknown-'));

  it('every instruction resolves and its operands fit', () => {
    const failed: string[] = [];
    let count = 0;
    for (const { name, text } of known) {
      for (const item of parse(text).product.items) {
        if (item.kind !== 'function') continue;
        for (const instruction of instructionsOf(item.body ?? [])) {
          const form = resolveInstruction(instruction.mnemonic);
          count++;
          if (form === undefined || assignOperandRoles(form, instruction.operands) === undefined) {
            failed.push(`${name}: ${printStatement(instruction)}`);
          }
        }
      }
    }
    expect(failed).toEqual([]);
    expect(count).toBeGreaterThan(100);
  });
});
