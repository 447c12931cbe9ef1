export { collectSources, sourcesFromBuffer } from './collect.js';
export { entryNames, splitVersions } from './split.js';
export { type FoundText, TritonIndex, type WantedImage } from './triton-index.js';
export type { CollectOptions, MachineCodeKernel, PtxSource, SourceOrigin, SourceSet } from './types.js';
