/**
 * Names and scopes. Braces open scopes with their own registers, variables and labels; names resolve outwards
 * (PTX ISA 5.4, 4.3). `%r<100>` declares a family whose members are found by their number.
 */
import type {
  BranchTargets,
  CallPrototype,
  CallTargets,
  Declarator,
  FunctionDeclaration,
  VariableDeclaration,
} from '../../ptx/index.js';

export type LocalSymbol =
  | { readonly kind: 'register'; readonly index: number; readonly width: number; readonly components: number }
  | {
      readonly kind: 'variable';
      readonly declaration: VariableDeclaration;
      readonly declarator: Declarator;
      /** Storage class; `callParameter` for `.param` variables of a function body. */
      readonly space: 'global' | 'constant' | 'shared' | 'local' | 'callParameter' | 'object';
      readonly size: number;
      readonly align: number;
    }
  /** A formal parameter or return value, by position. */
  | {
      readonly kind: 'formal';
      readonly returns: boolean;
      readonly position: number;
      readonly size: number;
      /** Name of the scalar type. */
      readonly type: string;
    }
  | { readonly kind: 'kernelParameter'; readonly offset: number; readonly size: number; readonly type: string }
  | { readonly kind: 'label'; readonly position: number }
  | { readonly kind: 'branchTargets'; readonly node: BranchTargets }
  | { readonly kind: 'callTargets'; readonly node: CallTargets }
  | { readonly kind: 'prototype'; readonly node: CallPrototype }
  | { readonly kind: 'function'; readonly name: string; readonly node: FunctionDeclaration | undefined };

interface Family {
  readonly count: number;
  readonly first: number;
  readonly width: number;
  readonly components: number;
}

/** One pair of braces. */
export class Scope {
  readonly #symbols = new Map<string, LocalSymbol>();
  #families: Map<string, Family> | undefined;

  constructor(readonly parent: Scope | undefined) {}

  declare(name: string, symbol: LocalSymbol): void {
    if (!this.#symbols.has(name)) this.#symbols.set(name, symbol);
  }

  declareFamily(prefix: string, family: Family): void {
    this.#families ??= new Map();
    if (!this.#families.has(prefix)) this.#families.set(prefix, family);
  }

  /** The symbol that a name means here, looking outwards; undefined when nothing declares it. */
  lookUp(name: string): LocalSymbol | undefined {
    for (let scope: Scope | undefined = this; scope; scope = scope.parent) {
      const symbol = scope.#own(name);
      if (symbol) return symbol;
    }
    return undefined;
  }

  #own(name: string): LocalSymbol | undefined {
    const known = this.#symbols.get(name);
    if (known || !this.#families) return known;
    // All trailing digits are the number, leading zeros included: `%r12` is never a member of `%r1<…>`, and `%r03` is
    // `%r3` (so does ptxas; PTX ISA 5.4.6 does not say).
    let split = name.length;
    while (split > 0 && name.charCodeAt(split - 1) >= 48 && name.charCodeAt(split - 1) <= 57) split--;
    const family = split < name.length ? this.#families.get(name.slice(0, split)) : undefined;
    if (!family) return undefined;
    const member = Number(name.slice(split));
    if (member >= family.count) return undefined;
    const symbol: LocalSymbol = {
      kind: 'register',
      index: family.first + member * family.components,
      width: family.width,
      components: family.components,
    };
    this.#symbols.set(name, symbol);
    return symbol;
  }
}
