/** What this stage hands on: PTX texts with where they came from, and kernels that exist as machine code only. */

/** Where a text was found. */
export type SourceOrigin =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'stdin' }
  | { readonly kind: 'container'; readonly path: string; readonly label: string; readonly architecture: string }
  | { readonly kind: 'neutrino'; readonly folder: string; readonly file: string }
  /** `image`: SHA-256 of the machine code beside the text, by which a running program's module is recognised. */
  | { readonly kind: 'triton'; readonly path: string; readonly image: string };

/** One module's text: one `.version` block. */
export interface PtxSource {
  /** Display name: the path as given, `<stdin>`, `app#fatbin[2].ptx(sm_80)`; `[k]` behind it for one of several blocks. */
  readonly name: string;
  /** Decoded as latin1, so that an index into it is a byte offset. */
  readonly text: string;
  /** Lines in front of this block in its file. */
  readonly lineOffset: number;
  readonly origin: SourceOrigin;
  /** Only these kernels are wanted, where the origin says so; all when absent. */
  readonly kernels?: readonly string[];
}

/** A kernel that was found as machine code. */
export interface MachineCodeKernel {
  readonly name: string;
  readonly source: string;
  /** What it runs on: `sm_90`, `sm_90a`. */
  readonly architecture: string;
  /** What the text that it was compiled from was for: `sm_90`, without a suffix; absent where it does not tell. */
  readonly compiledFor?: string;
  /** Whether a text of the same input has an entry of that name. */
  readonly hasPtx: boolean;
}

export interface SourceSet {
  readonly sources: readonly PtxSource[];
  readonly machineCode: readonly MachineCodeKernel[];
}

export interface CollectOptions {
  /** Reads standard input for `-`; the process's own when absent. */
  readonly stdin?: () => Buffer | Promise<Buffer>;
  /** Of several `.version` blocks in a trace, take the highest target not above this (`90` for sm_90); all when absent. */
  readonly deviceArchitecture?: number;
}
