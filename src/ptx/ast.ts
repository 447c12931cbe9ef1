/**
 * The syntax tree of a PTX module: typed, immutable, close to the text. Nothing is resolved here: names are strings,
 * modifiers keep their order, constant expressions stay expressions. `offset` is an index into the parsed text (for files
 * read as latin1: a byte offset), so line and column cost nothing until a message is printed.
 *
 * Relied on by the printer (`print(parse(x))` parses to the same tree, offsets apart) and by the lowering in `src/ir`.
 */

/** One `.version` block: PTX ISA section 4.1. */
export interface Module {
  readonly kind: 'module';
  readonly items: readonly ModuleItem[];
}

export type ModuleItem =
  | VersionDirective
  | TargetDirective
  | AddressSizeDirective
  | VariableDeclaration
  | FunctionDeclaration
  | AliasDirective
  | SectionDirective
  | FileDirective
  | LocDirective
  | PragmaDirective
  | CallPrototype
  | UnknownDirective;

interface Node {
  readonly offset: number;
}

/** `.version 8.0` (PTX ISA 11.1.1). */
export interface VersionDirective extends Node {
  readonly kind: 'version';
  readonly major: number;
  readonly minor: number;
}

/** `.target sm_90a, debug` (PTX ISA 11.1.2). */
export interface TargetDirective extends Node {
  readonly kind: 'target';
  readonly targets: readonly string[];
}

/** `.address_size 64` (PTX ISA 11.1.3). */
export interface AddressSizeDirective extends Node {
  readonly kind: 'addressSize';
  readonly bits: number;
}

/** `.alias name, target;` (PTX ISA 11.2.3). */
export interface AliasDirective extends Node {
  readonly kind: 'alias';
  readonly name: string;
  readonly target: string;
}

/** `.section name { … }` or `@@DWARF …`: debugging data, kept as the text between its delimiters (PTX ISA 11.5). */
export interface SectionDirective extends Node {
  readonly kind: 'section';
  /** Section name, or `@@DWARF` for the old form. */
  readonly name: string;
  /** The text between the braces (or the rest of the line), unparsed. */
  readonly content: string;
}

/** `.file 1 "name", 1234, 5678` (PTX ISA 11.5.3). */
export interface FileDirective extends Node {
  readonly kind: 'file';
  readonly index: number;
  readonly name: string;
  readonly timestamp?: bigint;
  readonly size?: bigint;
}

/** `.loc 1 12 3, function_name $L__info_string0, inlined_at 1 10 5` (PTX ISA 11.5.4). */
export interface LocDirective extends Node {
  readonly kind: 'loc';
  readonly file: number;
  readonly line: number;
  readonly column: number;
  /** The rest of the line, as written, when there is one. */
  readonly attributes?: string;
}

/** `.pragma "nounroll", "…";` (PTX ISA 11.4.7). */
export interface PragmaDirective extends Node {
  readonly kind: 'pragma';
  readonly strings: readonly string[];
}

/** A directive this version does not know. Carried, never dropped: the analysis decides what it may mean. */
export interface UnknownDirective extends Node {
  readonly kind: 'unknownDirective';
  /** Its text up to the terminating semicolon or line end. */
  readonly text: string;
}

export type Linking = 'none' | 'extern' | 'visible' | 'weak' | 'common';

/** State spaces that a declaration can name (PTX ISA 5.1). */
export type DeclaredSpace = 'reg' | 'sreg' | 'const' | 'global' | 'local' | 'param' | 'shared' | 'tex';

/** A `.reg`, `.global`, `.shared`, `.local`, `.const`, `.param`, `.tex` declaration, in a module or a body. */
export interface VariableDeclaration extends Node {
  readonly kind: 'variable';
  readonly linking: Linking;
  readonly space: DeclaredSpace;
  /** Alignment in bytes, when written. */
  readonly align?: number;
  /** 2, 4 or 8 for `.v2`, `.v4`, `.v8`. */
  readonly vector?: number;
  /** Without the dot: `b32`, `pred`, `f64`, `texref`, … */
  readonly type: string;
  /** `.attribute(.managed, .unified(1,2))` as written, each without the dot. */
  readonly attributes: readonly string[];
  /** Other directives in the head that are carried as they are, without the dot: `ptr`, bank numbers `[2]`, … */
  readonly modifiers: readonly string[];
  readonly declarators: readonly Declarator[];
}

