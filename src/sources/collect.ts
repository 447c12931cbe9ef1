/**
 * Finds PTX text in whatever the user has: files, globs, folders, standard input, images. The order is that of the inputs,
 * folders sorted by path; kinds are told by content. Nothing here throws for bad input: it becomes a diagnostic, and
 * everything else is still found.
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, realpathSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import type { Diagnostic, DiagnosticCode } from '../diagnostics/index.js';
import { isContainer, readContainer } from './containers.js';
import { isKernelFolder, isRunFolder, kernelOfFolder, kernelsOfRun, type NeutrinoKernel } from './neutrino.js';
import { entryNames, splitVersions, targetArchitecture } from './split.js';
import type { CollectOptions, MachineCodeKernel, PtxSource, SourceOrigin, SourceSet } from './types.js';

/** V8 holds strings of just under 2^29 characters. */
const MAX_TEXT = 2 ** 29 - 25;
const MAX_CONTAINER = 2 ** 31 - 1;
/** Bytes looked at to tell a file's kind. */
const HEAD = 4096;
const MAX_DEPTH = 64;
/** Modules of one text. */
const MAX_BLOCKS = 10_000;

class Collector {
  readonly sources: PtxSource[] = [];
  readonly machineCode: MachineCodeKernel[] = [];
  readonly diagnostics: Diagnostic[] = [];
  readonly #visited = new Set<string>();

  constructor(readonly options: CollectOptions) {}

  report(
    code: DiagnosticCode,
    source: string,
    message: string,
    hint?: string,
    severity: Diagnostic['severity'] = 'error',
  ): void {
    this.diagnostics.push({ code, severity, message, source, ...(hint && { hint }) });
  }

  async input(input: string): Promise<void> {
    if (input === '-') {
      const bytes = this.options.stdin ? await this.options.stdin() : await readStandardInput();
      this.bytes('<stdin>', bytes, { kind: 'stdin' });
      return;
    }
    if (!existsSync(input)) {
      const matches = isDynamicPattern(input)
        ? await glob(input, { absolute: false, dot: true, onlyFiles: true, expandDirectories: false })
        : [];
      if (matches.length === 0) {
        const hint = isDynamicPattern(input)
          ? 'no file matches this pattern'
          : 'check the path; quote patterns so that the shell leaves them alone';
        this.report('GCR1001', input, 'input not found', hint);
      }
      for (const match of matches.sort()) this.path(match, true);
      return;
    }
    this.path(input, true);
  }

  /** A path that exists. `named`: the user gave it, so finding nothing in it is an error. */
  path(path: string, named: boolean): void {
    try {
      const stat = statSync(path);
      if (stat.isDirectory()) {
        const before = this.sources.length + this.machineCode.length + this.diagnostics.length;
        // Given twice, or inside a folder given before.
        const known = this.#visited.has(realpathSync(path));
        this.folder(path, 0);
        if (named && !known && this.sources.length + this.machineCode.length + this.diagnostics.length === before) {
          this.report(
            'GCR1004',
            path,
            'no PTX and no image with device code in this folder',
            'in a folder, texts are found by the ending .ptx, images by their content',
          );
        }
      } else if (stat.isFile()) this.file(path, stat.size, named);
      else if (named) this.report('GCR1003', path, 'neither a file nor a folder', 'pipe its content in and give -');
    } catch (error) {
      this.report('GCR1002', path, (error as Error).message.replace(/,.*$/, ''));
    }
  }

