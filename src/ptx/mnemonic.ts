/**
 * Interned mnemonics: one object per distinct spelling for the life of the process, so that the instruction table and
 * later stages can cache what they derive from a spelling under the object. A few thousand spellings exist in practice;
 * a text made to hold more only costs its own memory up to the cap, beyond which spellings are not kept.
 */
import type { Mnemonic } from './ast.js';

const interned = new Map<string, Mnemonic>();
const MAX_INTERNED = 1 << 16;
const MAX_INTERNED_LENGTH = 256;

/**
 * The mnemonic of a spelling without white space, for example `st.global.v2.u32`.
 *
 * @returns the same object for the same spelling, but for spellings of more than 256 characters and those beyond the first
 *   65,536.
 */
export function internMnemonic(spelling: string): Mnemonic {
  const known = interned.get(spelling);
  if (known !== undefined) return known;
  // A fresh copy: a substring would keep the whole text that it was cut from alive.
  const text = Buffer.from(spelling, 'utf8').toString('utf8');
  const [opcode, ...modifiers] = text.split('.');
  const mnemonic: Mnemonic = { text, opcode: opcode!, modifiers };
  if (interned.size < MAX_INTERNED && text.length <= MAX_INTERNED_LENGTH) interned.set(text, mnemonic);
  return mnemonic;
}
