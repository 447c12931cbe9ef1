/**
 * Declarations (PTX ISA 5.4, 11.2, 11.3.3): variables, parameters, initialisers, heads of functions, prototypes.
 *
 * A block in braces outside a body arrives as one token whose payload is the finished block (see `parse.ts`), so the
 * head of a function is parsed after its body, and neither an initialiser nor a body is ever held as tokens as a whole.
 */
import type {
  Declarator,
  DeclaredSpace,
  Expression,
  FunctionDeclaration,
  FunctionDirective,
  Initializer,
  InitializerList,
  Linking,
  Parameter,
  Statement,
  VariableDeclaration,
} from './ast.js';
import { EMPTY_ALT, type IToken } from './chevrotain.js';
import { ExpressionGrammar, GrammarError } from './grammar-expressions.js';
import { MAX_REGISTER_COUNT } from './limits.js';
import * as t from './tokens.js';

/** What a body token carries. */
export interface BodyPayload {
  readonly span: { readonly offset: number; readonly length: number };
  /** Absent when bodies are skipped. */
  readonly statements?: readonly Statement[];
}

/** Head of a variable or parameter declaration, between state space and name. */
interface Qualifiers {
  align?: number;
  vector?: number;
  type?: string;
  attributes: string[];
  modifiers: string[];
  pointer?: { space?: string; align?: number };
}

/** Stands for qualifiers while chevrotain records the grammar, when subrules return no value. */
const NO_QUALIFIERS: Qualifiers = { attributes: [], modifiers: [] };

interface OpenList {
  readonly offset: number;
  readonly elements: Initializer[];
  readonly fields: string[];
}

const LEADING_DOT = /^\./;

/** Rules for everything that declares a name. */
export class DeclarationGrammar extends ExpressionGrammar {
  /** Initialiser lists that are open, innermost last. Explicit, so that an initialiser can be parsed in slices. */
  private openLists: OpenList[] = [];
  /** Whether the innermost list has an element that no comma follows yet. */
  private afterElement = false;
  private afterComma = false;

  // ---- 5.4.1, 5.4.5, 5.4.7, 5.1.6.3: what stands between the state space and the name ----

  private qualifiers = this.RULE('qualifiers', (): Qualifiers => {
    const result: Qualifiers = { attributes: [], modifiers: [] };
    this.MANY(() =>
      this.OR([
        { ALT: () => (result.align = this.SUBRULE1(this.alignment)) },
        { ALT: () => (result.vector = Number(this.CONSUME(t.VectorWord).image.slice(2))) },
        { ALT: () => (result.attributes = result.attributes.concat(this.SUBRULE(this.attributeList))) },
        {
          // Banks of constant memory (PTX ISA 5.1.3.1).
          ALT: () => {
            this.CONSUME(t.LBracket);
            result.modifiers.push(`[${this.CONSUME(t.Int).image}]`);
            this.CONSUME(t.RBracket);
          },
        },
        { ALT: () => (result.pointer = this.SUBRULE(this.pointer)) },
        {
          ALT: () => {
            if (result.type !== undefined) result.modifiers.push(result.type);
            result.type = this.CONSUME(t.DotWord).image.slice(1);
          },
        },
      ]),
    );
    if (result.type === undefined && !this.RECORDING_PHASE) {
      throw new GrammarError('GCR2002', '', this.LA(1), ["a type such as '.b32'"]);
    }
    return result;
  });

  private alignment = this.RULE('alignment', (): number => {
    this.CONSUME(t.Align);
    return this.numberOf(this.CONSUME(t.Int));
  });

  private pointer = this.RULE('pointer', (): { space?: string; align?: number } => {
    this.CONSUME(t.Ptr);
    const space = this.OPTION(() => this.CONSUME(t.SpaceWord).image.slice(1));
    const align = this.OPTION2(() => this.SUBRULE(this.alignment));
    return { ...(space === undefined ? undefined : { space }), ...(align === undefined ? undefined : { align }) };
  });

