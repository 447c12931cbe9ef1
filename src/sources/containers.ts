/**
 * Images that hold device code: host ELF files (executables, libraries, objects), cubins, bare fatbins, and archives of
 * them. Everything found is handed on; what is damaged becomes a diagnostic and the rest is still read.
 */
import { createHash } from 'node:crypto';
import type { Diagnostic } from '../diagnostics/index.js';
import { withoutPadding } from './bytes.js';
import { cubinKernels, cubinTargets, elfSections, isCubin, isElf } from './elf.js';
import { FATBIN_MAGIC, type FatbinBudget, type FatbinLimits, FatbinReader, newBudget } from './fatbin.js';

/** A PTX text in a container. */
export interface ContainerPtx {
  /** `fatbin[2].entry[0].ptx(sm_80)`, with the archive member in front. */
  readonly label: string;
  /** latin1, without NULs at the end. */
  readonly text: string;
  readonly architecture: string;
}

/** A machine-code image in a container. */
export interface ContainerCubin {
  readonly label: string;
  /** With its suffix: `sm_90a`. */
  readonly architecture: string;
  /** What its text was for, without a suffix; absent where it is not known. */
  readonly compiledFor?: string;
  /** Of its plain bytes. */
  readonly sha256: string;
  readonly kernels: readonly string[];
}

export interface ContainerContent {
  readonly ptx: readonly ContainerPtx[];
  readonly cubins: readonly ContainerCubin[];
}

const ARCHIVE_MAGIC = '!<arch>\n';
const ARCHIVE_HEADER = 60;
/** Sections of host files that hold fatbins: linked, and relocatable (`-rdc=true`). */
const FATBIN_SECTIONS: ReadonlySet<string> = new Set(['.nv_fatbin', '__nv_relfatbin']);

/** An entry is as long as a string can be: just under 2^29 characters. */
const DEFAULT_LIMITS: FatbinLimits = { maxEntryBytes: 2 ** 29 - 25, maxTotalBytes: 4 * 1024 ** 3 };
/** Archives in archives. */
const MAX_NESTING = 4;

/** Whether bytes (the first 64 suffice) start like an image this version reads. */
export function isContainer(bytes: Buffer): boolean {
  if (bytes.length < 16) return false;
  return isElf(bytes) || bytes.readUInt32LE(0) === FATBIN_MAGIC || bytes.toString('latin1', 0, 8) === ARCHIVE_MAGIC;
}

class ContainerReader {
  readonly ptx: ContainerPtx[] = [];
  readonly cubins: ContainerCubin[] = [];
  readonly diagnostics: Diagnostic[] = [];
  readonly #budget: FatbinBudget;

  constructor(
    readonly name: string,
    limits: FatbinLimits,
  ) {
    this.#budget = newBudget(limits);
  }

  image(bytes: Buffer, prefix: string, nesting = 0): void {
    if (isCubin(bytes)) this.#cubin(bytes, `${prefix}cubin`, undefined);
    else if (isElf(bytes)) this.#hostFile(bytes, prefix);
    else if (bytes.length >= 4 && bytes.readUInt32LE(0) === FATBIN_MAGIC) this.#fatbins(bytes, 'file', prefix, true);
    else if (bytes.toString('latin1', 0, 8) === ARCHIVE_MAGIC) {
      if (nesting < MAX_NESTING) this.#archive(bytes, prefix, nesting);
      else this.#damaged(`${prefix}archives are nested more than ${MAX_NESTING} deep`);
    }
  }

