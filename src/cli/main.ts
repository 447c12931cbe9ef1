/**
 * The command line. One file a command; here only what they share: usage errors, signals, and the one place where an
 * exception becomes a message and an exit code.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { InputError } from '../diagnostics/index.js';
import { addBuildCommand } from './build-command.js';
import { addCheckpointCommand } from './checkpoint-command.js';
import { addCoverageCommand } from './coverage-command.js';
import { addDemoCommand } from './demo-command.js';
import { addDiffCommand } from './diff-command.js';
import { addDropCommand } from './drop-command.js';
import { EXIT, EXIT_HELP, type ExitCode, exitCodeOf } from './exit-codes.js';
import { addExplainCommand } from './explain-command.js';
import { addExportCommand } from './export-command.js';
import { addExtractCommand } from './extract-command.js';
import { addImportCommand } from './import-command.js';
import { addListCommand } from './list-command.js';
import { cannotWrite, printDiagnostics, ReaderGone } from './output.js';
import { addPruneCommand } from './prune-command.js';
import { addPsCommand } from './ps-command.js';
import { addReportCommand } from './report-command.js';
import { addRestoreCommand } from './restore-command.js';
import { addRunCommand } from './run-command.js';
import { addShadowCommand } from './shadow-command.js';
import { addShowCommand } from './show-command.js';
import { addStatusCommand } from './status-command.js';
import { addResumeCommand, addSuspendCommand } from './suspend-command.js';
import { addVerifyCommand } from './verify-command.js';

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
  const finish = async (command: (signal: AbortSignal) => Promise<ExitCode>): Promise<void> => {
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
  addBuildCommand(program, finish);
  addExplainCommand(program, finish);
  addCoverageCommand(program, finish);
  addShadowCommand(program, finish);
  addListCommand(program, finish);
  addShowCommand(program, finish);
  addDiffCommand(program, finish);
  addVerifyCommand(program, finish);
  addExtractCommand(program, finish);
  addPruneCommand(program, finish);
  addExportCommand(program, finish);
  addImportCommand(program, finish);
  addReportCommand(program, finish);
  addRunCommand(program, finish);
  addPsCommand(program, finish);
  addStatusCommand(program, finish);
  addCheckpointCommand(program, finish);
  addRestoreCommand(program, finish);
  addSuspendCommand(program, finish);
  addResumeCommand(program, finish);
  addDropCommand(program, finish);
  addDemoCommand(program, finish);
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
