/**
 * gcr-templates as a library: everything the command line does, as functions. Subpaths give the stages on their own:
 * `gcr-templates/ptx`, `gcr-templates/templates`, `gcr-templates/shadow`, `gcr-templates/sim`.
 */
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
export * from './shadow/index.js';
export * from './sim/index.js';
export { collectSources, type PtxSource, type SourceSet, sourcesFromBuffer } from './sources/index.js';
export * from './templates/index.js';
