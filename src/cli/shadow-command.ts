/**
 * `gcr-templates shadow`: runs a launch trace against templates and prints what each launch may have written. The trace is
 * read and the output written piece by piece, so neither has to fit in memory; an interruption ends after a whole line.
 */
import { createReadStream, statSync } from 'node:fs';
import { addAbortSignal, type Readable } from 'node:stream';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Diagnostic, InputError } from '../diagnostics/index.js';
import {
  errorAt,
  readTrace,
  reportLaunch,
  ShadowExecutor,
  type TraceLine,
  type UnknownPolicy,
  VerdictStatistics,
} from '../shadow/index.js';
import { VERDICTS } from '../templates/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { loadTemplates } from './load.js';
import { jobsOption, jsonOption, type SharedOptions } from './options.js';
import { Progress, printDiagnostics, shorten, table } from './output.js';

interface Options extends SharedOptions {
  readonly templates: readonly string[];
  readonly trace: string;
  readonly chunk?: number;
  readonly provenance: boolean;
  readonly unknown: UnknownPolicy;
}

const READ_BYTES = 1 << 20;
const WRITE_CHARACTERS = 1 << 16;
const MAX_CHUNK = 2 ** 40;
/** Allocations listed in the summary. */
const SHOWN = 10;
const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };
const HEURISTIC = 'unknown launches count only allocations that their parameters point into: bytes may be missed';

function parseChunk(text: string): number {
  const [, digits, unit] = /^(\d{1,15})([KMG]?)$/i.exec(text) ?? [];
  const bytes = Number(digits) * (UNITS[unit?.toUpperCase() ?? ''] ?? Number.NaN);
  if (!(bytes >= 1 && bytes <= MAX_CHUNK))
    throw new InvalidArgumentError('give a size in bytes, like 4096, 64K or 2M.');
  return bytes;
}

/** Standard output, in large pieces of whole lines; waits when the reader is slow. */
class Lines {
  #text = '';

  constructor(readonly signal: AbortSignal) {}

