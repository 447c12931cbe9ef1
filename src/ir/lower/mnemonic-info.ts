/** What the lowering wants to know of a mnemonic's modifiers, worked out once per spelling. */
import type { Mnemonic } from '../../ptx/index.js';
import type { MemorySpace } from '../program.js';
import { type ScalarType, scalarType } from './types.js';

export interface MnemonicInfo {
  /** Type modifiers in order of the text: destination type first where there are two. */
  readonly types: readonly ScalarType[];
  readonly has: ReadonlySet<string>;
  /** 1, 2, 4 or 8. */
  readonly vector: number;
  /** State spaces in order of the text. */
  readonly spaces: readonly MemorySpace[];
}

const SPACE_NAMES: Readonly<Record<string, MemorySpace>> = {
  global: 'global',
  const: 'constant',
  local: 'local',
  shared: 'shared',
  'shared::cta': 'shared',
  'shared::cluster': 'shared',
  param: 'parameter',
  'param::entry': 'parameter',
  'param::func': 'parameter',
};

const cache = new WeakMap<Mnemonic, MnemonicInfo>();

export function mnemonicInfo(mnemonic: Mnemonic): MnemonicInfo {
  let info = cache.get(mnemonic);
  if (!info) {
    const vector = mnemonic.modifiers.find((modifier) => /^v[248]$/.test(modifier));
    info = {
      types: mnemonic.modifiers.map(scalarType).filter((type) => type !== undefined),
      has: new Set(mnemonic.modifiers),
      vector: vector ? Number(vector.slice(1)) : 1,
      spaces: mnemonic.modifiers.map((modifier) => SPACE_NAMES[modifier]).filter((space) => space !== undefined),
    };
    cache.set(mnemonic, info);
  }
  return info;
}
