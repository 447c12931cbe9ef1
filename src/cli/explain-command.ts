/** `gcr-templates explain`: what each kernel writes, in words and as formulas a person can check. */
import type { Command } from 'commander';
import { FormulaPrinter, type KernelTemplate, type Site } from '../templates/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { loadTemplates } from './load.js';
import { jobsOption, jsonOption, kernelOption, type SharedOptions } from './options.js';
import { printDiagnostics } from './output.js';

interface Options extends SharedOptions {
  readonly reads?: boolean;
}

const WORDS: Readonly<Record<Site['kind'], string>> = {
  store: 'writes',
  atomic: 'updates',
  reduction: 'updates',
  asyncStore: 'writes',
  asyncReduction: 'updates',
  bulkStore: 'fills',
  bulkCopy: 'copies into',
  bulkReduction: 'reduces into',
  tensorStore: 'copies a tile into',
  tensorReduction: 'reduces a tile into',
  matrixStore: 'writes a matrix fragment to',
  multicastStore: 'writes on several devices',
  multicastReduction: 'updates on several devices',
  surfaceStore: 'writes a surface,',
  surfaceReduction: 'updates a surface,',
  tensorMapUpdate: 'changes the tensor map at',
  discard: 'discards',
  runtimeMemory: 'writes memory of the device runtime,',
  childLaunch: 'launches another kernel,',
  call: 'calls what is not known,',
  unknownInstruction: 'does what is not known,',
  load: 'reads',
  atomicLoad: 'reads',
  asyncLoad: 'reads',
  bulkLoad: 'reads',
  tensorLoad: 'reads a tile of',
  matrixLoad: 'reads a matrix fragment of',
  multicastLoad: 'reads on several devices',
  surfaceLoad: 'reads a surface,',
  textureLoad: 'reads a texture,',
};

function size(site: Site): string {
  if (site.rows) return `${site.rows.count} rows of ${site.bytes} bytes`;
  if (site.bytes > 0) return `${site.bytes} byte${site.bytes === 1 ? '' : 's'}`;
  return site.length === undefined ? '' : 'a computed number of bytes';
}

interface SiteReport {
  readonly line: number;
  readonly instruction: string;
  readonly kind: Site['kind'];
  readonly verdict: Site['verdict'];
  readonly window?: Site['window'];
  readonly size: string;
  readonly place: string;
  readonly conditions: readonly string[];
  readonly loops: readonly string[];
  readonly where: readonly string[];
  readonly inlined?: readonly string[];
  readonly reasons: Site['reasons'];
}

function report(printer: FormulaPrinter, site: Site): SiteReport {
  const formula = printer.site(site);
  return {
    line: site.line,
    instruction: site.instruction,
    kind: site.kind,
    verdict: site.verdict,
    ...(site.window && { window: site.window }),
    size: size(site),
    ...formula,
    ...(site.inlined && { inlined: site.inlined }),
    reasons: site.reasons,
  };
}

/** One site in lines; names that were explained before (`told`) are not explained again. */
function siteText(site: SiteReport, told: Set<string>): string[] {
  const place =
    site.place === 'a place that is not described' ? site.place : `${site.size ? `${site.size} at ` : ''}${site.place}`;
  const lines = [`  line ${site.line}: ${site.instruction}  [${site.verdict}]`, `    ${WORDS[site.kind]} ${place}`];
  if (site.window) lines.push(`    counts for nothing: a generic address of ${site.window} memory`);
  if (site.conditions.length > 0) lines.push(`    if ${site.conditions.join(' and ')}`);
  for (const [word, texts] of [
    ['for', site.loops],
    ['where', site.where],
  ] as const) {
    for (const text of texts) {
      if (!told.has(text)) lines.push(`    ${word} ${text}`);
      told.add(text);
    }
  }
  if (site.inlined) lines.push(`    in ${site.inlined.join(' → ')}`);
  for (const reason of site.reasons) {
    lines.push(`    ${reason.code}: ${reason.message} (line ${reason.line}, ${reason.instruction})`);
  }
  return lines;
}

function kernelText(kernel: KernelTemplate, source: string, reads: boolean): string {
  const printer = new FormulaPrinter(kernel);
  const told = new Set<string>();
  const lines = [`${kernel.name}  [${kernel.verdict}]  ${source}:${kernel.line}`];
  if (kernel.writes.length === 0) lines.push('  writes no global memory');
  for (const site of kernel.writes) lines.push(...siteText(report(printer, site), told));
  if (reads) for (const site of kernel.reads) lines.push(...siteText(report(printer, site), told));
  return lines.join('\n');
}

async function explain(inputs: readonly string[], options: Options, signal: AbortSignal): Promise<ExitCode> {
  const { file, diagnostics } = await loadTemplates(inputs, options, signal);
  const source = (kernel: KernelTemplate) => file.modules[kernel.module]?.source ?? '?';
  if (options.json) {
    const kernels = file.kernels.map((kernel) => {
      const printer = new FormulaPrinter(kernel);
      return {
        name: kernel.name,
        source: source(kernel),
        line: kernel.line,
        verdict: kernel.verdict,
        writes: kernel.writes.map((site) => report(printer, site)),
        ...(options.reads && { reads: kernel.reads.map((site) => report(printer, site)) }),
      };
    });
    process.stdout.write(`${JSON.stringify({ kernels, missing: file.missing })}\n`);
  } else {
    for (const kernel of file.kernels)
      process.stdout.write(`${kernelText(kernel, source(kernel), options.reads ?? false)}\n\n`);
    for (const kernel of file.missing)
      process.stdout.write(
        `${kernel.name}  [unknown]  ${kernel.source}\n  no template: ${kernel.message} (${kernel.code})\n\n`,
      );
  }
  printDiagnostics(diagnostics);
  return diagnostics.some((diagnostic) => diagnostic.severity === 'error') ? EXIT.badInput : EXIT.ok;
}

export function addExplainCommand(
  program: Command,
  finish: (run: (signal: AbortSignal) => Promise<ExitCode>) => Promise<void>,
): void {
  program
    .command('explain')
    .description('say what each kernel writes, in words and as a formula')
    .argument('<input...>', 'a template file, or anything that build takes')
    .option('--reads', 'also what it reads')
    .addOption(jobsOption())
    .addOption(kernelOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
In formulas tid, ctaid, ntid, nctaid are the launch's coordinates and sizes (PTX ISA 10); offsets are in bytes.
Conversions between widths are left out.

Examples:
  gcr-templates explain kernels.ptx
  gcr-templates explain templates.json --kernel saxpy --json`,
    )
    .action((inputs: string[], options: Options) => finish((signal) => explain(inputs, options, signal)));
}
