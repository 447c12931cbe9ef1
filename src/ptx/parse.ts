/**
 * Text to syntax tree. The outline splits the text; bodies, initialisers and the text between them are tokenised and
 * parsed one slice at a time, so memory is bounded by the tree and not by the tokens, and cost is linear.
 *
 * Guarantees to later stages: no exception for bad input; where text of a body could not be parsed, the body holds an
 * `unknownDirective` with that text in its place, so an analysis never mistakes a body with a gap for a whole one.
 */
import { type Diagnostic, type DiagnosticCode, InternalError, SourceText } from '../diagnostics/index.js';
import type { FunctionDeclaration, InitializerList, Module, ModuleItem, Statement } from './ast.js';
import { EOF, type IRecognitionException, type IToken, type TokenType } from './chevrotain.js';
import { checkBodyNames, checkModuleNames } from './duplicates.js';
import type { BodyPayload } from './grammar-declarations.js';
import { GrammarError } from './grammar-expressions.js';
import { grammar } from './grammar-module.js';
import { DEFAULT_MAX_ERRORS } from './limits.js';
import { firstToken, outline, type Piece } from './outline.js';
import * as t from './tokens.js';

/** How to parse. */
export interface ParseOptions {
  /** Display name for diagnostics, `<text>` when absent. */
  readonly name?: string;
  /** `skip`: functions get a `bodySpan` but no `body`; bodies cost no more than the outline. Default `parse`. */
  readonly bodies?: 'parse' | 'skip';
  /** Errors after which parsing stops; at least 1, default 20. */
  readonly maxErrors?: number;
}

/** A product together with what was found on the way. */
export interface Parsed<Product> {
  readonly product: Product;
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Parses a PTX module: the text from a `.version` directive on (PTX ISA chapter 4).
 *
 * Offsets in the tree are indices into `text`. Never throws for bad input: the product holds everything that could be
 * parsed, the diagnostics (GCR2001–GCR2009, all errors) say what could not.
 */
export function parse(text: string, options: ParseOptions = {}): Parsed<Module> {
  const run = new Run(text, options);
  const items = run.module(options.bodies !== 'skip');
  return { product: { kind: 'module', items }, diagnostics: run.finish() };
}

/**
 * Parses the body of a function that {@link parse} found with `bodies: 'skip'`.
 *
 * @param text the whole text that the module was parsed from; offsets of statements are indices into it.
 * @returns no statements for a forward declaration.
 */
export function parseBody(
  text: string,
  fn: FunctionDeclaration,
  options: ParseOptions = {},
): Parsed<readonly Statement[]> {
  const run = new Run(text, options);
  const statements = fn.bodySpan === undefined ? [] : run.functionBody(fn);
  return { product: statements, diagnostics: run.finish() };
}

/** Ends a run early: too many errors, or too large a tree. */
class Stop extends Error {}

class Run {
  private readonly source: SourceText;
  private readonly maxErrors: number;
  private readonly found: { readonly offset: number; readonly diagnostic: Diagnostic }[] = [];

  constructor(
    private readonly text: string,
    options: ParseOptions,
  ) {
    this.source = new SourceText(options.name ?? '<text>', text);
    this.maxErrors = Math.max(1, options.maxErrors ?? DEFAULT_MAX_ERRORS);
  }

  finish(): readonly Diagnostic[] {
    return this.found.sort((a, b) => a.offset - b.offset).map(({ diagnostic }) => diagnostic);
  }

  module(withBodies: boolean): readonly ModuleItem[] {
    const items: ModuleItem[] = [];
    grammar.beginText(items);
    this.untilStopped(() => {
      const { pieces, problems, truncated } = outline(this.text);
      for (const { code, offset, message, expected } of problems) {
        this.error(code, offset, message, expected, code === 'GCR2008' ? 'is this a binary file?' : undefined);
        if (code === 'GCR2008') return;
      }
      if (!this.text.startsWith('.version', firstToken(this.text))) {
        this.error('GCR2007', 0, "a PTX module must begin with '.version'", ["'.version'"]);
      }
      this.pieces(pieces, withBodies, truncated);
      checkModuleNames(items, (offset, message) => this.error('GCR2006', offset, message));
    });
    return items;
  }

