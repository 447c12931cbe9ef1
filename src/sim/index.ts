/** Execution of whole kernels on ordinary memory: what a launch computes and exactly which bytes it writes. */
export { CompiledKernel, compileKernel } from './compile.js';
export type { Extent, Launch, LaunchStatistics } from './launch.js';
export { DeviceMemory, type OutOfRange, type WrittenRange } from './memory.js';
