/**
 * One module's text to the templates of its kernels, kernel by kernel. Bodies are parsed, lowered and dropped one at a
 * time, so memory is bounded by the largest kernel with what it calls, not by the module. Runs in the caller's thread or
 * in a worker; both give the same bytes.
 */
import { createHash } from 'node:crypto';
import { type Diagnostic, type DiagnosticCode, InternalError, SourceText } from '../diagnostics/index.js';
import { type KernelProgram, lowerKernel, ModuleSymbols } from '../ir/index.js';
import { type FunctionDeclaration, type Module, parse, parseBody } from '../ptx/index.js';
import { deriveTemplate, type KernelTemplate, type MissingTemplate, type TemplateModule } from '../templates/index.js';

/** A module's text and where it stands. */
export interface ModuleInput {
  /** Display name. */
  readonly name: string;
  readonly text: string;
  /** Lines in front of the text in its file; added to every line number reported. */
  readonly lineOffset: number;
  /** Only these kernels; all when absent. */
  readonly kernels?: readonly string[];
  /** SHA-256 of the machine code that was found beside the text. */
  readonly image?: string;
}

const UNDEFINED_NAMES: ReadonlySet<DiagnosticCode> = new Set(['GCR3002', 'GCR3003']);

/** A parsed module head with its kernels, ready to be built. */
export class ModuleBuild {
  readonly source: SourceText;
  readonly module: Module;
  readonly symbols: ModuleSymbols;
  /** Kernels to build, in order of the text. */
  readonly kernels: readonly FunctionDeclaration[];
  /** Findings so far: the module's own, then those of each body when it was asked for. */
  readonly diagnostics: Diagnostic[] = [];
  readonly #broken = new Map<FunctionDeclaration, Diagnostic>();

  constructor(readonly input: ModuleInput) {
    this.source = new SourceText(input.name, input.text);
    const { product, diagnostics } = parse(input.text, { name: input.name, bodies: 'skip' });
    this.module = product;
    this.#report(diagnostics);
    this.symbols = new ModuleSymbols(product, (node) => this.#body(node));
    const wanted = input.kernels && new Set(input.kernels);
    this.kernels = this.symbols.kernels.filter((node) => !wanted || wanted.has(node.name));
  }

  /** The module as it goes into the file; hashes the text. */
  describe(): TemplateModule {
    return {
      hash: createHash('sha256').update(this.input.text, 'latin1').digest('hex'),
      source: this.input.name,
      ...this.#head(),
      ...(this.input.image && { image: this.input.image }),
    };
  }

  #head(): Pick<TemplateModule, 'version' | 'target' | 'addressBits'> {
    const version = this.module.items.find((item) => item.kind === 'version');
    const target = this.module.items.find((item) => item.kind === 'target');
    const size = this.module.items.find((item) => item.kind === 'addressSize');
    return {
      version: version ? `${version.major}.${version.minor}` : '',
      target: target?.targets.join(', ') ?? '',
      addressBits: size?.bits === 32 ? 32 : 64,
    };
  }

  #report(diagnostics: readonly Diagnostic[]): void {
    const { lineOffset } = this.input;
    for (const diagnostic of diagnostics) {
      const line = diagnostic.line;
      this.diagnostics.push(line && lineOffset ? { ...diagnostic, line: line + lineOffset } : diagnostic);
    }
  }

  #body(node: FunctionDeclaration) {
    const { product, diagnostics } = parseBody(this.input.text, node, { name: this.input.name });
    this.#report(diagnostics);
    const error = diagnostics.find((diagnostic) => diagnostic.severity === 'error');
    if (!error) return product;
    this.#broken.set(node, error);
    return undefined;
  }

  /** Lowers one kernel; undefined when its body does not parse or it is too large. */
  lower(node: FunctionDeclaration): KernelProgram | undefined {
    const { product, diagnostics } = lowerKernel(this.symbols, node);
    this.symbols.forget(node);
    const line = this.source.line(node.offset);
    if (diagnostics.length > 0) {
      this.#report(diagnostics.map((diagnostic) => ({ ...diagnostic, source: this.input.name, line })));
    }
    if (diagnostics[0]) this.#broken.set(node, diagnostics[0]);
    // Names that nothing declares: the text is wrong, though the rest of the kernel could be built.
    for (const { code, offset, message } of product?.notes ?? []) {
      if (!UNDEFINED_NAMES.has(code)) continue;
      this.#report([this.source.diagnostic(offset, { code, severity: 'error', message })]);
    }
    return product;
  }

  /** Builds the template of one kernel, or says why there is none. */
  build(node: FunctionDeclaration, moduleIndex: number): KernelTemplate | MissingTemplate {
    const program = this.lower(node);
    if (!program) {
      const error = this.#broken.get(node);
      if (!error) throw new InternalError(`kernel ${node.name} has no program and no diagnostic`);
      return { name: node.name, source: this.input.name, code: error.code, message: error.message };
    }
    const { version, target } = this.#head();
    return deriveTemplate(program, {
      module: moduleIndex,
      line: (offset) => this.source.line(offset) + this.input.lineOffset,
      texts: [
        `${version} ${target}`,
        ...program.spans.map(({ offset, length }) => this.input.text.slice(offset, offset + length)),
      ],
    });
  }
}

/** Whether a built kernel is a template. */
export function isTemplate(built: KernelTemplate | MissingTemplate): built is KernelTemplate {
  return 'verdict' in built;
}