  functionBody(fn: FunctionDeclaration): readonly Statement[] {
    const { offset, length } = fn.bodySpan!;
    let statements: readonly Statement[] = [];
    grammar.beginText([]);
    this.untilStopped(() => {
      const end = Math.min(offset + length, this.text.length);
      const inner = outline(`.func ${this.text.slice(offset, end)}`).pieces.find((piece) => piece.kind === 'body');
      const shift = offset - 6;
      const cuts = (inner?.cuts ?? []).map((cut) => cut + shift);
      const closed = this.text.charCodeAt(end - 1) === 125 && inner?.closed === true;
      statements = this.body({ kind: 'body', offset, end, cuts, closed, oversize: inner?.oversize === true });
      checkBodyNames(fn, statements, (at, message) => this.error('GCR2006', at, message));
    });
    return statements;
  }

  // ---- pieces ----

  private pieces(pieces: readonly Piece[], withBodies: boolean, truncated: boolean): void {
    let pending: IToken[] = [];
    const flush = (): void => {
      if (pending.length > 0) this.runTokens(pending, () => grammar.moduleItems(), true);
      pending = [];
    };
    for (const piece of pieces) {
      switch (piece.kind) {
        case 'text': {
          let start = piece.offset;
          for (const end of [...piece.cuts, piece.end]) {
            for (const token of this.tokens(start, end)) pending.push(token);
            if (end !== piece.end) flush();
            start = end;
          }
          break;
        }
        case 'body': {
          const span = { offset: piece.offset, length: piece.end - piece.offset };
          const payload: BodyPayload = withBodies ? { span, statements: this.body(piece) } : { span };
          pending.push(blockToken(t.BodyBlock, piece.offset, payload));
          flush();
          break;
        }
        case 'initializer':
          pending.push(blockToken(t.InitializerBlock, piece.offset, this.initializer(piece)));
          break;
        case 'section':
          pending.push(
            blockToken(
              t.SectionBlock,
              piece.offset,
              this.text.slice(piece.offset + 1, piece.end - (piece.closed ? 1 : 0)),
            ),
          );
          flush();
          break;
      }
    }
    this.truncated = truncated;
    flush();
  }

  /** Statements of a body, braces excluded. */
  private body(piece: Piece): readonly Statement[] {
    const statements = grammar.beginBody(piece.offset, piece.closed);
    if (piece.oversize) {
      grammar.addGap(piece.offset, '');
      return statements;
    }
    const last = piece.closed ? piece.end - 1 : piece.end;
    let start = piece.offset + 1;
    for (const end of [...piece.cuts, last]) {
      const findings = this.found.length;
      const tokens = this.tokens(start, end);
      if (this.found.length > findings) grammar.addGap(start, '');
      this.truncated = !piece.closed && end === last;
      this.runTokens(tokens, () => grammar.statements(), false);
      this.truncated = false;
      start = end;
    }
    grammar.endBody();
    if (!piece.closed) grammar.addGap(piece.end, '');
    return statements;
  }

  private initializer(piece: Piece): InitializerList {
    if (piece.oversize) return { kind: 'initializerList', offset: piece.offset, elements: [] };
    grammar.beginInitializer();
    let list: InitializerList | undefined;
    let start = piece.offset;
    for (const end of [...piece.cuts, piece.end]) {
      const tokens = this.tokens(start, end);
      grammar.feed(tokens, 0);
      const failure = this.attempt(() => {
        list = (start === piece.offset ? grammar.initializerList() : grammar.initializerRest()) ?? list;
      });
      if (failure !== undefined) {
        this.truncated = !piece.closed;
        this.report(failure, tokens);
        this.truncated = false;
        break;
      }
      start = end;
    }
    return list ?? { kind: 'initializerList', offset: piece.offset, elements: [] };
  }

  private tokens(start: number, end: number): IToken[] {
    const { tokens, errors } = t.tokenize(this.text, start, end);
    for (const { offset } of errors) {
      const char = this.text.codePointAt(offset)!;
      const shown =
        char > 32 && char < 127 ? `'${String.fromCodePoint(char)}'` : `U+${char.toString(16).padStart(4, '0')}`;
      this.error('GCR2001', offset, `the character ${shown} cannot stand here`);
    }
    return tokens;
  }

  // ---- errors ----