  /** PTX ISA 5.4.8: `.attribute(.managed, .unified(1, 2))`. */
  private attributeList = this.RULE('attributeList', (): string[] => {
    const attributes: string[] = [];
    this.CONSUME(t.AttributeWord);
    this.CONSUME(t.LParen);
    this.AT_LEAST_ONE_SEP({
      SEP: t.Comma,
      DEF: () => {
        let text = this.CONSUME(t.DotWord).image.replace(LEADING_DOT, '');
        this.OPTION(() => {
          const values: string[] = [];
          this.CONSUME2(t.LParen);
          this.AT_LEAST_ONE_SEP2({ SEP: t.Comma, DEF: () => values.push(this.CONSUME(t.Int).image) });
          this.CONSUME2(t.RParen);
          text += `(${values.join(', ')})`;
        });
        attributes.push(text);
      },
    });
    this.CONSUME(t.RParen);
    return attributes;
  });

  // ---- 5.4.1: variables ----

  /** `.space qualifiers names ;` after the linking directive, whose offset the declaration gets. */
  protected variable = this.RULE('variable', (linking?: IToken): VariableDeclaration => {
    const space = this.CONSUME(t.SpaceWord);
    const recorded = this.SUBRULE(this.qualifiers);
    const { align, vector, type, attributes, modifiers, pointer } = this.RECORDING_PHASE ? NO_QUALIFIERS : recorded;
    const declarators: Declarator[] = [];
    // ptxas takes a declaration without any name.
    this.MANY_SEP({ SEP: t.Comma, DEF: () => declarators.push(this.SUBRULE(this.declarator)) });
    this.CONSUME(t.Semicolon, { ERR_MSG: "','\n';'" });
    if (pointer !== undefined) {
      modifiers.push('ptr');
      if (pointer.space !== undefined) modifiers.push(pointer.space);
      if (pointer.align !== undefined) modifiers.push(`align ${pointer.align}`);
    }
    return {
      kind: 'variable',
      offset: (linking ?? space).startOffset,
      linking: linkingOf(linking),
      space: space.image.slice(1) as DeclaredSpace,
      ...(align === undefined ? undefined : { align }),
      ...(vector === undefined ? undefined : { vector }),
      type: type ?? '',
      attributes,
      modifiers,
      declarators,
    };
  });

  private declarator = this.RULE('declarator', (): Declarator => {
    const name = this.SUBRULE(this.declaredName);
    // PTX ISA 5.4.6: `%r<100>`
    const count = this.OPTION(() => {
      this.CONSUME(t.Less);
      const token = this.CONSUME(t.Int);
      this.CONSUME(t.Greater);
      const value = this.numberOf(token);
      if (value > MAX_REGISTER_COUNT && !this.RECORDING_PHASE)
        throw new GrammarError('GCR2009', 'the number of names is too large', token);
      return value;
    });
    const dimensions = this.SUBRULE(this.dimensions);
    const initializer = this.OPTION2(() => {
      this.CONSUME(t.Equals);
      return this.SUBRULE(this.initializer);
    });
    return {
      offset: name.startOffset,
      name: name.image,
      ...(count === undefined ? undefined : { count }),
      dimensions,
      ...(initializer === undefined ? undefined : { initializer }),
    };
  });

  /** A name that is being declared: no dots. */
  protected declaredName = this.RULE('declaredName', (): IToken => {
    const token = this.CONSUME(t.Word);
    if (!this.RECORDING_PHASE && token.image.includes('.')) {
      throw new GrammarError('GCR2002', `'${token.image}' cannot be declared: a name has no dot`, token, ['a name']);
    }
    return token;
  });

  /** PTX ISA 5.4.3. */
  private dimensions = this.RULE('dimensions', (): (Expression | null)[] => {
    const dimensions: (Expression | null)[] = [];
    this.MANY(() => {
      this.CONSUME(t.LBracket);
      const size = this.OPTION(() => this.SUBRULE(this.expression));
      this.CONSUME(t.RBracket);
      dimensions.push(size ?? null);
    });
    return dimensions;
  });

  // ---- 5.4.4: initialisers ----

  private initializer = this.RULE('initializer', (): Initializer => {
    return this.OR<Initializer>([
      { ALT: () => this.CONSUME(t.InitializerBlock).payload as InitializerList },
      { ALT: () => this.SUBRULE(this.initializerList) as InitializerList },
      { ALT: () => this.SUBRULE(this.expression) },
    ]);
  });

  /** Forgets lists left open by an error. */
  protected resetInitializer(): void {
    this.openLists = [];
    this.afterElement = false;
    this.afterComma = false;
  }

