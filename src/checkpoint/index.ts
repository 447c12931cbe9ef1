export type { StorePlace } from '../native/index.js';
export { mapAhead } from './ahead.js';
export type { Catalogue } from './catalogue.js';
export type { Contents, NamedAllocation, Step } from './chain.js';
export type { ContentBytes, ReadBytes } from './content.js';
export type { AllocationDiff, Diff } from './diff.js';
export { StoreError } from './errors.js';
export { formatBytes } from './format.js';
export type { KeepRules } from './keep-rules.js';
export { checkImage, ImageWriter, imageFolder } from './process-image.js';
export type { Pruned, PruneOptions } from './prune.js';
export { type ReportOptions, reportPage } from './report.js';
export type { Piece, RestorePlan } from './restore.js';
export type { AllocationContent, ChunkRange, StoredChunks, WriteSession } from './session.js';
export { type BeginOptions, Store, verifyStore } from './store.js';
export type { Imported, TransferOptions } from './transfer.js';
export {
  ALLOCATION_KINDS,
  type Allocation,
  type AllocationKind,
  CHUNK_BYTES,
  chunksOf,
  type DeviceInfo,
  type KernelInfo,
  LAUNCH_VERDICTS,
  type LaunchVerdict,
  lastLengthOf,
  type Manifest,
  NAME_BYTES,
  type OnProgress,
  ORIGINS,
  type Origin,
  type Problem,
  type ProcessImage,
  type ProcessInfo,
} from './types.js';
export type { Verification, VerifyOptions } from './verify.js';
