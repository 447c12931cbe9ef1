/**
 * From a `KernelProgram` to its template: which accesses are sites, how much of each is known and why not more, and the
 * slice that computes their places. The only stage that gives verdicts; everything before it describes.
 */
import { createHash } from 'node:crypto';
import type { DiagnosticCode } from '../diagnostics/index.js';
import type { Access, KernelProgram, MemorySpace, Value, ValueId } from '../ir/form.js';
import {
  Classification,
  contentPrecision,
  type Knowledge,
  type LinearForm,
  ROOT_MEMORY,
  ROOT_OTHER,
  ROOT_PARAMETERS,
} from './classify.js';
import { controlDependence } from './control.js';
import { type Slice, sliceProgram } from './slice.js';
import {
  type Base,
  countsAsWrite,
  type KernelTemplate,
  type Reason,
  type Site,
  type Verdict,
  worseVerdict,
} from './types.js';

/** What the derivation needs to know of the text beside the program. */
export interface DerivationContext {
  /** Index of the module in the file. */
  readonly module: number;
  /** One-based line of an offset. */
  line(offset: number): number;
  /** The text that the program was derived from, in order; hashed. */
  readonly texts: readonly string[];
}

/** Spaces in which an access may be global. */
const COUNTED: ReadonlySet<MemorySpace> = new Set(['global', 'generic', 'runtime']);

function isWriteSite(access: Access): boolean {
  return access.writes !== undefined && COUNTED.has(access.space);
}

function isReadSite(access: Access): boolean {
  return access.reads !== undefined && COUNTED.has(access.space);
}

class Derivation {
  readonly control;
  readonly classes: Classification;

  constructor(
    readonly program: KernelProgram,
    readonly context: DerivationContext,
  ) {
    this.control = controlDependence(program);
    this.classes = new Classification(program, this.control);
  }

