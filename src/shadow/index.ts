export { DirtyAccumulator, type Mark } from './accumulator.js';
export { type Allocation, AllocationMap } from './allocations.js';
export { LaunchAnalyser } from './analyse.js';
export { type ConcreteOptions, type ConcreteResult, executeConcretely } from './concrete.js';
export {
  type AccessDescriptor,
  clipDescriptor,
  type Dimension,
  exactBytes,
  expandDescriptors,
  hullOf,
  MAX_RANGES,
  normalizeDescriptor,
  rangeDescriptor,
} from './descriptor.js';
export { DirtySet } from './dirty-set.js';
export { ShadowExecutor, type ShadowOptions, type UnknownPolicy } from './executor.js';
export { KnownMemory } from './known-memory.js';
export type { LaunchRecord } from './launch.js';
export type { LoadedModule } from './module-table.js';
export type { LaunchEnvironment } from './placement.js';
export { ADDRESS_SPACE, type AddressRange, hexAddress, RangeCollector } from './ranges.js';
export {
  type LaunchReport,
  type OverApproximation,
  reportLaunch,
  type Share,
  VerdictStatistics,
} from './report.js';
export { type ContentView, StreamMemory } from './stream-memory.js';
export { TENSOR_MAP_BYTES, type TensorMapRecord, TensorMaps } from './tensor-maps.js';
export { errorAt, formatTraceEvent, parseTraceLine, readTrace, type TraceEvent, type TraceLine } from './trace.js';
