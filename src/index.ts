/**
 * gcr-templates as a library: everything the command line does, as functions. Subpaths give the stages on their own:
 * `gcr-templates/ptx`, `gcr-templates/templates`, `gcr-templates/shadow`, `gcr-templates/sim`, `gcr-templates/checkpoint`.
 */

// Both stages speak of allocations; the executor's keeps the short name.
export type { Allocation as SavedAllocation } from './checkpoint/index.js';
export * from './checkpoint/index.js';
export {
  CODES,
  type Diagnostic,
  type DiagnosticCode,
  describeCode,
  formatDiagnostic,
  InputError,
  InternalError,
} from './diagnostics/index.js';
export * from './pipeline/index.js';
export type { Allocation } from './shadow/index.js';
export * from './shadow/index.js';
export * from './sim/index.js';
export { collectSources, type PtxSource, type SourceSet, sourcesFromBuffer } from './sources/index.js';
export * from './templates/index.js';
