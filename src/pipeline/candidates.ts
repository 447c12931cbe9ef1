/**
 * Which texts of an image may be what the code that runs was compiled from. The driver picks machine code or compiles a text by the
 * device, and the texts of one kernel may differ (`__CUDA_ARCH__`), so several may be left: the code comes from one of them.
 *
 * Soundness. Never is a text left out that may be the one, as far as these hold:
 * - machine code runs on devices of its major version, of its own minor version or above; with suffix `a` on its own device
 *   alone; machine code for the very device goes before other machine code (CUDA's binary compatibility);
 * - a text is compiled for devices of its version or above, with a suffix for its own or its family's;
 * - machine code was compiled from a text of the image if there is one for the same virtual architecture, which machine code names, and
 *   with the same suffix, which it does not name (nvcc: `arch=compute_90a,code=sm_90a`).
 * Where machine code may run that none of the texts stands for, the kernel has no template.
 */
import type { MachineCodeKernel } from '../sources/index.js';

/** A target of PTX or machine code. */
export interface Target {
  /** Ten times the compute capability: 90. */
  readonly number: number;
  readonly suffix: string;
}

/** Numbers of devices that were renamed. */
const RENAMED: ReadonlyMap<number, number> = new Map([[101, 110]]);
/** Not a device: nothing was built for it. */
const NO_TARGET: Target = { number: 0, suffix: '' };

const renamed = (number: number): number => RENAMED.get(number) ?? number;
const major = (number: number): number => Math.floor(renamed(number) / 10);

/** The target that a name such as `sm_90a` means, or the first of a `.target` directive's. */
export function targetOf(name: string): Target {
  const match = /\bsm_(\d+)([a-z]?)/.exec(name);
  return match ? { number: Number(match[1]), suffix: match[2]! } : NO_TARGET;
}

function codeRunsOn({ number, suffix }: Target, device: number): boolean {
  if (renamed(number) === renamed(device)) return true;
  return suffix !== 'a' && major(number) === major(device) && renamed(number) <= renamed(device);
}

function textRunsOn({ number, suffix }: Target, device: number): boolean {
  if (renamed(number) === renamed(device)) return true;
  if (suffix === 'a' || renamed(number) > renamed(device)) return false;
  return suffix !== 'f' || major(number) === major(device);
}

/** Machine code of one kernel. */
export interface Code {
  readonly target: Target;
  /** Number of its text's target; undefined where it does not tell. */
  readonly compiledFor: number | undefined;
}

export const codeOf = ({ architecture, compiledFor }: MachineCodeKernel): Code => ({
  target: targetOf(architecture),
  compiledFor: compiledFor === undefined ? undefined : targetOf(compiledFor).number,
});

/** What may run on some of the devices; all of it where no devices are known. */
function possibleCodes(codes: readonly Code[], devices: readonly number[]): readonly Code[] {
  if (devices.length === 0) return codes;
  const possible = new Set<Code>();
  for (const device of devices) {
    const fitting = codes.filter(({ target }) => codeRunsOn(target, device));
    const own = fitting.filter(({ target }) => renamed(target.number) === renamed(device));
    for (const code of own.length > 0 ? own : fitting) possible.add(code);
  }
  return [...possible];
}

/** Whether a text for `target` may be what the code was compiled from, or must be. */
function standsFor(target: Target, { target: own, compiledFor }: Code): 'must' | 'may' | undefined {
  if (compiledFor !== target.number) return undefined;
  if (target.suffix === own.suffix) return 'must';
  return own.suffix === '' ? undefined : 'may';
}

/**
 * Of the texts of one kernel, those that may be what runs.
 *
 * @param texts their targets
 * @param devices ten times their compute capabilities; any when empty
 * @returns indices of `texts`; a target of machine code that may run and that none stands for
 */
export function candidates(
  texts: readonly Target[],
  codes: readonly Code[],
  devices: readonly number[],
): { readonly texts: readonly number[] } | { readonly without: Target } {
  const chosen = new Set<number>();
  for (const code of possibleCodes(codes, devices)) {
    const roles = texts.map((target) => standsFor(target, code));
    if (!roles.includes('must')) return { without: code.target };
    for (const [index, role] of roles.entries()) if (role) chosen.add(index);
  }
  // The driver may be told to compile although there is machine code.
  for (const [index, target] of texts.entries())
    if (devices.length === 0 || devices.some((device) => textRunsOn(target, device))) chosen.add(index);
  // Nothing fits: what devices there are is not what we know of them.
  return { texts: chosen.size > 0 ? [...chosen].sort((a, b) => a - b) : [...texts.keys()] };
}