/** One declared name: `%r<100>`, `a[4][]`, `g = 5`. */
export interface Declarator extends Node {
  readonly name: string;
  /** For `%r<100>`: 100, declaring `%r0 … %r99` (PTX ISA 5.4.6). */
  readonly count?: number;
  /** Array dimensions, outermost first; `null` for an empty one. */
  readonly dimensions: readonly (Expression | null)[];
  readonly initializer?: Initializer;
}

export type Initializer = Expression | InitializerList;

export interface InitializerList extends Node {
  readonly kind: 'initializerList';
  readonly elements: readonly Initializer[];
  /** Field names, one an element, when written `{ addr_mode_0 = wrap, … }` (PTX ISA 5.3.2). */
  readonly fields?: readonly string[];
}

/** `.entry` or `.func`, with or without a body (PTX ISA 11.2). */
export interface FunctionDeclaration extends Node {
  readonly kind: 'function';
  readonly entry: boolean;
  readonly linking: Linking;
  readonly attributes: readonly string[];
  readonly name: string;
  readonly returns: readonly Parameter[];
  readonly parameters: readonly Parameter[];
  readonly variadic: boolean;
  /** `.maxntid 256, 1, 1`, `.reqntid`, `.noreturn`, `.pragma "…"`, … between the head and the body, in order. */
  readonly directives: readonly FunctionDirective[];
  /** Length in characters of the whole declaration, from `offset`. */
  readonly length: number;
  /** Where the body's braces stand, braces included; absent for a forward declaration. */
  readonly bodySpan?: { readonly offset: number; readonly length: number };
  /** The statements; absent for a forward declaration, and when the module was parsed with `bodies: 'skip'`. */
  readonly body?: readonly Statement[];
}

export interface FunctionDirective extends Node {
  /** Without the dot. */
  readonly name: string;
  readonly arguments: readonly (Expression | StringLiteral)[];
}

/** A formal parameter or return parameter of a function or prototype. */
export interface Parameter extends Node {
  readonly space: 'param' | 'reg';
  /** `_` or empty when unnamed. */
  readonly name: string;
  readonly align?: number;
  readonly vector?: number;
  readonly type: string;
  readonly attributes: readonly string[];
  readonly dimensions: readonly (Expression | null)[];
  /** `.ptr .global .align 16` (PTX ISA 5.1.6.3). */
  readonly pointer?: { readonly space?: string; readonly align?: number };
}

export type Statement =
  | Instruction
  | Label
  | Scope
  | VariableDeclaration
  | LocDirective
  | FileDirective
  | PragmaDirective
  | SectionDirective
  | BranchTargets
  | CallTargets
  | CallPrototype
  | UnknownDirective;

/** `name:` on its own. */
export interface Label extends Node {
  readonly kind: 'label';
  readonly name: string;
}

/** `{ … }`: a scope with its own registers, variables and labels (PTX ISA 4.3, 5.4). */
export interface Scope extends Node {
  readonly kind: 'scope';
  readonly statements: readonly Statement[];
}

/** `name: .branchtargets L1, L2;` (PTX ISA 11.3.1). Elements may be ranges `L<10>`. */
export interface BranchTargets extends Node {
  readonly kind: 'branchTargets';
  readonly name: string;
  readonly labels: readonly string[];
}

/** `name: .calltargets f, g;` (PTX ISA 11.3.2). */
export interface CallTargets extends Node {
  readonly kind: 'callTargets';
  readonly name: string;
  readonly functions: readonly string[];
}

/** `name: .callprototype (.param .b32 _) _ (.param .b64 _) .noreturn;` (PTX ISA 11.3.3). */
export interface CallPrototype extends Node {
  readonly kind: 'callPrototype';
  readonly name: string;
  readonly returns: readonly Parameter[];
  readonly parameters: readonly Parameter[];
  readonly variadic: boolean;
  readonly directives: readonly FunctionDirective[];
}

/**
 * An opcode with its modifiers as written: `st.global.v2.u32`. Interned: one object per distinct spelling, for the life of
 * the process, so that whatever is derived from a spelling can be cached under the object.
 */
export interface Mnemonic {
  /** The spelling without white space, `st.global.v2.u32`. */
  readonly text: string;
  /** The first word, `st`. */
  readonly opcode: string;
  /** The words after it, without dots, in order of the text: `['global', 'v2', 'u32']`. */
  readonly modifiers: readonly string[];
}

/** `@!%p mnemonic operand, operand, …;` */
export interface Instruction extends Node {
  readonly kind: 'instruction';
  readonly guard?: Guard;
  readonly mnemonic: Mnemonic;
  readonly operands: readonly Operand[];
}

