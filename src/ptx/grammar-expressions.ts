/**
 * Operands and constant expressions (PTX ISA 4.5.4, chapter 6): the lowest layer of the grammar. The rules accept a
 * superset of what any one instruction takes; which operand may stand where is the business of the instruction table.
 *
 * Recursion is bounded by `MAX_EXPRESSION_DEPTH`, so no input can overflow the stack.
 */
import type { AddressOperand, BinaryOperator, Expression, NameOperand, Operand, UnaryExpression } from './ast.js';
import { EmbeddedActionsParser, type IToken, type ParserMethod, tokenMatcher } from './chevrotain.js';
import { ExpectationProvider } from './expectations.js';
import { MAX_EXPRESSION_DEPTH } from './limits.js';
import { floatBits, integerValue, LiteralError } from './literals.js';
import * as t from './tokens.js';

/** Precedence of binary operators, higher binds tighter (PTX ISA 4.5.4, table 4). */
const PRECEDENCE = new Map([
  [t.Star, 10],
  [t.Slash, 10],
  [t.Percent, 10],
  [t.Plus, 9],
  [t.Minus, 9],
  [t.ShiftLeft, 8],
  [t.ShiftRight, 8],
  [t.Less, 7],
  [t.Greater, 7],
  [t.LessEqual, 7],
  [t.GreaterEqual, 7],
  [t.EqualEqual, 6],
  [t.NotEqual, 6],
  [t.And, 5],
  [t.Caret, 4],
  [t.Or, 3],
  [t.AndAnd, 2],
  [t.OrOr, 1],
]);

/** Precedence by token type index, 0 for everything that is no binary operator. */
const precedenceByType = new Uint8Array(Math.max(...t.VOCABULARY.map((type) => type.tokenTypeIdx!)) + 1);
for (const [type, precedence] of PRECEDENCE) precedenceByType[type.tokenTypeIdx!] = precedence;

/** Tokens that end an operand: a word before one of them is the whole operand. */
const endsOperand = new Uint8Array(precedenceByType.length);
for (const type of [t.Comma, t.Semicolon, t.RBrace, t.RBracket, t.RParen]) endsOperand[type.tokenTypeIdx!] = 1;

const WORD = t.Word.tokenTypeIdx!;
const INT = t.Int.tokenTypeIdx!;

/** What a level of recursion counts against the limit, beside 1 for an operator of a chain. */
const RECURSION_WEIGHT = 8;

/** An error that the grammar's own checks raise; recorded like a syntax error. */
export class GrammarError extends Error {
  constructor(
    readonly code: 'GCR2002' | 'GCR2004' | 'GCR2005' | 'GCR2009',
    message: string,
    readonly token: IToken,
    readonly expected?: readonly string[],
  ) {
    super(message);
  }
}

/** Operand and expression rules. */
export class ExpressionGrammar extends EmbeddedActionsParser {
  protected readonly expectations: ExpectationProvider;
  private depth = 0;

  constructor() {
    const expectations = new ExpectationProvider();
    super(t.VOCABULARY, {
      recoveryEnabled: false,
      maxLookahead: 1,
      nodeLocationTracking: 'none',
      errorMessageProvider: expectations,
    });
    this.expectations = expectations;
  }

  protected resetDepth(): void {
    this.depth = 0;
  }

  /** Fails when the tree gets too deep; every recursive rule calls it, and {@link leave} on its way out. */
  private enter(weight = RECURSION_WEIGHT): void {
    this.depth += weight;
    if (this.depth > MAX_EXPRESSION_DEPTH && !this.RECORDING_PHASE) {
      throw new GrammarError('GCR2004', 'the operand is nested too deep', this.LA(1));
    }
  }

  private leave(weight = RECURSION_WEIGHT): void {
    this.depth -= weight;
  }

  /** Consumes and returns the next token, whose type the caller has looked at. */
  protected take(): IToken {
    const token = this.LA(1);
    this.SKIP_TOKEN();
    return token;
  }

  protected integerOf(token: IToken): bigint {
    if (this.RECORDING_PHASE) return 0n;
    try {
      return integerValue(token.image);
    } catch (error) {
      if (error instanceof LiteralError) throw new GrammarError('GCR2009', error.message, token);
      throw error;
    }
  }