  /**
   * An initialiser in braces, or its first slice.
   *
   * @returns the list when its last brace was in this slice.
   */
  initializerList = this.RULE('initializerList', (): InitializerList | undefined => {
    const open = this.CONSUME(t.LBrace);
    this.openList(open);
    return this.SUBRULE(this.initializerRest);
  });

  /** Goes on with an initialiser from where the last slice ended; returns as {@link initializerList} does. */
  initializerRest = this.RULE('initializerRest', (): InitializerList | undefined => {
    let result: InitializerList | undefined;
    this.MANY({
      GATE: () => this.openLists.length > 0,
      DEF: () => {
        this.OR({
          DEF: [
            {
              ALT: () => {
                const open = this.CONSUME(t.LBrace);
                this.beforeElement(open);
                this.openList(open);
              },
            },
            {
              ALT: () => {
                const close = this.CONSUME(t.RBrace);
                this.ACTION(() => {
                  result = this.closeList(close);
                });
              },
            },
            {
              ALT: () => {
                const comma = this.CONSUME(t.Comma);
                if (!this.afterElement && !this.RECORDING_PHASE) {
                  throw new GrammarError('GCR2002', '', comma, ['a value', "'}'"]);
                }
                this.afterElement = false;
                this.afterComma = true;
              },
            },
            { ALT: () => this.SUBRULE(this.initializerElement) },
          ],
          ERR_MSG: 'a value',
        });
      },
    });
    return result;
  });

  private initializerElement = this.RULE('initializerElement', (): void => {
    this.beforeElement(this.LA(1));
    const integer = this.takeLoneInteger();
    if (integer !== undefined) {
      this.addElement(integer);
      return;
    }
    const element = this.SUBRULE1(this.expression);
    const value = this.OPTION(() => {
      this.CONSUME(t.Equals);
      return this.SUBRULE2(this.expression);
    });
    this.ACTION(() => {
      const list = this.openLists[this.openLists.length - 1]!;
      if (value !== undefined && element.kind === 'name') list.fields[list.elements.length] = element.name;
      this.addElement(value ?? element);
    });
  });

  private addElement(element: Expression): void {
    this.openLists[this.openLists.length - 1]!.elements.push(element);
    this.afterElement = true;
    this.afterComma = false;
  }

  private openList(open: IToken): void {
    if (!this.RECORDING_PHASE) this.openLists.push({ offset: open.startOffset, elements: [], fields: [] });
    this.afterElement = false;
  }

  private beforeElement(token: IToken): void {
    if (this.afterElement && !this.RECORDING_PHASE) throw new GrammarError('GCR2002', '', token, ["','", "'}'"]);
    this.afterComma = false;
  }

  private closeList(close: IToken): InitializerList | undefined {
    if (this.afterComma) throw new GrammarError('GCR2002', '', close, ['a value']);
    const { offset, elements, fields } = this.openLists.pop()!;
    const named = fields.length > 0 ? { fields: elements.map((_, i) => fields[i] ?? '') } : undefined;
    const list: InitializerList = { kind: 'initializerList', offset, elements, ...named };
    const outer = this.openLists[this.openLists.length - 1];
    this.afterElement = outer !== undefined;
    if (outer === undefined) return list;
    outer.elements.push(list);
    return undefined;
  }

  // ---- 11.2: functions ----

