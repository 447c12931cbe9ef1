/**
 * The little of ELF64 that finding device code needs: sections by name, and of a cubin its kernels, what it runs on and what it was
 * compiled from. Tables that do not fit the file are left out.
 */
import { cString, u16, u32, u64 } from './bytes.js';

/** `e_machine` of a cubin. */
const EM_CUDA = 190;
/** Sections looked at; a header that claims more is damaged. */
const MAX_SECTIONS = 1 << 17;
const SHT_SYMTAB = 2;
const SHT_NOBITS = 8;
const STT_FUNC = 2;
/** Bit of `st_other` that marks a kernel in a cubin. */
const ENTRY_FLAG = 0x10;

export interface ElfSection {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly type: number;
}

export function isElf(bytes: Buffer): boolean {
  return bytes.length >= 64 && bytes.readUInt32BE(0) === 0x7f454c46 && bytes[4] === 2 && bytes[5] === 1;
}

export function isCubin(bytes: Buffer): boolean {
  return isElf(bytes) && u16(bytes, 18) === EM_CUDA;
}

/** The sections that lie within the file. */
export function elfSections(bytes: Buffer): { readonly sections: readonly ElfSection[]; readonly damaged: boolean } {
  const table = u64(bytes, 40) ?? 0;
  const entrySize = u16(bytes, 58) ?? 0;
  let count = u16(bytes, 60) ?? 0;
  let names = u16(bytes, 62) ?? 0;
  if (table === 0) return { sections: [], damaged: false };
  // Large files keep the numbers in the first section header.
  if (count === 0) count = u64(bytes, table + 32) ?? 0;
  if (names === 0xffff) names = u32(bytes, table + 40) ?? 0;
  if (entrySize < 64 || count > MAX_SECTIONS || table + count * entrySize > bytes.length)
    return { sections: [], damaged: true };
  const header = (index: number) => table + index * entrySize;
  const nameTable = names < count ? (u64(bytes, header(names) + 24) ?? 0) : 0;
  const sections: ElfSection[] = [];
  let damaged = false;
  for (let index = 0; index < count; index++) {
    const at = header(index);
    const type = u32(bytes, at + 4) ?? 0;
    const offset = u64(bytes, at + 24);
    const size = u64(bytes, at + 32);
    const fits = offset !== undefined && size !== undefined && (type === SHT_NOBITS || offset + size <= bytes.length);
    if (!fits) damaged = true;
    sections.push({
      name: cString(bytes, nameTable + (u32(bytes, at) ?? 0)),
      offset: fits ? offset : 0,
      size: fits && type !== SHT_NOBITS ? size : 0,
      link: u32(bytes, at + 40) ?? 0,
      type,
    });
  }
  return { sections, damaged };
}

/** From this ABI version on (CUDA 13.0) the architecture is a byte further up, and notes tell what the flags told before. */
const NOTED_ABI = 8;
/** In flags of before: architecture with suffix `a`. */
const ACCELERATED = 0x800;
/** Section with the virtual architecture: in each note behind length of the name, of the content, type and name. */
const VIRTUAL_NOTES = '.note.nv.cuinfo';
const NOTE_NAME_BYTES = 12;
/** Section with the command lines of the tools that made the file. */
const TOOL_NOTES = '.note.nv.tkinfo';
/** Command lines are looked at up to this size. */
const MAX_TOOL_NOTES = 1 << 16;

/** What a cubin says of itself. */
export interface CubinTargets {
  /** What it runs on: `sm_90`, `sm_90a`; without a suffix where it does not tell. */
  readonly architecture: string;
  /** What its text was for: `sm_80` for compute_80. Suffixes are not kept. Absent where parts of it were for different ones. */
  readonly compiledFor?: string;
}

/** By its ELF flags and its notes; seen with CUDA 13.0, before that by what the flags were. */
export function cubinTargets(bytes: Buffer): CubinTargets {
  const flags = u32(bytes, 48) ?? 0;
  if ((bytes[8] ?? 0) < NOTED_ABI) {
    const suffix = flags & ACCELERATED ? 'a' : '';
    const number = flags & 0xff;
    return { architecture: `sm_${number}${suffix}`, compiledFor: `sm_${(flags >> 16) & 0xff || number}` };
  }
  const number = (flags >> 8) & 0xff;
  const { sections } = elfSections(bytes);
  const content = (name: string): Buffer => {
    const section = sections.find((one) => one.name === name);
    return section ? bytes.subarray(section.offset, section.offset + section.size) : bytes.subarray(0, 0);
  };
  const tools = content(TOOL_NOTES).subarray(0, MAX_TOOL_NOTES).toString('latin1');
  const suffix = new RegExp(`-arch sm_${number}([af])\\b`).exec(tools)?.[1] ?? '';
  const virtual = virtualNumbers(content(VIRTUAL_NOTES));
  // Without a note: of a tool that writes none, and that no one says compiles for another architecture than the text's.
  const compiledFor = virtual.size === 0 ? number : virtual.size === 1 ? [...virtual][0] : undefined;
  return {
    architecture: `sm_${number}${suffix}`,
    ...(compiledFor !== undefined && { compiledFor: `sm_${compiledFor}` }),
  };
}

function virtualNumbers(notes: Buffer): Set<number> {
  const numbers = new Set<number>();
  for (let at = 0; at + 12 + NOTE_NAME_BYTES + 4 <= notes.length; ) {
    const name = u32(notes, at)!;
    const size = u32(notes, at + 4)!;
    if (name !== NOTE_NAME_BYTES || size < 4) break;
    numbers.add(u16(notes, at + 12 + NOTE_NAME_BYTES + 2)!);
    at += 12 + NOTE_NAME_BYTES + size + ((4 - (size % 4)) % 4);
  }
  return numbers;
}

/** Names of a cubin's kernels, in order of its symbol table. `damaged`: there may be more. */
export function cubinKernels(bytes: Buffer): { readonly kernels: readonly string[]; readonly damaged: boolean } {
  const { sections, damaged } = elfSections(bytes);
  const names = new Set<string>();
  // Tables of a real file do not overlap; ones that do would make the work quadratic.
  let left = bytes.length;
  for (const table of sections) {
    const strings = table.type === SHT_SYMTAB ? sections[table.link] : undefined;
    if (!strings) continue;
    left -= table.size;
    if (left < 0) break;
    for (let at = table.offset; at + 24 <= table.offset + table.size; at += 24) {
      const kind = bytes[at + 4]! & 15;
      if (kind === STT_FUNC && bytes[at + 5]! & ENTRY_FLAG)
        names.add(cString(bytes, strings.offset + (u32(bytes, at) ?? 0)));
    }
  }
  // Every kernel has a bank for its parameters; a stripped cubin still shows it.
  for (const { name } of sections)
    if (name.startsWith('.nv.constant0.')) names.add(name.slice('.nv.constant0.'.length));
  names.delete('');
  // Device functions alone still have a symbol table.
  const empty = names.size === 0 && !sections.some(({ type }) => type === SHT_SYMTAB);
  return { kernels: [...names], damaged: damaged || empty };
}