  /** An integer as a number, for counts and sizes; at most 2^53. */
  protected numberOf(token: IToken): number {
    const value = this.integerOf(token);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new GrammarError('GCR2009', 'the number is too large', token);
    return Number(value);
  }

  /** A word as name, or as name and component (`%tid.x`). */
  private nameNode(token: IToken): Expression {
    const image = token.image;
    const dot = image.indexOf('.');
    if (dot < 0) return { kind: 'name', offset: token.startOffset, name: image };
    return {
      kind: 'component',
      offset: token.startOffset,
      name: image.slice(0, dot),
      component: image.slice(dot + 1),
    };
  }

  /** Takes the next token if it is an integer that stands alone: the common element of long initialisers. */
  protected takeLoneInteger(): Expression | undefined {
    if (this.LA(1).tokenTypeIdx !== INT || endsOperand[this.LA(2).tokenTypeIdx] !== 1 || this.RECORDING_PHASE) {
      return undefined;
    }
    return this.integerNode(this.take());
  }

  /** PTX ISA 6.4: an operand of an instruction. */
  protected operand: ParserMethod<[boolean?], Operand> = this.RULE('operand', (inCall?: boolean): Operand => {
    // Nearly all operands are one word or one number.
    if (endsOperand[this.LA(2).tokenTypeIdx] === 1 && !this.RECORDING_PHASE) {
      const token = this.LA(1);
      if (token.tokenTypeIdx === WORD) return this.nameNode(this.take());
      if (token.tokenTypeIdx === INT) return this.integerNode(this.take());
    }
    this.enter();
    let operand = this.OR<Operand>({
      DEF: [
        { ALT: () => this.SUBRULE(this.addressOperand) },
        { ALT: () => this.SUBRULE(this.vectorOperand) },
        { GATE: () => this.isList(inCall === true), ALT: () => this.SUBRULE(this.listOperand) },
        { ALT: () => this.SUBRULE(this.plainOperand), IGNORE_AMBIGUITIES: true },
      ],
      ERR_MSG: 'an operand',
    });
    this.OPTION(() => {
      this.CONSUME(t.Or);
      const second = this.SUBRULE2(this.operand);
      operand = { kind: 'pair', offset: operand.offset, first: operand, second };
    });
    this.leave();
    return operand;
  });

  /** Whether the parenthesis ahead opens a list of a call rather than an expression. */
  private isList(inCall: boolean): boolean {
    if (inCall) return true;
    // An instruction we do not know may take lists too: a comma inside, or nothing inside, makes a list.
    if (this.LA(2).tokenType === t.RParen) return true;
    for (let i = 2, depth = 1; ; i++) {
      const type = this.LA(i).tokenType;
      if (type === t.LParen) depth++;
      else if (type === t.RParen && --depth === 0) return false;
      else if (type === t.Comma && depth === 1) return true;
      else if (type === t.Semicolon || Number.isNaN(this.LA(i).startOffset)) return false;
    }
  }

  /** A name before `|` makes a pair of destinations, unless it is the constant `WARP_SZ`. */
  private plainOperand = this.RULE('plainOperand', (): Operand => {
    const name = this.LA(1);
    if (
      !this.RECORDING_PHASE &&
      name.tokenTypeIdx === WORD &&
      this.LA(2).tokenType === t.Or &&
      this.LA(3).tokenTypeIdx === WORD &&
      name.image !== 'WARP_SZ'
    ) {
      return this.nameNode(this.take());
    }
    return this.SUBRULE(this.expression);
  });

