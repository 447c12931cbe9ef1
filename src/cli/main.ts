/**
 * The command line. One file a command; here only what they share: usage errors, signals, and the one place where an
 * exception becomes a message and an exit code.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { InputError } from '../diagnostics/index.js';
import { EXIT, EXIT_HELP, type ExitCode, exitCodeOf } from './exit-codes.js';
import { cannotWrite, printDiagnostics, ReaderGone } from './output.js';
import type { Finish } from './store-options.js';

/** The commands, in the order of the help; only the one that is asked for is loaded, as loading all of them takes longer than most of them do. */
const COMMANDS: ReadonlyMap<string, () => Promise<(program: Command, finish: Finish) => void>> = new Map([
  ['build', async () => (await import('./build-command.js')).addBuildCommand],
  ['explain', async () => (await import('./explain-command.js')).addExplainCommand],
  ['coverage', async () => (await import('./coverage-command.js')).addCoverageCommand],
  ['shadow', async () => (await import('./shadow-command.js')).addShadowCommand],
  ['list', async () => (await import('./list-command.js')).addListCommand],
  ['show', async () => (await import('./show-command.js')).addShowCommand],
  ['diff', async () => (await import('./diff-command.js')).addDiffCommand],
  ['verify', async () => (await import('./verify-command.js')).addVerifyCommand],
  ['extract', async () => (await import('./extract-command.js')).addExtractCommand],
  ['prune', async () => (await import('./prune-command.js')).addPruneCommand],
  ['export', async () => (await import('./export-command.js')).addExportCommand],
  ['import', async () => (await import('./import-command.js')).addImportCommand],
  ['report', async () => (await import('./report-command.js')).addReportCommand],
  ['run', async () => (await import('./run-command.js')).addRunCommand],
  ['adopt', async () => (await import('./adopt-command.js')).addAdoptCommand],
  ['ps', async () => (await import('./ps-command.js')).addPsCommand],
  ['status', async () => (await import('./status-command.js')).addStatusCommand],
  ['checkpoint', async () => (await import('./checkpoint-command.js')).addCheckpointCommand],
  ['restore', async () => (await import('./restore-command.js')).addRestoreCommand],
  ['suspend', async () => (await import('./suspend-command.js')).addSuspendCommand],
  ['resume', async () => (await import('./suspend-command.js')).addResumeCommand],
  ['drop', async () => (await import('./drop-command.js')).addDropCommand],
  ['demo', async () => (await import('./demo-command.js')).addDemoCommand],
]);

/** What ends a command early, leaving nothing half-written. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/**
 * Runs one command line.
 *
 * @param argv as `process.argv`
 * @returns the exit code
 */
export async function run(argv: readonly string[]): Promise<ExitCode> {
  let code: ExitCode = EXIT.ok;
  const abort = new AbortController();
  const interrupt = () => abort.abort();
  for (const signal of SIGNALS) process.on(signal, interrupt);
  // A reader that goes away (`| head`) is no error of ours; a full disk is one of the output.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(code);
    printDiagnostics(cannotWrite('-', error).diagnostics);
    process.exit(EXIT.cannotWrite);
  });
  // Messages that nobody takes do not stop the work.
  process.stderr.on('error', () => {});
  const finish: Finish = async (command) => {
    code = await command(abort.signal);
  };
  const program = new Command('gcr-templates')
    .description(
      'Which bytes of device memory may a GPU kernel launch have written? And incremental checkpoints of running programs.',
    )
    .version(version())
    .showHelpAfterError('(add --help for the options)')
    .enablePositionalOptions()
    .addHelpText('after', `\n${EXIT_HELP}`)
    .exitOverride();
  const asked = COMMANDS.get(argv[2] ?? '');
  const loads = asked ? [asked] : /^(--version|-V)$/.test(argv[2] ?? '') ? [] : COMMANDS.values();
  for (const load of loads) (await load())(program, finish);
  for (const command of program.commands) command.exitOverride().showHelpAfterError('(add --help for the options)');
  try {
    await program.parseAsync(argv);
    return code;
  } catch (error) {
    if (abort.signal.aborted) {
      process.stderr.write('interrupted; nothing was written\n');
      return EXIT.interrupted;
    }
    if (error instanceof ReaderGone) return code;
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (error instanceof InputError) {
      printDiagnostics(error.diagnostics);
      return exitCodeOf(error.diagnostics);
    }
    process.stderr.write(`gcr-templates: internal error: ${(error as Error).stack ?? error}\n`);
    process.stderr.write('please report this with the input that caused it\n');
    return EXIT.internal;
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupt);
  }
}