  run(): KernelTemplate {
    const { program, context } = this;
    const writes: ValueId[] = [];
    const reads: ValueId[] = [];
    for (const [id, value] of program.values.entries()) {
      if (!value.access) continue;
      if (isWriteSite(value.access)) writes.push(id);
      if (isReadSite(value.access)) reads.push(id);
    }
    const slice = sliceProgram(program, this.control, [...new Set([...writes, ...reads])]);
    const writeSites = writes.map((id) => this.#site(id, slice, program.values[id]!.access!.writes!));
    const readSites = reads.map((id) => this.#site(id, slice, program.values[id]!.access!.reads!));
    const verdict = writeSites
      .filter(countsAsWrite)
      .reduce<Verdict>((worst, site) => worseVerdict(worst, site.verdict), 'exact');
    const hash = createHash('sha256');
    for (const text of context.texts) hash.update(text, 'latin1').update('\0');
    return {
      name: program.name,
      module: context.module,
      hash: hash.digest('hex'),
      line: context.line(program.offset),
      parameters: program.parameters,
      parameterBytes: program.parameterBytes,
      bounds: program.bounds,
      verdict,
      objects: program.objects,
      functions: program.functions,
      values: slice.values,
      blocks: slice.blocks,
      writes: writeSites,
      reads: readSites,
    };
  }

  #site(id: ValueId, slice: Slice, kind: Site['kind']): Site {
    const value = this.program.values[id]!;
    const access = value.access!;
    const { origin } = access;
    const address = value.args[0];
    const { verdict, reasons } = this.#judge(id, value, access);
    const knowledge = address === undefined ? undefined : this.classes.of(address);
    const window = knowledge && windowOf(knowledge, this.program);
    return {
      kind,
      space: access.space,
      ...(access.space === 'generic' && window && { window }),
      instruction: origin.instruction,
      line: this.context.line(origin.offset),
      ...(origin.inlined.length > 0 && { inlined: origin.inlined }),
      block: slice.block(this.classes.blockOf(id)),
      ...(address !== undefined && { address: slice.value(address) }),
      bytes: access.bytes,
      ...(access.length !== undefined && { length: slice.value(access.length) }),
      ...(access.guard !== undefined && { guard: slice.value(access.guard) }),
      ...(access.rows && { rows: { count: access.rows.count, stride: slice.value(access.rows.stride) } }),
      ...(access.masked && { masked: true }),
      ...(access.coordinates && { coordinates: access.coordinates.map((c) => slice.value(c)) }),
      ...(access.tensorMode && { tensorMode: access.tensorMode }),
      bases: knowledge ? basesOf(knowledge) : [],
      verdict,
      reasons,
    };
  }

  /** The verdict on one access, with a reason for everything that keeps it from being exact. */
  #judge(
    id: ValueId,
    value: Value,
    access: Access,
  ): { readonly verdict: Verdict; readonly reasons: readonly Reason[] } {
    const reasons: Reason[] = [];
    let verdict: Verdict = 'exact';
    const widen = (to: Verdict, code: DiagnosticCode, what: string, cause: ValueId): void => {
      verdict = worseVerdict(verdict, to);
      const origin = this.#origin(cause) ?? access.origin;
      const because = this.#because(cause);
      reasons.push({
        code,
        message: because ? `${what} ${because}` : what,
        line: this.context.line(origin.offset),
        instruction: origin.instruction,
      });
    };
    if (access.reason) {
      widen(
        access.writes === 'runtimeMemory' ? 'bounded' : 'unknown',
        access.reason,
        access.detail ?? DETAILS[access.reason] ?? 'the place is not described',
        -1,
      );
    } else if (value.args[0] !== undefined) {
      const address = this.classes.of(value.args[0]);
      const place = judgeForms(address);
      if (place === 'bounded') widen(place, this.#code(address.cause, 'GCR4002'), 'offset depends on', address.cause);
      else if (place === 'allocation')
        widen(place, this.#code(address.cause, 'GCR4002'), 'offset depends on', address.cause);
      else if (place === 'unknown') {
        const memory = address.forms.some((form) => form.roots.has(ROOT_MEMORY));
        const [code, what] = memory
          ? (['GCR4001', 'pointer is'] as const)
          : ([
              address.cause < 0 ? 'GCR4012' : this.#code(address.cause, 'GCR4012'),
              'address has no known base; it depends on',
            ] as const);
        widen('unknown', code, what, this.#pointerCause(value.args[0]));
      }
    }
    const sized = [access.length, access.rows?.stride].filter((size) => size !== undefined);
    for (const size of sized) {
      const length = this.classes.of(size);
      const precision = contentPrecision(length);
      if (precision > 0) {
        const to =
          precision === 1
            ? 'bounded'
            : hasPointer(value.args[0] === undefined ? undefined : this.classes.of(value.args[0]))
              ? 'allocation'
              : 'unknown';
        widen(to, 'GCR4004', 'length depends on', length.cause);
      }
    }
    if (access.masked) widen('bounded', 'GCR4003', 'which of the bytes are touched depends on a mask', -1);
    if (access.guard !== undefined) {
      const guard = this.classes.of(access.guard);
      if (contentPrecision(guard) > 0) widen('bounded', 'GCR4003', 'guard depends on', guard.cause);
    }
    const control = this.classes.blockControl(this.classes.blockOf(id));
    if (control.precision > 0) widen('bounded', 'GCR4003', 'whether it runs depends on', control.cause);
    return { verdict, reasons };
  }

  /** The code for an imprecise value: its own, unless it was read from memory, then `fallback`. */
  #code(cause: ValueId, fallback: DiagnosticCode): DiagnosticCode {
    const value = this.program.values[cause];
    if (!value) return fallback;
    if (value.op === 'exchange') return 'GCR4011';
    if (value.op === 'load') return fallback === 'GCR4012' ? 'GCR4001' : fallback;
    return value.reason ?? 'GCR4008';
  }

  #pointerCause(address: ValueId): ValueId {
    const knowledge = this.classes.of(address);
    return knowledge.cause;
  }

  #origin(cause: ValueId): Access['origin'] | undefined {
    return this.program.values[cause]?.access?.origin;
  }