  /** PTX ISA 6.4.1: `[base]`, `[base+offset]`, `[map, {x, y}]`. */
  private addressOperand = this.RULE('addressOperand', (): AddressOperand => {
    const open = this.CONSUME(t.LBracket);
    let base: Expression | undefined;
    let displacement: Expression | undefined;
    const first = this.LA(1);
    if (first.tokenTypeIdx === WORD && first.image !== 'WARP_SZ' && !this.RECORDING_PHASE) {
      // A register or variable takes nothing but `+ offset`: `[a-16]` and `[a[4]]` are no PTX.
      base = this.nameNode(this.take());
      if (this.LA(1).tokenType === t.Plus) {
        this.take();
        const number = this.LA(1);
        if (number.tokenTypeIdx === INT && this.LA(2).tokenType === t.RBracket) {
          displacement = this.integerNode(this.take());
        } else displacement = this.SUBRULE(this.expression);
      }
    } else base = this.SUBRULE2(this.expression);
    const rest: Operand[] = [];
    this.MANY(() => {
      this.CONSUME(t.Comma);
      rest.push(this.SUBRULE(this.operand));
    });
    this.CONSUME(t.RBracket, { ERR_MSG: "']'\n'+'\n','" });
    const qualifiers: string[] = [];
    this.MANY2(() => qualifiers.push(this.CONSUME(t.Dotted).image.slice(1)));
    return {
      kind: 'address',
      offset: open.startOffset,
      base,
      ...(displacement === undefined ? undefined : { displacement }),
      rest,
      ...(qualifiers.length === 0 ? undefined : { qualifiers }),
    };
  });

  /** PTX ISA 6.4.3: `{a, b, c, d}`. */
  private vectorOperand = this.RULE('vectorOperand', (): Operand => {
    const open = this.CONSUME(t.LBrace);
    const elements: Operand[] = [];
    this.MANY_SEP({ SEP: t.Comma, DEF: () => elements.push(this.SUBRULE(this.operand)) });
    this.CONSUME(t.RBrace, { ERR_MSG: "','\n'}'" });
    return { kind: 'vector', offset: open.startOffset, elements };
  });

  /** PTX ISA 9.7.13.5: the argument lists of `call`. */
  private listOperand = this.RULE('listOperand', (): Operand => {
    const open = this.CONSUME(t.LParen);
    const elements: Operand[] = [];
    this.MANY_SEP({ SEP: t.Comma, DEF: () => elements.push(this.SUBRULE(this.operand)) });
    this.CONSUME(t.RParen, { ERR_MSG: "','\n')'" });
    return { kind: 'list', offset: open.startOffset, elements };
  });

  /** PTX ISA 4.5.4: a constant expression, or a plain operand. */
  protected expression: ParserMethod<[], Expression> = this.RULE('expression', (): Expression => {
    const condition = this.SUBRULE(this.binary, { ARGS: [1] });
    let result = condition;
    this.OPTION(() => {
      this.CONSUME(t.Question);
      this.enter();
      const whenTrue = this.SUBRULE1(this.expression);
      this.CONSUME(t.Colon);
      const whenFalse = this.SUBRULE2(this.expression);
      this.leave();
      result = { kind: 'conditional', offset: condition.offset, condition, whenTrue, whenFalse };
    });
    return result;
  });

  /** Binary operators of at least the given precedence, by precedence climbing. */
  private binary: ParserMethod<[number], Expression> = this.RULE('binary', (minimum: number): Expression => {
    let left = this.SUBRULE(this.unary);
    let operators = 0;
    this.MANY({
      GATE: () => precedenceByType[this.LA(1).tokenTypeIdx]! >= minimum,
      DEF: () => {
        // A long sum is a deep tree too, to the left.
        this.enter(1);
        operators++;
        const operator = this.CONSUME(t.BinaryOperatorToken);
        const precedence = precedenceByType[operator.tokenTypeIdx]!;
        const right = this.SUBRULE(this.binary, { ARGS: [precedence + 1] });
        left = { kind: 'binary', offset: left.offset, operator: operator.image as BinaryOperator, left, right };
      },
    });
    this.leave(operators);
    return left;
  });

