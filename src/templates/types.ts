/**
 * The dirty template: what one kernel may write and read, as far as its code alone tells. It holds the slice of the kernel
 * that computes addresses, lengths and guards; shadow execution runs that slice with a launch's parameters. The types
 * are the JSON (docs/formats/template.md, schema/template.schema.json): reading a file and checking it gives these.
 */
import type { DiagnosticCode } from '../diagnostics/index.js';
import type {
  KernelParameter,
  LaunchBounds,
  MemoryObject,
  MemorySpace,
  ReadKind,
  TensorMode,
  WriteKind,
} from '../ir/form.js';

export const TEMPLATE_FORMAT = 'gcr-templates';
/** Version of the file format; raised when a reader of the old one would misread the new one. */
export const TEMPLATE_VERSION = 2;

/** How much is known of a set of addresses, best first (design: shadow semantics). */
export const VERDICTS = ['exact', 'bounded', 'allocation', 'unknown'] as const;
export type Verdict = (typeof VERDICTS)[number];

/** The worse of two verdicts. */
export function worseVerdict(a: Verdict, b: Verdict): Verdict {
  return VERDICTS.indexOf(a) >= VERDICTS.indexOf(b) ? a : b;
}

/** Why a site is not `exact`. */
export interface Reason {
  readonly code: DiagnosticCode;
  readonly message: string;
  /** Line of the instruction that is the cause, one-based; the site's own when the cause is the site itself. */
  readonly line: number;
  /** Its spelling. */
  readonly instruction: string;
}

/**
 * What an address is derived from. `parameter`: the 64-bit parameter at that byte offset; `parameters`: some pointer in the
 * parameter block (dynamic index); `object`: a variable, by index into {@link KernelTemplate.objects}; `memory`: a
 * pointer read from memory; `window`: a generic address into shared, local, constant or parameter memory;
 * `other`: a value that is not modelled.
 */
export type Base =
  | { readonly parameter: number }
  | { readonly parameters: true }
  | { readonly object: number }
  | { readonly memory: true }
  | { readonly window: MemorySpace }
  | { readonly other: true };

/** One instruction that may touch global memory, once for every place it was expanded at. */
export interface Site {
  readonly kind: WriteKind | ReadKind;
  readonly space: MemorySpace;
  /**
   * All its bases lie in this memory, which is not global: the site counts for nothing as long as pointers stay in the
   * object they were derived from. Its verdict says how much of the address is known, should that not be relied on.
   */
  readonly window?: 'shared' | 'local' | 'constant' | 'parameter';
  readonly instruction: string;
  /** Line of the source text, one-based. */
  readonly line: number;
  /** Functions it was expanded through, outermost first. */
  readonly inlined?: readonly string[];
  /** Index into {@link KernelTemplate.blocks}. */
  readonly block: number;
  /** Index into {@link KernelTemplate.values}; absent when no address describes the place. */
  readonly address?: number;
  /** Bytes touched from the address on; 0 when `length` says it or nothing does. */
  readonly bytes: number;
  /** Value that is the number of bytes. */
  readonly length?: number;
  /** Value of width 1 that must be one. */
  readonly guard?: number;
  /** A matrix fragment: `count` rows of `bytes`, value `stride` bytes apart. */
  readonly rows?: { readonly count: number; readonly stride: number };
  /** A mask chooses which of the bytes are touched. */
  readonly masked?: boolean;
  /** Coordinates of a tensor access: values, innermost first. */
  readonly coordinates?: readonly number[];
  /** How they choose elements of the tensor. */
  readonly tensorMode?: TensorMode;
  readonly bases: readonly Base[];
  readonly verdict: Verdict;
  readonly reasons: readonly Reason[];
}

/** `[operation, width, …]`; what follows depends on the operation, see docs/formats/template.md. */
export type SliceValue = readonly [operation: string, width: number, ...rest: (number | string | object)[]];

/** `["jump", b]`, `["branch", condition, then, otherwise]`, `["switch", index, b…]`, `["exit"]`. */
export type SliceEnd =
  | readonly ['jump', number]
  | readonly ['branch', number, number, number]
  | readonly ['switch', number, ...number[]]
  | readonly ['exit'];

/** A basic block of the slice: values `first …` up to the next block's first. */
export interface SliceBlock {
  readonly first: number;
  readonly end: SliceEnd;
}

export interface KernelTemplate {
  readonly name: string;
  /** Index into {@link TemplateFile.modules}. */
  readonly module: number;
  /** SHA-256 of the text that the template was derived from: target, the kernel, and the functions expanded into it. */
  readonly hash: string;
  readonly line: number;
  readonly parameters: readonly KernelParameter[];
  /** Size of the parameter block in bytes. */
  readonly parameterBytes: number;
  readonly bounds: LaunchBounds;
  /** Worst verdict of the write sites that count; `exact` when there are none. */
  readonly verdict: Verdict;
  readonly objects: readonly MemoryObject[];
  readonly functions: readonly string[];
  readonly values: readonly SliceValue[];
  readonly blocks: readonly SliceBlock[];
  readonly writes: readonly Site[];
  readonly reads: readonly Site[];
}

/** Where a module's text came from. */
export interface TemplateModule {
  /** SHA-256 of the module's text. */
  readonly hash: string;
  /** Display name of the source. */
  readonly source: string;
  /** `.version`, e.g. `8.0`. */
  readonly version: string;
  /** `.target`, e.g. `sm_90a`. */
  readonly target: string;
  /** 32 or 64. */
  readonly addressBits: number;
  /** SHA-256 of the machine code that belongs to the text (a Triton cache), by which a loaded image is recognised. */
  readonly image?: string;
}

/** A kernel that could not be given a template, with the reason: it counts as `unknown`. */
export interface MissingTemplate {
  readonly name: string;
  readonly source: string;
  readonly code: DiagnosticCode;
  readonly message: string;
}

/** A file of templates. */
export interface TemplateFile {
  readonly format: typeof TEMPLATE_FORMAT;
  readonly version: number;
  readonly modules: readonly TemplateModule[];
  readonly kernels: readonly KernelTemplate[];
  readonly missing: readonly MissingTemplate[];
}

/** Whether a write site counts: it may touch global memory of the application. */
export function countsAsWrite(site: Site): boolean {
  return site.window === undefined;
}
