/**
 * A loaded module: parsed and lowered when it is loaded, so that a module with a kernel that cannot be understood is refused at once;
 * its kernels become code when they are first launched. `describe` tells the driver what it must know to place variables and to
 * gather parameters.
 */
import { type Diagnostic, InputError } from '../diagnostics/index.js';
import { type KernelProgram, lowerKernel, type MemoryObject, ModuleSymbols } from '../ir/index.js';
import { parse } from '../ptx/index.js';
import { type CompiledKernel, compileKernel } from '../sim/index.js';
import { MessageWriter } from './message.js';

export class LoadedModule {
  readonly programs: readonly KernelProgram[];
  readonly variables: readonly MemoryObject[];
  /** Where variables are, by name. */
  readonly places = new Map<string, bigint>();
  readonly #compiled: (CompiledKernel | undefined)[] = [];

  /** @throws InputError GCR8001 when the text is not a module that can be executed, with all that is wrong */
  constructor(text: string) {
    const { product, diagnostics } = parse(text, { name: '<module>' });
    refuse(diagnostics, text);
    const symbols = new ModuleSymbols(product, (node) => node.body);
    this.programs = symbols.kernels.map((kernel) => {
      const lowered = lowerKernel(symbols, kernel);
      if (!lowered.product) throw problem(`kernel '${kernel.name}' cannot be executed`, lowered.diagnostics);
      return lowered.product;
    });
    this.variables = symbols.variables;
    for (const { name, external, initial, relocations } of this.variables) {
      if (external) throw problem(`variable '${name}' is defined in another module; modules are not linked here`);
      if (initial === undefined) throw problem(`the initial content of variable '${name}' is not understood`);
      if (relocations?.some(({ space }) => space === 'function')) {
        throw problem(`variable '${name}' holds the address of a function; functions have none in memory here`);
      }
    }
  }

  kernel(number: number): CompiledKernel | undefined {
    const program = this.programs[number];
    if (!program) return undefined;
    this.#compiled[number] ??= compileKernel(program, { recorded: false });
    return this.#compiled[number];
  }

  /** The description of docs/formats/runtime-protocol.md. */
  describe(): Buffer {
    const writer = new MessageWriter().u32(this.programs.length);
    for (const program of this.programs) {
      writer.u32(program.parameterBytes).u32(staticShared(program));
      for (const size of program.bounds.requiredCluster ?? [0, 0, 0]) writer.u32(size);
      writer.u32(program.parameters.length);
      for (const { offset, size } of program.parameters) writer.u32(offset).u32(size);
      writer.string(program.name);
    }
    const numbers = new Map(this.variables.map(({ name }, number) => [name, number]));
    writer.u32(this.variables.length);
    for (const { name, space, align, size, initial } of this.variables) {
      const content = Buffer.from(initial ?? '', 'hex');
      writer
        .u32(space === 'constant' ? 1 : 0)
        .u32(Math.max(1, align))
        .u64(size);
      writer.u32(content.length).string(name).padded(content);
    }
    const relocations = this.variables.flatMap((variable, number) =>
      (variable.relocations ?? []).map((relocation) => ({ ...relocation, number })),
    );
    writer.u32(relocations.length);
    for (const { number, offset, bytes, shift, name, addend } of relocations) {
      writer.u32(number).u32(offset).u32(bytes).u32(shift).u32(numbers.get(name)!).u64(addend);
    }
    return writer.content();
  }
}

/** Bytes of a block's variables; dynamic shared memory comes behind them. */
function staticShared({ objects }: KernelProgram): number {
  let end = 0;
  for (const { space, size, align } of objects) {
    if (space === 'shared' && size > 0) end = Math.ceil(end / Math.max(1, align)) * Math.max(1, align) + size;
  }
  return end;
}

function problem(message: string, diagnostics: readonly Diagnostic[] = []): InputError {
  return new InputError([{ code: 'GCR8001', severity: 'error', message }, ...diagnostics]);
}

function refuse(diagnostics: readonly Diagnostic[], text: string): void {
  const errors = diagnostics.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw problem('the module is not valid PTX', errors);
  if (text.trim() === '') throw problem('the module is empty');
}