  #because(cause: ValueId): string {
    const value = this.program.values[cause];
    if (!value) return '';
    const origin = value.access?.origin;
    if (origin) return `what ${origin.instruction} reads at line ${this.context.line(origin.offset)}`;
    if (value.op === 'exchange' || value.reason === 'GCR4011') return 'a value exchanged between threads';
    if (value.reason === 'GCR4015') return 'time or scheduling';
    if (value.op === 'undefined') return 'a register that was never written';
    return 'a value that is not modelled';
  }
}

/** Texts for reasons that an access brings along. */
const DETAILS: Partial<Record<DiagnosticCode, string>> = {
  GCR4005: 'the address is inside a tensor map',
  GCR4006: 'the address is inside a surface or texture object',
  GCR4013: 'a multicast address stands for memory of several devices',
};

/** Roots that may be the pointer of a form: coefficient one, and something a launch's bytes or symbols can place. */
function pointers(form: LinearForm): string[] {
  const found: string[] = [];
  for (const [root, coefficient] of form.roots) {
    if (coefficient === 1n && root !== ROOT_MEMORY && root !== ROOT_OTHER) found.push(root);
  }
  return found;
}

function hasPointer(knowledge: Knowledge | undefined): boolean {
  return knowledge?.forms.every((form) => pointers(form).length > 0) ?? false;
}

/** What the forms of an address allow to say about it. */
function judgeForms(knowledge: Knowledge): Verdict {
  let verdict: Verdict = 'exact';
  for (const form of knowledge.forms) {
    const data = form.rest === 2 || form.roots.has(ROOT_MEMORY) || form.roots.has(ROOT_OTHER);
    const own: Verdict = data
      ? pointers(form).length > 0
        ? 'allocation'
        : 'unknown'
      : form.rest === 1
        ? 'bounded'
        : 'exact';
    verdict = worseVerdict(verdict, own);
  }
  return verdict;
}

function baseOf(root: string): Base {
  if (root === ROOT_MEMORY) return { memory: true };
  if (root === ROOT_OTHER) return { other: true };
  if (root === ROOT_PARAMETERS) return { parameters: true };
  if (root.startsWith('w:')) return { window: root.slice(2) as MemorySpace };
  return root.startsWith('p') ? { parameter: Number(root.slice(1)) } : { object: Number(root.slice(1)) };
}

/** The bases of an address, in a fixed order. */
function basesOf(knowledge: Knowledge): Base[] {
  const roots = new Set<string>();
  for (const form of knowledge.forms) {
    for (const [root, coefficient] of form.roots) if (coefficient === 1n) roots.add(root);
  }
  return [...roots].sort((a, b) => a.length - b.length || (a < b ? -1 : 1)).map(baseOf);
}

/** The memory that all forms of a generic address point into, when that is not global memory. */
function windowOf(knowledge: Knowledge, program: KernelProgram): Site['window'] {
  let window: Site['window'];
  for (const form of knowledge.forms) {
    const [root, ...others] = [...form.roots.keys()];
    if (root === undefined || others.length > 0 || form.roots.get(root) !== 1n) return undefined;
    let space: string | undefined;
    if (root.startsWith('w:')) space = root.slice(2);
    else if (/^o\d/.test(root)) space = program.objects[Number(root.slice(1))]!.space;
    if (space !== 'shared' && space !== 'local' && space !== 'constant' && space !== 'parameter') return undefined;
    window = space;
  }
  return window;
}

/** Derives the template of one kernel. Deterministic: the same text gives the same bytes. */
export function deriveTemplate(program: KernelProgram, context: DerivationContext): KernelTemplate {
  return new Derivation(program, context).run();
}