  async write(line: string): Promise<void> {
    this.#text += `${line}\n`;
    if (this.#text.length >= WRITE_CHARACTERS) await this.flush();
  }

  async flush(): Promise<void> {
    const text = this.#text;
    this.#text = '';
    if (text === '' || process.stdout.write(text) || this.signal.aborted) return;
    await new Promise<void>((resolve) => {
      process.stdout.once('drain', resolve);
      this.signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }
}

function openTrace(path: string, signal: AbortSignal): { stream: Readable; total: number | undefined } {
  if (path === '-') return { stream: addAbortSignal(signal, process.stdin), total: undefined };
  const stat = statSync(path, { throwIfNoEntry: false });
  const stream = createReadStream(path, { highWaterMark: READ_BYTES, signal });
  return { stream, total: stat?.isFile() ? stat.size : undefined };
}

/** The events of a trace, with progress by bytes; ends quietly at an interruption. */
async function* events(
  path: string,
  signal: AbortSignal,
  progress: Progress,
): AsyncGenerator<TraceLine, void, undefined> {
  const source = path === '-' ? '<stdin>' : path;
  const { stream, total } = openTrace(path, signal);
  let done = 0;
  async function* pieces() {
    for await (const piece of stream) {
      yield piece as Buffer;
      done += (piece as Buffer).length;
      if (total !== undefined) progress.update(done, total);
    }
  }
  try {
    yield* readTrace(pieces(), source);
  } catch (error) {
    if (signal.aborted) return;
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof InputError || code === undefined) throw error;
    throw new InputError({ code: code === 'ENOENT' ? 'GCR1001' : 'GCR1002', severity: 'error', message, source });
  }
}

function summary(statistics: VerdictStatistics, warnings: number, options: Options) {
  const verdicts = VERDICTS.map((verdict) => {
    const { launches, bytes } = statistics.byVerdict.get(verdict)!;
    return [verdict, { launches, bytes: Number(bytes) }] as const;
  });
  return {
    launches: verdicts.reduce((sum, [, { launches }]) => sum + launches, 0),
    bytes: verdicts.reduce((sum, [, { bytes }]) => sum + bytes, 0),
    byVerdict: Object.fromEntries(verdicts),
    byReason: Object.fromEntries([...statistics.byReason].sort(([, a], [, b]) => b - a)),
    overApproximation: statistics.overApproximation(SHOWN).map(({ address, size, name, launches, bytes }) => ({
      address: `0x${address.toString(16)}`,
      size: Number(size),
      ...(name !== undefined && { name }),
      launches,
      bytes: Number(bytes),
    })),
    warnings,
    provenance: options.provenance,
    unknown: options.unknown,
  };
}

function summaryText(sums: ReturnType<typeof summary>): string {
  const percent = (part: number, whole: number) => (whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`);
  const parts = [
    table([
      ['verdict', 'launches', '', 'bytes', ''],
      ...Object.entries(sums.byVerdict).map(([verdict, { launches, bytes }]) => {
        return [verdict, String(launches), percent(launches, sums.launches), String(bytes), percent(bytes, sums.bytes)];
      }),
      ['all', String(sums.launches), '', String(sums.bytes)],
    ]),
  ];
  const reasons = Object.entries(sums.byReason);
  if (reasons.length > 0)
    parts.push(table([['reason', 'launches'], ...reasons.map(([code, count]) => [code, String(count)])]));
  if (sums.overApproximation.length > 0) {
    const rows = sums.overApproximation.map((entry) => {
      return [entry.address, String(entry.size), String(entry.launches), String(entry.bytes), entry.name ?? ''];
    });
    parts.push(table([['whole allocation', 'size', 'launches', 'bytes', 'variable'], ...rows]));
  }
  if (sums.warnings > 0) parts.push(`${sums.warnings} warning${sums.warnings === 1 ? '' : 's'}`);
  if (sums.unknown === 'args') parts.push(`note: ${HEURISTIC}`);
  return parts.join('\n\n');
}

/** A launch for people: columns of a fixed width, so that lines can be written as they come. */
function launchText(index: number, kernel: string, report: ReturnType<typeof reportLaunch>): string {
  const bytes = report.ranges.reduce((sum, [, size]) => sum + size, 0);
  const chunks = report.chunks?.reduce((sum, [, count]) => sum + count, 0);
  const columns = [
    String(index).padStart(6),
    shorten(kernel, 40).padEnd(40),
    report.verdict.padEnd(10),
    `${report.ranges.length} range${report.ranges.length === 1 ? '' : 's'}`.padEnd(14),
    `${bytes} byte${bytes === 1 ? '' : 's'}`.padEnd(20),
    chunks === undefined ? '' : `${chunks} chunk${chunks === 1 ? '' : 's'}`,
  ];
  return columns.join('  ').trimEnd();
}

async function shadow(options: Options, signal: AbortSignal): Promise<ExitCode> {
  const { file, diagnostics } = await loadTemplates(options.templates, options, signal);
  if (signal.aborted) return EXIT.interrupted;
  const warnings: Diagnostic[] = [...diagnostics];
  const executor = new ShadowExecutor(file, { ...options, onDiagnostic: (diagnostic) => warnings.push(diagnostic) });
  const statistics = new VerdictStatistics();
  const lines = new Lines(signal);
  // Lines and progress on one terminal would overwrite each other.
  const progress = new Progress('reading trace', !process.stdout.isTTY);
  const source = options.trace === '-' ? '<stdin>' : options.trace;
  let launches = 0;
  try {
    for await (const { line, event } of events(options.trace, signal, progress)) {
      if (signal.aborted) break;
      try {
        const set = executor.event(event);
        if (!set || event.event !== 'launch') continue;
        const { kernel } = event.launch;
        const report = reportLaunch(launches, kernel, set, options.chunk);
        statistics.add(set, executor.allocations);
        await lines.write(options.json ? JSON.stringify(report) : launchText(launches, kernel, report));
        launches++;
      } catch (error) {
        throw error instanceof InputError ? errorAt(error, source, line) : error;
      }
    }
  } finally {
    progress.clear();
    await lines.flush();
    printDiagnostics(warnings);
  }
  if (signal.aborted) {
    process.stderr.write(`interrupted after ${launches} launches; the lines written so far are whole\n`);
    return EXIT.interrupted;
  }
  const sums = summary(statistics, warnings.length, options);
  await lines.write(options.json ? JSON.stringify({ summary: sums }) : `\n${summaryText(sums)}`);
  await lines.flush();
  if (warnings.some(({ severity }) => severity === 'error')) return EXIT.badInput;
  return sums.byVerdict['unknown']!.launches > 0 ? EXIT.unknown : EXIT.ok;
}

export function addShadowCommand(
  program: Command,
  finish: (run: (signal: AbortSignal) => Promise<ExitCode>) => Promise<void>,
): void {
  program
    .command('shadow')
    .description('say which bytes each launch of a trace may have written')
    .addOption(
      new Option('-t, --templates <input>', 'a template file, or anything that build takes; may be given several times')
        .argParser((input: string, inputs: string[] | undefined) => [...(inputs ?? []), input])
        .makeOptionMandatory(),
    )
    .requiredOption('--trace <file>', 'the launch trace; - is standard input')
    .addOption(new Option('--chunk <size>', 'also the chunks of this size that are touched').argParser(parseChunk))
    .option('--no-provenance', 'do not rely on a pointer staying inside its allocation')
    .addOption(
      new Option(
        '--unknown <policy>',
        'what an unknown launch counts: all live allocations, or (a heuristic) its arguments',
      )
        .choices(['all', 'args'])
        .default('all'),
    )
    .addOption(jobsOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
The trace has one JSON object a line, see docs/formats/trace.md. With --json, one line a launch and a last line with sums.

Examples:
  gcr-templates shadow --templates templates.json --trace run.ndjson
  gcr-templates shadow --templates kernels.ptx --trace - --json --chunk 64K < run.ndjson`,
    )
    .action((options: Options, command: Command) => {
      if (options.trace === '-' && options.templates.includes('-'))
        command.error("error: option '--templates' and '--trace' cannot both read standard input");
      return finish((signal) => shadow(options, signal));
    });
}