export interface Guard {
  readonly register: string;
  readonly negated: boolean;
}

export type Operand = Expression | AddressOperand | VectorOperand | ListOperand | PairOperand;

/** What can stand in a constant expression or as a plain operand. */
export type Expression =
  | NameOperand
  | ComponentOperand
  | ElementOperand
  | IntegerLiteral
  | FloatLiteral
  | StringLiteral
  | UnaryExpression
  | BinaryExpression
  | ConditionalExpression
  | CastExpression
  | GenericExpression
  | MaskExpression;

/** A register, variable, label, function, or `_`. */
export interface NameOperand extends Node {
  readonly kind: 'name';
  readonly name: string;
}

/** `%tid.x`, `%v.y`, `%r1.b0`. */
export interface ComponentOperand extends Node {
  readonly kind: 'component';
  readonly name: string;
  readonly component: string;
}

/** `g[%r2]`, `a[4]`, `%tex[3]`. */
export interface ElementOperand extends Node {
  readonly kind: 'element';
  readonly name: string;
  readonly index: Expression;
}

/** Integer constant: 0 to 2^64 − 1; a longer literal is taken modulo 2^64, as ptxas does (PTX ISA 4.5.1). */
export interface IntegerLiteral extends Node {
  readonly kind: 'integer';
  readonly value: bigint;
  /** Written with suffix `U`. */
  readonly unsigned: boolean;
}

/** `1.5`, `.5e3`, `0f3F800000`, `0d3FF0000000000000` (PTX ISA 4.5.2). */
export interface FloatLiteral extends Node {
  readonly kind: 'float';
  /** As written. */
  readonly text: string;
  /** IEEE bits: 32 for `0f`, 64 otherwise. */
  readonly width: 32 | 64;
  readonly bits: bigint;
}

export interface StringLiteral extends Node {
  readonly kind: 'string';
  /** Between the quotes, escapes as written. */
  readonly text: string;
}

export interface UnaryExpression extends Node {
  readonly kind: 'unary';
  readonly operator: '+' | '-' | '!' | '~';
  readonly operand: Expression;
}

export type BinaryOperator =
  | '*'
  | '/'
  | '%'
  | '+'
  | '-'
  | '<<'
  | '>>'
  | '<'
  | '>'
  | '<='
  | '>='
  | '=='
  | '!='
  | '&'
  | '^'
  | '|'
  | '&&'
  | '||';

export interface BinaryExpression extends Node {
  readonly kind: 'binary';
  readonly operator: BinaryOperator;
  readonly left: Expression;
  readonly right: Expression;
}

export interface ConditionalExpression extends Node {
  readonly kind: 'conditional';
  readonly condition: Expression;
  readonly whenTrue: Expression;
  readonly whenFalse: Expression;
}

/** `(.s64) expr`. */
export interface CastExpression extends Node {
  readonly kind: 'cast';
  readonly type: string;
  readonly operand: Expression;
}

/** `generic(g)+8` has this as its left operand (PTX ISA 5.4.4). */
export interface GenericExpression extends Node {
  readonly kind: 'generic';
  readonly operand: Expression;
}

/** `0xFF00(generic(p)+3)`: one byte of an address (PTX ISA 5.4.4). */
export interface MaskExpression extends Node {
  readonly kind: 'mask';
  readonly mask: bigint;
  readonly operand: Expression;
}

/**
 * `[base]`, `[base+offset]`, and the list forms of tensors and textures `[tensorMap, {x, y}]`, `[tex, smp, {…}]`.
 */
export interface AddressOperand extends Node {
  readonly kind: 'address';
  readonly base: Expression;
  /** Constant expression added to the base; its sign is in it. */
  readonly displacement?: Expression;
  /** Whatever follows the first comma. */
  readonly rest: readonly Operand[];
  /** Words behind the bracket, without dots: `[a].unified` (PTX ISA 9.7.9.8). */
  readonly qualifiers?: readonly string[];
}

/** `{%r1, %r2, _}`. */
export interface VectorOperand extends Node {
  readonly kind: 'vector';
  readonly elements: readonly Operand[];
}

/** `(a, b)` of a call. */
export interface ListOperand extends Node {
  readonly kind: 'list';
  readonly elements: readonly Operand[];
}

/** `%p|%q`: two destinations. */
export interface PairOperand extends Node {
  readonly kind: 'pair';
  readonly first: Operand;
  readonly second: Operand;
}
