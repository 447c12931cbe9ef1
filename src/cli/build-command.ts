/** `gcr-templates build`: templates of every kernel in the inputs, into one file. */
import type { Command } from 'commander';
import { type BuildSummary, buildTemplatesTo } from '../pipeline/index.js';
import { VERDICTS, type Verdict } from '../templates/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { buildOptions, jobsOption, jsonOption, kernelOption, type SharedOptions } from './options.js';
import { OutputFile, Progress, printDiagnostics, shorten, table } from './output.js';

interface Options extends SharedOptions {
  readonly output: string;
}

/** Kernels listed by name in the summary; more are counted by source. */
const LISTED = 40;
/** Sources listed; more are only counted. */
const LISTED_SOURCES = 80;

const MEANING: Readonly<Record<Verdict, string>> = {
  exact: 'every address follows from launch parameters and thread coordinates',
  bounded: 'a superset follows; some guard, trip count or offset depends on data',
  allocation: 'the written allocation is known, the place in it depends on data',
  unknown: 'anything may have been written',
};

/** Kernels by source and verdict, as rows with a head. */
function bySource(summary: BuildSummary): string[][] {
  const counts = new Map<string, Record<Verdict, number>>();
  const count = (source: string, verdict: Verdict): void => {
    const own = counts.get(source) ?? { exact: 0, bounded: 0, allocation: 0, unknown: 0 };
    own[verdict]++;
    counts.set(source, own);
  };
  for (const kernel of summary.list) count(kernel.source, kernel.verdict);
  for (const kernel of summary.missing) count(kernel.source, 'unknown');
  const cell = (value: number) => (value === 0 ? '-' : String(value));
  const rows = [...counts].map(([source, own]) => [
    '',
    String(VERDICTS.reduce((sum, verdict) => sum + own[verdict], 0)),
    ...VERDICTS.map((verdict) => cell(own[verdict])),
    source,
  ]);
  return [['', 'kernels', ...VERDICTS, 'source'], ...rows];
}

/** The summary a person sees. */
export function summaryText(summary: BuildSummary): string {
  const lines: string[] = [];
  const total = summary.kernels + summary.missing.length;
  if (total <= LISTED && total > 0) {
    const rows = summary.list.map((kernel) => [
      `  ${shorten(kernel.name)}`,
      kernel.verdict,
      `${kernel.writes} write site${kernel.writes === 1 ? '' : 's'}`,
      kernel.source,
    ]);
    const without = summary.missing.map((kernel) => [
      `  ${shorten(kernel.name)}`,
      'unknown',
      kernel.code === 'GCR1007' ? 'no PTX' : kernel.code,
      kernel.source,
    ]);
    lines.push(table([['  kernel', 'verdict', 'writes', 'source'], ...rows, ...without]), '');
  }
  const sources = bySource(summary);
  if (total > LISTED && sources.length <= LISTED_SOURCES) lines.push(table(sources), '');
  lines.push(
    `${summary.kernels} of ${total} kernel${total === 1 ? '' : 's'} in ${summary.modules} module${summary.modules === 1 ? '' : 's'}` +
      ` have a template (${summary.writes} write sites, ${summary.reads} read sites)`,
  );
  const rows = VERDICTS.filter((verdict) => summary.verdicts[verdict] > 0).map((verdict) => [
    `  ${verdict}`,
    String(summary.verdicts[verdict]),
    `${((100 * summary.verdicts[verdict]) / total).toFixed(1)} %`,
    MEANING[verdict],
  ]);
  if (rows.length > 0) lines.push(table(rows));
  return lines.join('\n');
}

async function build(inputs: readonly string[], options: Options, signal: AbortSignal): Promise<ExitCode> {
  const output = new OutputFile(options.output);
  const progress = new Progress('building templates');
  try {
    const { summary, diagnostics } = await buildTemplatesTo(
      inputs,
      (piece) => output.write(piece),
      buildOptions(options, signal, (done, total) => progress.update(done, total)),
    );
    progress.clear();
    const failed = diagnostics.some((diagnostic) => diagnostic.severity === 'error');
    // Bad input alone leaves an output of before as it was.
    const nothing = failed && summary.kernels + summary.missing.length === 0;
    if (!nothing) output.commit();
    printDiagnostics(diagnostics);
    const report = options.output === '-' ? process.stderr : process.stdout;
    if (options.json) {
      const written = nothing ? null : options.output;
      report.write(`${JSON.stringify({ output: written, ...summary, diagnostics })}\n`);
    } else if (nothing) report.write('no kernel could be built; nothing was written\n');
    else {
      report.write(`${summaryText(summary)}\n`);
      if (options.output !== '-') report.write(`written to ${options.output}\n`);
    }
    if (failed) return EXIT.badInput;
    return summary.verdicts.unknown > 0 ? EXIT.unknown : EXIT.ok;
  } finally {
    progress.clear();
    output.discard();
  }
}

export function addBuildCommand(
  program: Command,
  finish: (run: (signal: AbortSignal) => Promise<ExitCode>) => Promise<void>,
): void {
  program
    .command('build')
    .description('build dirty templates: what each kernel may write, as a function of its launch')
    .argument(
      '<input...>',
      'PTX files, globs, folders, executables, libraries, cubins, trace or cache folders; - for standard input',
    )
    .option('-o, --output <file>', 'template file; - for standard output', 'templates.json')
    .addOption(jobsOption())
    .addOption(kernelOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  gcr-templates build kernels.ptx
  gcr-templates build 'cache/**/*.ptx' libmine.so -o all.json --jobs 8
  cuobjdump -ptx app | gcr-templates build - --kernel saxpy --json`,
    )
    .action((inputs: string[], options: Options) => finish((signal) => build(inputs, options, signal)));
}