  #damaged(message: string): void {
    const hint = 'the rest of the file is still read';
    this.diagnostics.push({ code: 'GCR1005', severity: 'error', message, source: this.name, hint });
  }

  #hostFile(bytes: Buffer, prefix: string): void {
    const { sections, damaged } = elfSections(bytes);
    if (damaged) this.#damaged(`${prefix}the section table does not fit the file`);
    const found = sections.filter(({ name, size }) => size > 0 && FATBIN_SECTIONS.has(name));
    // Sections of a real file do not overlap; ones that do would make the work quadratic.
    let end = 0;
    let fatbins = 0;
    for (const { name, offset, size } of [...found].sort((a, b) => a.offset - b.offset)) {
      if (offset < end) this.#damaged(`${prefix}section ${name} overlaps another`);
      else fatbins += this.#fatbins(bytes.subarray(offset, offset + size), name, prefix, true, fatbins);
      end = Math.max(end, offset + size);
    }
    // Without a section table fatbins are found by their magic.
    if (sections.length === 0) this.#fatbins(bytes, 'file', prefix, false);
  }

  /** Reads fatbins, numbered from `first`; how many there were. */
  #fatbins(bytes: Buffer, where: string, prefix: string, only: boolean, first = 0): number {
    const reader = new FatbinReader(this.name, this.#budget, first);
    reader.read(bytes, `${prefix}${where}`, only);
    for (const diagnostic of reader.diagnostics) this.diagnostics.push(diagnostic);
    for (const entry of reader.entries) {
      const label = `${prefix}fatbin[${entry.fatbin}].entry[${entry.index}]`;
      if (entry.kind === 'elf')
        this.#cubin(entry.bytes, `${label}.cubin(${entry.architecture})`, entry.architecture + entry.suffix);
      else {
        const text = withoutPadding(entry.bytes).toString('latin1');
        this.ptx.push({ label: `${label}.ptx(${entry.architecture})`, text, architecture: entry.architecture });
      }
    }
    return reader.fatbins - first;
  }

  #cubin(bytes: Buffer, label: string, architecture: string | undefined): void {
    if (!isCubin(bytes)) {
      this.#damaged(`${label} is no cubin`);
      return;
    }
    const { kernels, damaged } = cubinKernels(bytes);
    if (damaged) this.#damaged(`the section table of ${label} does not fit it`);
    const targets = cubinTargets(bytes);
    this.cubins.push({
      label,
      ...targets,
      // The container knows what it is for; a suffix that only one of the two tells counts.
      ...(architecture && !targets.architecture.startsWith(architecture) && { architecture }),
      sha256: createHash('sha256').update(bytes).digest('hex'),
      kernels,
    });
  }

  /** Members of an `ar` archive; their names only label what is found. */
  #archive(bytes: Buffer, prefix: string, nesting: number): void {
    let at = ARCHIVE_MAGIC.length;
    let longNames = bytes.subarray(0, 0);
    for (let index = 0; at + ARCHIVE_HEADER <= bytes.length; index++) {
      const size = Number.parseInt(bytes.toString('latin1', at + 48, at + 58), 10);
      const start = at + ARCHIVE_HEADER;
      if (!Number.isSafeInteger(size) || size < 0 || start + size > bytes.length) {
        this.#damaged(`${prefix}archive member ${index} does not fit the file`);
        return;
      }
      const field = bytes.toString('latin1', at, at + 16).trim();
      // Members start at even offsets, and ELF fields are read by offset, so no alignment is needed.
      let member = bytes.subarray(start, start + size);
      if (field === '//') longNames = member;
      let name = field.replace(/\/$/, '');
      const [, style, number] = /^(\/|#1\/)(\d+)$/.exec(field) ?? [];
      if (style === '/') {
        // GNU: an offset into the name table, whose names end in a slash.
        name = /^[^/\n]*/.exec(longNames.toString('latin1', Number(number), Number(number) + 256))![0];
      } else if (style === '#1/') {
        // BSD: the name's length; the name is in front of the content.
        name = withoutPadding(member.subarray(0, Math.min(Number(number), 256))).toString('latin1');
        member = member.subarray(Number(number));
      }
      if (isContainer(member)) this.image(member, `${prefix}${name || index}: `, nesting + 1);
      at = start + size + (size % 2);
    }
    if (at < bytes.length) this.#damaged(`${prefix}the archive ends in ${bytes.length - at} bytes that are no member`);
  }
}

/**
 * Reads an image. Never throws for what it contains.
 *
 * @param name display name for messages
 * @param limits bounds on decompressed bytes, per entry and in all
 */
export function readContainer(
  name: string,
  bytes: Buffer,
  limits: Partial<FatbinLimits> = {},
): { readonly product: ContainerContent; readonly diagnostics: readonly Diagnostic[] } {
  const reader = new ContainerReader(name, { ...DEFAULT_LIMITS, ...limits });
  reader.image(bytes, '');
  return { product: { ptx: reader.ptx, cubins: reader.cubins }, diagnostics: reader.diagnostics };
}
