/** What the judge's scripts judge: the built toolkit. Tests judge the sources (`test/judge/helpers.ts`). */
import * as toolkit from '../../dist/index.js';
import { lowerKernel, ModuleSymbols } from '../../dist/ir/index.js';
import { parse } from '../../dist/ptx/index.js';
import { compileKernel, DeviceMemory } from '../../dist/sim/index.js';
import { splitVersions } from '../../dist/sources/index.js';

export const library = { ...toolkit, lowerKernel, ModuleSymbols, parse, compileKernel, DeviceMemory, splitVersions };