  private unary: ParserMethod<[], Expression> = this.RULE('unary', (): Expression => {
    this.enter();
    const result = this.OR<Expression>({
      DEF: [
        {
          ALT: () => {
            const operator = this.OR2([
              { ALT: () => this.CONSUME(t.Minus) },
              { ALT: () => this.CONSUME(t.Plus) },
              { ALT: () => this.CONSUME(t.Not) },
              { ALT: () => this.CONSUME(t.Tilde) },
            ]);
            const operand = this.SUBRULE(this.unary);
            return {
              kind: 'unary',
              offset: operator.startOffset,
              operator: operator.image as UnaryExpression['operator'],
              operand,
            };
          },
        },
        { ALT: () => this.SUBRULE(this.parenthesised) },
        { ALT: () => this.SUBRULE(this.named) },
        { ALT: () => this.SUBRULE(this.integer) },
        { ALT: () => this.floatNode(this.CONSUME(t.Float)) },
        { ALT: () => this.SUBRULE(this.string) },
      ],
      ERR_MSG: 'an operand',
    });
    this.leave();
    return result;
  });

  /** `(expr)`, which leaves no trace in the tree, and the cast `(.s64) expr`. */
  private parenthesised = this.RULE('parenthesised', (): Expression => {
    const open = this.CONSUME(t.LParen);
    return this.OR<Expression>({
      DEF: [
        {
          ALT: () => {
            const type = this.CONSUME(t.DotWord).image.slice(1);
            this.CONSUME1(t.RParen);
            const operand = this.SUBRULE(this.unary);
            return { kind: 'cast', offset: open.startOffset, type, operand };
          },
        },
        {
          ALT: () => {
            const inner = this.SUBRULE(this.expression);
            this.CONSUME2(t.RParen);
            return inner;
          },
        },
      ],
      ERR_MSG: 'an operand',
    });
  });

  /** A name, `name.component`, `name[index]`, `generic(expr)`. */
  private named = this.RULE('named', (): Expression => {
    const word = this.CONSUME(t.Word);
    const name = this.nameNode(word) as NameOperand;
    return (
      this.OPTION(() =>
        this.OR<Expression>([
          {
            ALT: () => {
              this.CONSUME(t.LBracket);
              const index = this.SUBRULE1(this.expression);
              this.CONSUME(t.RBracket);
              return { kind: 'element', offset: name.offset, name: word.image, index };
            },
          },
          {
            ALT: () => {
              const open = this.CONSUME(t.LParen);
              if (word.image !== 'generic' && !this.RECORDING_PHASE) {
                throw new GrammarError('GCR2002', "found '('", open, ["','", "';'"]);
              }
              const operand = this.SUBRULE2(this.expression);
              this.CONSUME(t.RParen);
              return { kind: 'generic', offset: name.offset, operand };
            },
          },
          {
            ALT: () => {
              // A component set off by white space: ptxas takes `%tid .x`.
              const suffix = this.CONSUME(t.DotWord);
              return this.nameNode({ ...word, image: word.image + suffix.image });
            },
          },
        ]),
      ) ?? name
    );
  });

  /** An integer, or the byte mask `0xFF00(expr)` (PTX ISA 5.4.4). */
  private integer = this.RULE('integer', (): Expression => {
    const literal = this.CONSUME(t.Int);
    return (
      this.OPTION(() => {
        this.CONSUME(t.LParen);
        const operand = this.SUBRULE(this.expression);
        this.CONSUME(t.RParen);
        return { kind: 'mask' as const, offset: literal.startOffset, mask: this.integerOf(literal), operand };
      }) ?? this.integerNode(literal)
    );
  });

  protected string = this.RULE('string', (): Expression & { kind: 'string' } => {
    const token = this.CONSUME(t.StringToken);
    return { kind: 'string', offset: token.startOffset, text: token.image.slice(1, -1) };
  });

  protected integerNode(token: IToken): Expression & { kind: 'integer' } {
    const image = token.image;
    return {
      kind: 'integer',
      offset: token.startOffset,
      value: this.integerOf(token),
      unsigned: image.charCodeAt(image.length - 1) === 85,
    };
  }

  private floatNode(token: IToken): Expression {
    const { width, bits } = this.RECORDING_PHASE ? { width: 64 as const, bits: 0n } : floatBits(token.image);
    return { kind: 'float', offset: token.startOffset, text: token.image, width, bits };
  }

  /** Whether a token begins with a dot, keyword or not. */
  protected isDotted(token: IToken): boolean {
    return tokenMatcher(token, t.Dotted);
  }
}