  folder(path: string, depth: number): void {
    const real = realpathSync(path);
    // Symbolic links can form cycles.
    if (this.#visited.has(real)) return;
    this.#visited.add(real);
    if (depth > MAX_DEPTH) {
      this.report('GCR1009', path, `folders are nested more than ${MAX_DEPTH} deep`, undefined, 'warning');
      return;
    }
    if (isRunFolder(path)) {
      for (const kernel of kernelsOfRun(path)) this.neutrino(kernel);
      return;
    }
    if (isKernelFolder(path)) {
      this.neutrino(kernelOfFolder(path));
      return;
    }
    for (const name of readdirSync(path).sort()) {
      const child = join(path, name);
      // What vanishes or cannot be read below a folder does not stop the rest.
      try {
        const stat = statSync(child);
        if (stat.isDirectory()) this.folder(child, depth + 1);
        else if (stat.isFile()) this.file(child, stat.size, false);
      } catch (error) {
        this.report('GCR1002', child, (error as Error).message.replace(/,.*$/, ''), undefined, 'warning');
      }
    }
  }

  file(path: string, size: number, named: boolean): void {
    const head = readHead(path);
    const container = isContainer(head);
    if (!named && !container && !path.endsWith('.ptx')) return;
    const stem = path.replace(/\.[^./]*$/, '');
    // A Triton cache keeps the machine code beside the text; the text stands for both.
    if (!named && path.endsWith('.cubin') && existsSync(`${stem}.ptx`)) return;
    const limit = container ? MAX_CONTAINER : MAX_TEXT;
    if (size > limit) {
      this.report('GCR1009', path, `${size} bytes are more than this version reads (${limit})`, 'split it');
      return;
    }
    const image = path.endsWith('.ptx') && existsSync(`${stem}.cubin`) ? `${stem}.cubin` : undefined;
    const origin: SourceOrigin = image
      ? { kind: 'triton', path, image: createHash('sha256').update(readFileSync(image)).digest('hex') }
      : { kind: 'file', path };
    this.bytes(path, readFileSync(path), origin, undefined, named);
  }

  /** A traced kernel, from the first of its files that has it. It ran, so it is listed even when none has. */
  neutrino({ folder, files, name }: NeutrinoKernel): void {
    const sources = this.sources.length;
    const machineCode = this.machineCode.length;
    for (const file of files) {
      this.neutrinoFile(folder, file, name);
      // Texts without the kernel are not taken, so any text is enough.
      if (this.sources.length > sources) return;
    }
    if (this.machineCode.length > machineCode) return;
    const [what, hint] =
      files.length > 0 && name !== undefined
        ? [`no file of this trace folder has kernel ${name}`, 'give the program or library itself as a further input']
        : ['trace folder holds no image and no PTX', 'instrumented files (probed.*) are never used; trace again'];
    this.report('GCR1008', folder, what, hint, 'warning');
    if (name !== undefined)
      this.machineCode.push({ name, source: folder, architecture: 'an unknown target', hasPtx: false });
  }

  neutrinoFile(folder: string, file: string, name: string | undefined): void {
    const path = join(folder, file);
    try {
      if (name === undefined) {
        this.report(
          'GCR1008',
          folder,
          'the kernel’s name is not known; all kernels of its image are taken',
          'the name is told by event.log, two folders up, or by kernel.info',
          'note',
        );
      }
      this.bytes(path, readFileSync(path), { kind: 'neutrino', folder, file }, name === undefined ? undefined : [name]);
    } catch (error) {
      this.report('GCR1002', path, (error as Error).message.replace(/,.*$/, ''));
    }
  }

  /** A file's content, of whatever kind. */
  bytes(name: string, bytes: Buffer, origin: SourceOrigin, kernels?: readonly string[], named = true): void {
    if (isContainer(bytes)) return this.container(name, bytes, origin, kernels, named);
    if (bytes.length > MAX_TEXT) {
      this.report('GCR1009', name, `${bytes.length} bytes are more than this version reads (${MAX_TEXT})`, 'split it');
      return;
    }
    const text = plainText(bytes);
    if (text.trim() === '') {
      this.report('GCR1004', name, 'input is empty', 'give PTX, an ELF file, a fatbin or a cubin');
      return;
    }
    if (looksBinary(text)) {
      this.report(
        'GCR1003',
        name,
        'neither PTX text nor an image this version knows',
        'give PTX, an ELF file, a fatbin or a cubin',
      );
      return;
    }
    this.text(name, text, origin, kernels);
  }

  text(name: string, text: string, origin: SourceOrigin, kernels?: readonly string[]): void {
    const found = splitVersions(text);
    if (found.length > MAX_BLOCKS) {
      const message = `text has ${found.length} .version blocks, more than ${MAX_BLOCKS}`;
      this.report('GCR1009', name, message, 'cut it into several files');
      return;
    }
    let blocks = found.map((block, index, all) => ({
      ...block,
      name: all.length > 1 ? `${name}[${index}]` : name,
    }));
    // First: the block for the device need not have the kernel.
    if (kernels) blocks = blocks.filter((block) => kernels.some((kernel) => entryNames(block.text).has(kernel)));
    const { deviceArchitecture } = this.options;
    if (deviceArchitecture !== undefined && blocks.length > 1) {
      const fitting = blocks.filter((block) => targetArchitecture(block.text) <= deviceArchitecture);
      const best = Math.max(...fitting.map((block) => targetArchitecture(block.text)));
      // Nothing fits: all of them, since the device may be another.
      if (fitting.length > 0) blocks = fitting.filter((block) => targetArchitecture(block.text) === best);
    }
    for (const block of blocks) {
      this.sources.push({
        name: block.name,
        text: block.text,
        lineOffset: block.lineOffset,
        origin,
        ...(kernels && { kernels }),
      });
    }
  }

  container(
    name: string,
    bytes: Buffer,
    origin: SourceOrigin,
    kernels: readonly string[] | undefined,
    named: boolean,
  ): void {
    const { product, diagnostics } = readContainer(name, bytes);
    for (const diagnostic of diagnostics) this.diagnostics.push(diagnostic);
    const path = 'path' in origin ? origin.path : name;
    const entries = new Set<string>();
    for (const { label, text, architecture } of product.ptx) {
      for (const entry of entryNames(text)) entries.add(entry);
      this.text(`${name}#${label}`, text, { kind: 'container', path, label, architecture }, kernels);
    }
    for (const cubin of product.cubins) {
      for (const kernel of cubin.kernels) {
        if (kernels && !kernels.includes(kernel)) continue;
        const source = `${name}#${cubin.label}`;
        const { architecture, compiledFor } = cubin;
        const hasPtx = entries.has(kernel);
        this.machineCode.push({ name: kernel, source, architecture, ...(compiledFor && { compiledFor }), hasPtx });
      }
    }
    if (named && product.ptx.length === 0 && product.cubins.length === 0 && diagnostics.length === 0) {
      this.report('GCR1004', name, 'this image holds no device code', 'give the library that holds the kernels');
    }
  }
}

function readHead(path: string): Buffer {
  const descriptor = openSync(path, 'r');
  try {
    const head = Buffer.alloc(HEAD);
    return head.subarray(0, readSync(descriptor, head, 0, HEAD, 0));
  } finally {
    closeSync(descriptor);
  }
}

async function readStandardInput(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** The text without a byte order mark and without NULs at the end. */
function plainText(bytes: Buffer): string {
  let from = 0;
  let to = bytes.length;
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) from = 3;
  while (to > from && bytes[to - 1] === 0) to--;
  return bytes.toString('latin1', from, to);
}

/** Whether the start of a text has characters that no source text has. */
function looksBinary(text: string): boolean {
  const head = text.slice(0, HEAD);
  const strange = head.match(/[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]/g)?.length ?? 0;
  return head.includes('\0') || strange > head.length / 20;
}

/** Finds the PTX of several inputs. Never throws for what an input is; see the header. */
export async function collectSources(
  inputs: readonly string[],
  options: CollectOptions = {},
): Promise<{ readonly product: SourceSet; readonly diagnostics: readonly Diagnostic[] }> {
  const collector = new Collector(options);
  for (const input of inputs) await collector.input(input);
  return finished(collector);
}

/** Finds the PTX of one image in memory: text, ELF, fatbin or cubin. */
export function sourcesFromBuffer(
  name: string,
  bytes: Buffer,
  options: CollectOptions = {},
): { readonly product: SourceSet; readonly diagnostics: readonly Diagnostic[] } {
  const collector = new Collector(options);
  collector.bytes(name, bytes, { kind: 'file', path: basename(name) });
  return finished(collector);
}

/** A kernel of machine code may have its text in another input. */
function finished({ sources, machineCode, diagnostics }: Collector) {
  const searched = machineCode.every((kernel) => kernel.hasPtx) ? [] : sources;
  const entries = new Set(searched.flatMap((source) => [...entryNames(source.text)]));
  return {
    product: {
      sources,
      machineCode: machineCode.map((kernel) =>
        kernel.hasPtx ? kernel : { ...kernel, hasPtx: entries.has(kernel.name) },
      ),
    },
    diagnostics,
  };
}
