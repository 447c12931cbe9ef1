/**
 * Whether a function, with everything it can call, writes no global memory: asked only for calls that are not expanded.
 * The answer is taken from the instructions' forms and spaces alone, so a generic store counts as global.
 */
import { type FunctionDeclaration, resolveInstruction } from '../../ptx/index.js';
import { CONTROL_FORMS, WITHOUT_EFFECT } from './effects.js';
import { mnemonicInfo } from './mnemonic-info.js';
import type { ModuleSymbols } from './module-symbols.js';

/** Memory forms that only read, or that write only where the first space modifier says. */
const READ_ONLY: ReadonlySet<string> = new Set([
  'ld',
  'ld.global.nc',
  'ldu',
  'multimem.ld_reduce',
  'cp.async',
  'wmma.load.a',
  'wmma.load.b',
  'wmma.load.c',
  'tex',
  'tld4',
  'suld.b',
]);
const SPACED: ReadonlySet<string> = new Set(['st', 'atom', 'red', 'wmma.store.d']);
const HARMLESS_SPACES: ReadonlySet<string> = new Set(['shared', 'local', 'parameter']);

/** True only when nothing reachable from `node` can write global memory. Recursion is followed once. */
export function writesNothing(module: ModuleSymbols, node: FunctionDeclaration): boolean {
  const seen = new Set<FunctionDeclaration>();
  const work = [node];
  while (work.length > 0) {
    const current = work.pop()!;
    if (seen.has(current)) continue;
    seen.add(current);
    const info = module.info(current);
    if (!info || info.problems.length > 0) return false;
    for (const { node: instruction, scope } of info.instructions) {
      const form = resolveInstruction(instruction.mnemonic);
      if (!form) return false;
      if (form.name === 'call') {
        const callee = instruction.operands.find((operand) => operand.kind !== 'list');
        const symbol = callee?.kind === 'name' ? scope.lookUp(callee.name) : undefined;
        if (symbol?.kind !== 'function') return false;
        if (!symbol.node || symbol.node.entry) return false;
        work.push(symbol.node);
      } else if (SPACED.has(form.name)) {
        const space = mnemonicInfo(instruction.mnemonic).spaces[0];
        if (space === undefined || !HARMLESS_SPACES.has(space)) return false;
      } else if (!WITHOUT_EFFECT.has(form.name) && !READ_ONLY.has(form.name) && !CONTROL_FORMS.has(form.name)) {
        return false;
      }
    }
  }
  return true;
}
