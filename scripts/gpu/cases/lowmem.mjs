// node --import lowmem.mjs: a machine with 1.5 GiB of free memory, as far as a supervisor can tell.

import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';

os.freemem = () => 1.5 * 2 ** 30;
if (process.availableMemory) process.availableMemory = () => 1.5 * 2 ** 30;
syncBuiltinESMExports();
