/**
 * The one table of diagnostic codes. A code is part of the public contract: scripts match on it, templates record it as
 * the reason why a site is not `exact`. Codes are never reused; new ones go at the end of their stage's block.
 *
 * Blocks: 1xxx sources, 2xxx PTX text, 3xxx kernel program, 4xxx templates, 5xxx shadow execution,
 * 6xxx execution (src/sim), 7xxx checkpoints and their store (src/native, src/checkpoint), 9xxx command line.
 */
export const CODES = {
  // --- 1xxx: finding PTX text (src/sources) ---
  GCR1001: 'input not found',
  GCR1002: 'input cannot be read',
  GCR1003: 'input is of no known kind',
  GCR1004: 'input holds no kernel',
  GCR1005: 'container is damaged',
  GCR1006: 'compressed entry cannot be decompressed',
  GCR1007: 'kernel has machine code but no PTX',
  GCR1008: 'trace folder is incomplete',
  GCR1009: 'input is too large',
  GCR1010: 'container entry is of an unknown kind',

  // --- 2xxx: PTX text (src/ptx) ---
  GCR2001: 'unexpected character',
  GCR2002: 'syntax error',
  GCR2003: 'text ends inside a construct',
  GCR2004: 'nesting is too deep',
  GCR2005: 'text or construct is too large',
  GCR2006: 'name is defined twice',
  GCR2007: 'no .version directive',
  GCR2008: 'text is binary, not PTX',
  GCR2009: 'number is out of range',

  // --- 3xxx: kernel program (src/ir) ---
  GCR3001: 'instruction is not known',
  GCR3002: 'name is not defined',
  GCR3003: 'branch target is not known',
  GCR3004: 'recursive call',
  GCR3005: 'call to a function without a body',
  GCR3006: 'indirect call may leave the module',
  GCR3007: 'kernel is too large to expand its calls',
  GCR3008: 'operand form is not supported',
  GCR3010: 'launches other kernels',

  // --- 4xxx: templates (src/templates) ---
  GCR4001: 'address is read from memory',
  GCR4002: 'offset depends on the content of memory',
  GCR4003: 'guard depends on the content of memory',
  GCR4004: 'length depends on the content of memory',
  GCR4005: 'address is inside a tensor map',
  GCR4006: 'address is inside a surface',
  GCR4007: 'writes memory of the device runtime',
  GCR4008: 'value is not modelled',
  GCR4009: 'template file is not valid',
  GCR4010: 'template file is of a newer version',
  GCR4011: 'value is exchanged between threads',
  GCR4012: 'address has no base that could be identified',
  GCR4013: 'address is a multicast address',
  GCR4015: 'value depends on time or scheduling',

  // --- 5xxx: shadow execution (src/shadow) ---
  GCR5001: 'launch record is not valid',
  GCR5002: 'launch has too many threads to execute one by one',
  GCR5003: 'rows of a matrix are not aligned',
  GCR5004: 'too many ranges to list one by one',
  GCR5005: 'trace line is not JSON',
  GCR5006: 'trace event is not known',
  GCR5007: 'field of a trace event is not valid',
  GCR5008: 'trace ends inside a line',
  GCR5009: 'trace line is too long',
  GCR5010: 'allocation is not valid',
  GCR5011: 'allocation overlaps another',
  GCR5012: 'free of what is not allocated',
  GCR5013: 'launched kernel has no template',
  GCR5014: 'module is not among the templates',
  GCR5015: 'trace does not say which module is meant',
  GCR5016: 'pointer is in no known allocation',
  GCR5017: 'shadow execution had to widen',
  GCR5018: 'launch counts with what a library documents',
  GCR5019: 'which of several texts runs is not known',

  // --- 6xxx: execution of whole kernels (src/sim) ---
  GCR6001: 'access outside mapped memory',
  GCR6002: 'memory cannot be mapped',
  GCR6003: 'instruction is not executed',
  GCR6004: 'kernel did not end within the step limit',
  GCR6005: 'threads wait for each other',
  GCR6006: 'launch does not fit the kernel',
  GCR6007: 'kernel trapped',

  // --- 7xxx: the store of checkpoints (src/native, src/checkpoint) ---
  GCR7001: 'native part is not built',
  GCR7002: 'native part cannot be loaded',
  GCR7010: 'no such store',
  GCR7011: 'no such checkpoint',
  GCR7012: 'store is damaged',
  GCR7013: 'store is of a kind or version that is not known',
  GCR7014: 'store is locked by another process',
  GCR7015: 'store cannot be read or written',
  GCR7016: 'exported checkpoint is damaged',
  GCR7017: 'checkpoint cannot be written as asked',
  GCR7018: 'no such allocation',

  // --- 80xx: the simulated device (src/simdevice) ---
  GCR8001: 'module cannot be executed',
  GCR8002: 'simulated device cannot be reached under that path',
  GCR8003: 'message of a driver is not valid',

  // --- 81xx: running applications (src/runtime) ---
  GCR8101: 'request to a supervisor is not valid',
  GCR8102: 'no application of that number is supervised',
  GCR8103: 'supervisor does not answer',
  GCR8104: 'another operation is under way',
  GCR8105: 'memory cannot be saved',
  GCR8106: 'application did not answer in time',
  GCR8107: 'connection to the application ended',
  GCR8108: 'application refused',
  GCR8109: 'checkpoint cannot be restored into this application',
  GCR8110: 'template missed a write',
  GCR8111: 'application cannot be supervised',
  GCR8112: 'operation was cancelled',
  GCR8113: 'driver could not checkpoint or restore the process',
  GCR8114: 'device memory could not be had',
  GCR8115: 'no room in host memory',
  GCR8116: 'checkpoint in host memory is needed',
  GCR8117: 'process cannot be saved or brought back as a whole',
  GCR8118: 'CRIU failed',

  // --- 9xxx: command line (src/cli) ---
  GCR9002: 'output cannot be written',
  GCR9003: 'a worker failed',
  GCR9004: 'no kernel of that name',
} as const;

/** A numbered diagnostic code, for example `GCR2002`. */
export type DiagnosticCode = keyof typeof CODES;
