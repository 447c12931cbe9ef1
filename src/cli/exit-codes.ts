/** The exit codes of every command: one table, printed by `--help` and in the README. The high ones follow sysexits(3). */
export const EXIT = {
  ok: 0,
  /** Finished, and some kernel's or launch's write set is `unknown` (or it has no template). */
  unknown: 3,
  usage: 64,
  badInput: 65,
  /** A bug of ours, or a worker that ran out of memory. */
  internal: 70,
  cannotWrite: 73,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_HELP = `Exit codes:
  0    done, every kernel's (launch's) write set is known at least by its allocation
  3    done, some kernel or launch ended 'unknown' or has no template
  64   wrong usage
  65   bad input; what could be built was still written
  70   a bug in gcr-templates, or too little memory
  73   the output could not be written
  130  interrupted; an output file of before is untouched`;