  /** `.entry` and `.func` with head, directives and body or semicolon. */
  protected functionDeclaration = this.RULE('functionDeclaration', (linking?: IToken): FunctionDeclaration => {
    const word = this.CONSUME(t.FunctionWord);
    let attributes: string[] = [];
    this.MANY(() => {
      attributes = attributes.concat(this.SUBRULE(this.attributeList));
    });
    const returns = this.OPTION(() => this.SUBRULE1(this.parameterList));
    const name = this.SUBRULE(this.declaredName);
    const parameters = this.OPTION2(() => this.SUBRULE2(this.parameterList));
    const directives = this.SUBRULE(this.functionDirectives);
    // ptxas lets a forward declaration end without semicolon where another directive follows.
    const ending = this.OR({
      DEF: [
        { ALT: () => this.CONSUME(t.BodyBlock) },
        { ALT: () => this.CONSUME(t.Semicolon) },
        { GATE: () => this.isDotted(this.LA(1)), ALT: EMPTY_ALT(this.LA(0)) },
      ],
    });
    const end = this.RECORDING_PHASE ? word : ending;
    const offset = (linking ?? word).startOffset;
    const body = end.tokenType === t.BodyBlock ? (end.payload as BodyPayload) : undefined;
    return {
      kind: 'function',
      offset,
      entry: word.tokenType === t.Entry,
      linking: linkingOf(linking),
      attributes,
      name: name.image,
      returns: returns?.parameters ?? [],
      parameters: parameters?.parameters ?? [],
      variadic: parameters?.variadic ?? false,
      directives,
      length: (body === undefined ? end.startOffset + end.image.length : body.span.offset + body.span.length) - offset,
      ...(body === undefined ? undefined : { bodySpan: body.span }),
      ...(body?.statements === undefined ? undefined : { body: body.statements }),
    };
  });

  protected parameterList = this.RULE('parameterList', (): { parameters: Parameter[]; variadic: boolean } => {
    const parameters: Parameter[] = [];
    let variadic = false;
    this.CONSUME(t.LParen);
    this.MANY_SEP({
      SEP: t.Comma,
      DEF: () =>
        this.OR({
          DEF: [
            { ALT: () => parameters.push(this.SUBRULE(this.parameter)) },
            {
              ALT: () => {
                this.CONSUME(t.Ellipsis);
                variadic = true;
              },
            },
          ],
          ERR_MSG: "a parameter such as '.param .b64 p'",
        }),
    });
    this.CONSUME(t.RParen, { ERR_MSG: "','\n')'" });
    return { parameters, variadic };
  });

  private parameter = this.RULE('parameter', (): Parameter => {
    const space = this.CONSUME(t.SpaceWord);
    if (!this.RECORDING_PHASE && space.image !== '.param' && space.image !== '.reg') {
      throw new GrammarError('GCR2002', '', space, ["'.param'", "'.reg'"]);
    }
    const recorded = this.SUBRULE(this.qualifiers);
    const { align, vector, type, attributes, modifiers, pointer } = this.RECORDING_PHASE ? NO_QUALIFIERS : recorded;
    const name = this.OPTION(() => this.SUBRULE(this.declaredName));
    const dimensions = this.SUBRULE(this.dimensions);
    return {
      offset: space.startOffset,
      space: space.image.slice(1) as 'param' | 'reg',
      name: name?.image ?? '',
      ...(align === undefined ? undefined : { align }),
      ...(vector === undefined ? undefined : { vector }),
      type: type ?? '',
      attributes: modifiers.length === 0 ? attributes : [...attributes, ...modifiers],
      dimensions,
      ...(pointer === undefined ? undefined : { pointer }),
    };
  });

  /** PTX ISA 11.4, 11.7: what stands between the head and the body. */
  protected functionDirectives = this.RULE('functionDirectives', (): FunctionDirective[] => {
    const directives: FunctionDirective[] = [];
    this.MANY(() =>
      this.OR([
        {
          ALT: () => {
            const word = this.CONSUME(t.Pragma);
            const strings: Expression[] = [];
            this.AT_LEAST_ONE_SEP({ SEP: t.Comma, DEF: () => strings.push(this.SUBRULE(this.string)) });
            // The semicolon belongs to the pragma when a body or a further directive follows.
            this.OPTION({
              GATE: () => {
                const next = this.LA(2).tokenType;
                return next === t.BodyBlock || next === t.Semicolon || next === t.Pragma || next === t.DotWord;
              },
              DEF: () => this.CONSUME(t.Semicolon),
            });
            directives.push({ offset: word.startOffset, name: 'pragma', arguments: strings });
          },
        },
        {
          ALT: () => {
            const word = this.CONSUME(t.DotWord);
            const values: Expression[] = [];
            this.MANY_SEP({ SEP: t.Comma, DEF: () => values.push(this.SUBRULE(this.expression)) });
            directives.push({ offset: word.startOffset, name: word.image.slice(1), arguments: values });
          },
        },
      ]),
    );
    return directives;
  });
}

function linkingOf(token: IToken | undefined): Linking {
  return token === undefined ? 'none' : (token.image.slice(1) as Linking);
}