  /**
   * Runs a rule over tokens; after a syntax error goes on behind the statement that holds it, until the tokens end.
   */
  private runTokens(tokens: IToken[], rule: () => void, atModuleLevel: boolean): void {
    for (let index = 0; index < tokens.length; ) {
      grammar.feed(tokens, index);
      const failure = this.attempt(rule);
      if (failure === undefined) return;
      const at = this.report(failure, tokens);
      const begin = Math.max(index, tokens.indexOf(grammar.currentStatement ?? tokens[index]!, index));
      index = Math.max(begin + 1, atModuleLevel ? nextItem(tokens, at) : nextStatement(tokens, begin, at));
      const beginOffset = tokens[begin]!.startOffset;
      const after = tokens[index - 1]!;
      if (!atModuleLevel)
        grammar.addGap(beginOffset, this.text.slice(beginOffset, after.startOffset + after.image.length));
    }
  }

  private attempt(rule: () => void): Failure | undefined {
    try {
      rule();
    } catch (error) {
      if (error instanceof GrammarError) return error;
      throw error;
    }
    const [first] = grammar.errors;
    return first;
  }

  /** Reports a failure and returns the index of its token, the number of tokens when the text ended. */
  private report(failure: Failure, tokens: readonly IToken[]): number {
    const { token } = failure;
    const index = token.tokenType === EOF ? tokens.length : tokens.indexOf(token);
    if (index < 0) throw new InternalError(`error at a foreign token '${token.image}'`);
    // After an unclosed construct, that the last statement has no end is no further error.
    if (this.truncated && index >= tokens.length) return index;
    const last = tokens[tokens.length - 1];
    const offset =
      index < tokens.length ? token.startOffset : last === undefined ? 0 : last.startOffset + last.image.length;
    const shown = token.image.length > 40 ? `${token.image.slice(0, 40)}…` : token.image;
    const what = index < tokens.length ? `found '${shown}'` : 'the text ends here';
    if (failure instanceof GrammarError) {
      this.error(failure.code, offset, failure.message || what, failure.expected);
      // What is too large now only grows.
      if (failure.code === 'GCR2005') throw new Stop();
    } else {
      this.error('GCR2002', offset, what, failure.message.split('\n'));
    }
    return index;
  }

  private error(
    code: DiagnosticCode,
    offset: number,
    message: string,
    expected?: readonly string[],
    hint?: string,
  ): void {
    const details = {
      code,
      severity: 'error' as const,
      message,
      ...(expected === undefined ? undefined : { expected }),
      ...(hint === undefined ? undefined : { hint }),
    };
    this.found.push({ offset, diagnostic: this.source.diagnostic(offset, details) });
    if (this.found.length >= this.maxErrors) throw new Stop();
  }

  /** The tokens at hand end where the text was cut short by a problem that is reported already. */
  private truncated = false;

  private untilStopped(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
    }
  }
}

type Failure = GrammarError | IRecognitionException;

function blockToken(type: TokenType, offset: number, payload: unknown): IToken {
  return { image: '{', startOffset: offset, tokenType: type, tokenTypeIdx: type.tokenTypeIdx!, payload };
}

/** Where to go on at module level: behind the next semicolon or block, or at a linking or function directive. */
function nextItem(tokens: readonly IToken[], from: number): number {
  for (let index = from; index < tokens.length; index++) {
    const type = tokens[index]!.tokenType;
    if (type === t.Semicolon || type === t.BodyBlock || type === t.SectionBlock) return index + 1;
    if (index > from && (type === t.Entry || type === t.Func || type.CATEGORIES?.includes(t.LinkingWord))) return index;
  }
  return tokens.length;
}

/**
 * Where to go on in a body: behind the next semicolon, or at a brace of a scope. Braces of vectors are told from braces of
 * scopes by what stands before them.
 */
function nextStatement(tokens: readonly IToken[], begin: number, from: number): number {
  let vectors = 0;
  for (let index = begin; index < tokens.length; index++) {
    const type = tokens[index]!.tokenType;
    if (type === t.Semicolon && index >= from) return index + 1;
    if (type === t.LBrace && index > begin) {
      const before = tokens[index - 1]!.tokenType;
      const opensVector =
        before === t.Comma ||
        before === t.LBrace ||
        before === t.LBracket ||
        before === t.LParen ||
        before === t.Equals;
      if (opensVector || (before === t.Word && index - 1 >= begin)) vectors++;
      else if (index >= from) return index;
    } else if (type === t.RBrace) {
      if (vectors > 0) vectors--;
      else if (index >= from) return index;
    }
  }
  return tokens.length;
}
