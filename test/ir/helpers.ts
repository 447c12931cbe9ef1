/** Kernels of a text as programs. */
import { type KernelProgram, type LoweringLimits, lowerKernel, ModuleSymbols } from '../../src/ir/index.js';
import { parse } from '../../src/ptx/index.js';

export const HEAD = '.version 8.0\n.target sm_80\n.address_size 64\n';

/** A module of one kernel `k(out, n)` with registers, around statements. */
export function kernelText(statements: string, functions = '', head = HEAD): string {
  return `${head}${functions}\n.visible .entry k(.param .u64 out, .param .u32 n)\n{
.reg .pred %p<9>; .reg .b32 %r<30>; .reg .b64 %rd<30>;
ld.param.u64 %rd1, [out]; ld.param.u32 %r1, [n]; mov.u32 %r2, %tid.x;
${statements}\n}\n`;
}

/** The programs of all kernels; the text must be free of errors. */
export function programsOf(text: string, limits?: LoweringLimits): KernelProgram[] {
  const { product, diagnostics } = parse(text);
  const error = diagnostics.find(({ severity }) => severity === 'error');
  if (error) throw new Error(`line ${error.line}: ${error.message}`);
  const symbols = new ModuleSymbols(product, (node) => node.body);
  return symbols.kernels.map((kernel) => {
    const program = lowerKernel(symbols, kernel, limits).product;
    if (!program) throw new Error(`${kernel.name} has no program`);
    return program;
  });
}

export function programOf(statements: string, functions?: string, head?: string): KernelProgram {
  return programsOf(kernelText(statements, functions, head))[0]!;
}

/** Instructions of what the program writes, in order; memory of the thread itself does not count. */
export function writesOf(program: KernelProgram): string[] {
  return program.values.flatMap(({ access }) =>
    access?.writes && access.space !== 'local' ? [access.origin.instruction] : [],
  );
}

/** Headers of its loops, as the program names them. */
export function loopsOf(program: KernelProgram): number[] {
  return program.blocks.flatMap((block, index) => (block.loop === index ? [index] : []));
}

/** Codes of its notes, each once. */
export function notesOf(program: KernelProgram): string[] {
  return [...new Set(program.notes.map(({ code }) => code))].sort();
}
