/**
 * The notation in which the instruction table is written, and the groups of modifiers that several chapters share.
 * A row is `form(head, operands, modifiers, sections)`, all four in the manual's own spelling, so that a row can be laid
 * beside the syntax lines of its section. The rows of the chapter files and `instruction-table.ts` rely on it.
 */

import type { InstructionForm, OperandRole } from './instruction-form.js';

/**
 * One row of the table.
 *
 * @param head opcode and the modifiers that select the form: `cp.async.bulk.tensor`
 * @param operands roles in order, separated by spaces: `a a s s? s?`; empty for an instruction without operands
 * @param modifiers every other modifier that one of the form's syntax lines allows, with dots: `.weak .volatile`
 * @param section PTX ISA 9.1 section(s)
 */
export function form(head: string, operands: string, modifiers: string, section: string): InstructionForm {
  const [opcode, ...selectors] = head.split('.');
  return Object.freeze({
    name: head,
    opcode: opcode as string,
    selectors: Object.freeze(selectors),
    modifiers: new Set(words(modifiers).map((word) => word.replace(/^\./, ''))),
    operands: Object.freeze(words(operands) as OperandRole[]),
    section,
  });
}

/** The same row for several opcodes: `forms('and or xor', …)`. */
export function forms(heads: string, operands: string, modifiers: string, section: string): InstructionForm[] {
  return words(heads).map((head) => form(head, operands, modifiers, section));
}

/** Every `.mMnNkK` for the given M, a range of N in steps, and the given Ks. */
export function shapes(m: number, ns: Iterable<number>, ks: readonly number[]): string {
  return [...ns].flatMap((n) => ks.map((k) => `.m${m}n${n}k${k}`)).join(' ');
}

/** `from`, `from + step`, … up to and including `to`. */
export function* range(from: number, to: number, step: number): Generator<number> {
  for (let value = from; value <= to; value += step) yield value;
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/** Fundamental types (PTX ISA 5.2.1). */
export const UNSIGNED = '.u16 .u32 .u64';
export const SIGNED = '.s16 .s32 .s64';
export const INTEGERS = `${UNSIGNED} ${SIGNED}`;
export const BITS = '.b16 .b32 .b64';
export const FLOATS = '.f32 .f64';
export const HALVES = '.f16 .f16x2 .bf16 .bf16x2';
/** What registers and variables of any fundamental type hold, without the byte types. */
export const SCALARS = `${BITS} ${INTEGERS} ${FLOATS}`;
/** What `ld`, `ldu` and `st` move. */
export const MOVABLE = `${SCALARS} .b8 .u8 .s8 .b128`;

/** Floating-point rounding (PTX ISA 6.5.2). */
export const ROUNDING = '.rn .rz .rm .rp';

/** State spaces with their sub-qualifiers (PTX ISA 5.1). */
export const SHARED = '.shared .shared::cta .shared::cluster';
export const PARAM = '.param .param::entry .param::func';

/** Memory semantics and scopes (PTX ISA 8). */
export const SCOPES = '.cta .cluster .gpu .sys';

/** Cache operators, eviction priorities, prefetch sizes (PTX ISA 9.7.9.1, 9.7.9.2). */
export const LOAD_CACHE_OPERATORS = '.ca .cg .cs .lu .cv';
export const STORE_CACHE_OPERATORS = '.wb .cg .cs .wt';
export const EVICTION_PRIORITIES =
  '.L1::evict_normal .L1::evict_unchanged .L1::evict_first .L1::evict_last .L1::no_allocate ' +
  '.L2::evict_normal .L2::evict_first .L2::evict_last';
export const CACHE_HINT = '.L2::cache_hint';
export const PREFETCH_SIZES = '.L2::64B .L2::128B .L2::256B';

/** Vectors of loads, stores and atomics. */
export const VECTORS = '.v2 .v4 .v8';

/** How an asynchronous operation tells that it is done (PTX ISA 9.7.9.25.2). */
export const COMPLETE_TX = '.mbarrier::complete_tx::bytes';

/** Comparison and combination of predicates (PTX ISA 9.3). */
export const COMPARISONS = '.eq .ne .lt .le .gt .ge .lo .ls .hi .hs .equ .neu .ltu .leu .gtu .geu .num .nan';
export const BOOLEAN = '.and .or .xor';

/** What reductions in memory do. */
export const REDUCTIONS = '.and .or .xor .add .inc .dec .min .max';
