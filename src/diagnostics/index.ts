export { CODES, type DiagnosticCode } from './codes.js';
export {
  type Diagnostic,
  describeCode,
  formatDiagnostic,
  InputError,
  InternalError,
  type Severity,
  type Span,
  unreachable,
} from './diagnostic.js';
export { type DiagnosticDetails, SourceText } from './source-text.js';
