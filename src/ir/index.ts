export * from './form.js';
export { formatProgram } from './format.js';
export { DEFAULT_LIMITS, type LoweringLimits, lowerKernel } from './lower/lower-kernel.js';
export { type BodyProvider, ModuleSymbols } from './lower/module-symbols.js';
export { validateProgram } from './validate.js';
