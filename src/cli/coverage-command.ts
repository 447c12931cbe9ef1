/** `gcr-templates coverage`: how much of the write set is known, by kernel, kind of site and verdict, and why not more. */
import type { Command } from 'commander';
import { countsAsWrite, type TemplateFile, VERDICTS, type Verdict } from '../templates/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { loadTemplates } from './load.js';
import { jobsOption, jsonOption, kernelOption, type SharedOptions } from './options.js';
import { printDiagnostics, shorten, table } from './output.js';

type Counts = Record<Verdict, number>;

const none = (): Counts => ({ exact: 0, bounded: 0, allocation: 0, unknown: 0 });

interface Coverage {
  readonly kernels: readonly {
    readonly name: string;
    readonly source: string;
    readonly verdict: Verdict;
    readonly sites: Counts;
  }[];
  readonly byKernel: Counts;
  readonly bySite: Counts;
  readonly byKind: Readonly<Record<string, Counts>>;
  readonly byReason: Readonly<Record<string, number>>;
}

/** Counts what a set of templates knows. */
export function measureCoverage(file: TemplateFile): Coverage {
  const byKernel = none();
  const bySite = none();
  const byKind: Record<string, Counts> = {};
  const byReason: Record<string, number> = {};
  const kernels: Coverage['kernels'][number][] = [];
  for (const kernel of file.kernels) {
    const sites = none();
    for (const site of kernel.writes.filter(countsAsWrite)) {
      sites[site.verdict]++;
      bySite[site.verdict]++;
      byKind[site.kind] ??= none();
      byKind[site.kind]![site.verdict]++;
      for (const code of new Set(site.reasons.map((reason) => reason.code))) byReason[code] = (byReason[code] ?? 0) + 1;
    }
    byKernel[kernel.verdict]++;
    kernels.push({
      name: kernel.name,
      source: file.modules[kernel.module]?.source ?? '?',
      verdict: kernel.verdict,
      sites,
    });
  }
  for (const kernel of file.missing) {
    byKernel.unknown++;
    byReason[kernel.code] = (byReason[kernel.code] ?? 0) + 1;
    kernels.push({ name: kernel.name, source: kernel.source, verdict: 'unknown', sites: none() });
  }
  return { kernels, byKernel, bySite, byKind, byReason };
}

function row(label: string, counts: Counts): string[] {
  const total = VERDICTS.reduce((sum, verdict) => sum + counts[verdict], 0);
  return [label, String(total), ...VERDICTS.map((verdict) => (counts[verdict] === 0 ? '-' : String(counts[verdict])))];
}

function coverageText(coverage: Coverage): string {
  const head = ['', 'all', ...VERDICTS];
  const parts = [
    table([
      ['kernel', 'verdict', 'write sites', ...VERDICTS, 'source'],
      ...coverage.kernels.map((kernel) => {
        const [, total, ...counts] = row('', kernel.sites);
        return [shorten(kernel.name), kernel.verdict, total!, ...counts, kernel.source];
      }),
    ]),
    table([
      head,
      row('kernels', coverage.byKernel),
      row('write sites', coverage.bySite),
      ...Object.keys(coverage.byKind)
        .sort()
        .map((kind) => row(`  ${kind}`, coverage.byKind[kind]!)),
    ]),
  ];
  const reasons = Object.entries(coverage.byReason).sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  if (reasons.length > 0)
    parts.push(table([['reason', 'sites'], ...reasons.map(([code, count]) => [code, String(count)])]));
  return parts.join('\n\n');
}

async function coverage(inputs: readonly string[], options: SharedOptions, signal: AbortSignal): Promise<ExitCode> {
  const { file, diagnostics } = await loadTemplates(inputs, options, signal);
  const measured = measureCoverage(file);
  process.stdout.write(options.json ? `${JSON.stringify(measured)}\n` : `${coverageText(measured)}\n`);
  printDiagnostics(diagnostics);
  if (diagnostics.some((diagnostic) => diagnostic.severity === 'error')) return EXIT.badInput;
  return measured.byKernel.unknown > 0 ? EXIT.unknown : EXIT.ok;
}

export function addCoverageCommand(
  program: Command,
  finish: (run: (signal: AbortSignal) => Promise<ExitCode>) => Promise<void>,
): void {
  program
    .command('coverage')
    .description('count kernels and write sites by verdict, and the reasons')
    .argument('<input...>', 'a template file, or anything that build takes')
    .addOption(jobsOption())
    .addOption(kernelOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExamples:\n  gcr-templates coverage libmine.so\n  gcr-templates coverage templates.json --json',
    )
    .action((inputs: string[], options: SharedOptions) => finish((signal) => coverage(inputs, options, signal)));
}
