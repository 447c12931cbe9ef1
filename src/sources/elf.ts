/**
 * The little of ELF64 that finding device code needs: sections by name, and the kernels of a cubin. Tables that do not fit
 * the file are left out.
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

/** `sm_90` of a cubin, by its ELF flags; ABI 8 moved the number up by a byte (seen with CUDA 13.0). */
export function cubinArchitecture(bytes: Buffer): string {
  const flags = u32(bytes, 48) ?? 0;
  const number = (bytes[8] ?? 0) >= 8 ? (flags >> 8) & 0xff : flags & 0xff;
  return `sm_${number}`;
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
