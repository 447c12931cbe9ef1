/**
 * Tokens of PTX (PTX ISA chapter 4) and the lexer. A word with all its dotted suffixes is one token (`ld.global.v4.u32`,
 * `%tid.x`), because that is what an opcode is, and because token objects are what parsing costs. Directives are lexed as
 * one token type and told apart afterwards through a table: thirty keyword patterns that begin with a dot would be tried
 * one after the other.
 *
 * Agreement with the outline: `outline.ts` skips comments, strings and `#` lines by the same rules.
 */
import { createToken, type IToken, Lexer, type TokenType } from './chevrotain.js';

/** White space and comments (PTX ISA 4.1, 4.2), and the backslash, which ptxas passes over in most places. */
const Blank = createToken({
  name: 'Blank',
  pattern: /(?:[ \t\r\n\f\v\\]|\/\/[^\n]*|\/\*[^*]*\*+(?:[^/*][^*]*\*+)*\/)+/,
  start_chars_hint: [' ', '\t', '\r', '\n', '\f', '\v', '\\', '/'],
  line_breaks: true,
  group: Lexer.SKIPPED,
});

/** A line of the C preprocessor (PTX ISA 4.1); ptxas skips it when it stands at the start of a line. */
const HashLine = createToken({
  name: 'HashLine',
  pattern: /(?<!\S[ \t\r]*)#[^\n]*/,
  start_chars_hint: ['#'],
  line_breaks: false,
  group: Lexer.SKIPPED,
});

/** A line of the old form of debugging data (PTX ISA 11.5.1). */
export const DwarfLine = createToken({
  name: 'DwarfLine',
  pattern: /@@DWARF[^\n]*/,
  start_chars_hint: ['@'],
  label: "'@@DWARF'",
});

/** A word with or without a leading dot, keywords excepted; parent type. */
export const AnyName = createToken({ name: 'AnyName', pattern: Lexer.NA, label: 'a name' });

/** An identifier (PTX ISA 4.4) with the dotted words that follow it without space. */
export const Word = createToken({
  name: 'Word',
  pattern: /(?:[A-Za-z_][\w$]*|[$%][\w$]+)(?:\.[\w$]+(?:::[\w$]+)*)*/,
  start_chars_hint: [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_$%'],
  label: 'a name',
  categories: AnyName,
});

/** Any word that begins with a dot; parent of the directive keywords. */
export const Dotted = createToken({ name: 'Dotted', pattern: Lexer.NA, label: 'a directive' });

/** A dotted word that is no keyword: a type, a modifier, a directive without rules of its own. */
export const DotWord = createToken({
  name: 'DotWord',
  pattern: /\.[\w$]+(?:::[\w$]+)*/,
  start_chars_hint: ['.'],
  categories: [Dotted, AnyName],
  label: "a type such as '.b32'",
});

/** Parent of floats and integers. */
export const NumberToken = createToken({ name: 'Number', pattern: Lexer.NA, label: 'a number' });

/** PTX ISA 4.5.2. A leading dot followed by digits and letters (`.32x32b`) is a modifier, not a number. */
export const Float = createToken({
  name: 'Float',
  pattern:
    /0[fF][\da-fA-F]{8}(?![\w$])|0[dD][\da-fA-F]{16}(?![\w$])|(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w$])|\d+[eE][+-]?\d+(?![\w$])/,
  start_chars_hint: [...'.0123456789'],
  label: 'a number',
  categories: NumberToken,
});

/** PTX ISA 4.5.1. */
export const Int = createToken({
  name: 'Int',
  pattern: /0[xX][\da-fA-F]+U?|0[bB][01]+U?|\d+U?/,
  start_chars_hint: [...'0123456789'],
  label: 'an integer',
  categories: NumberToken,
});

/** Strings have no escapes and may run over lines: that is what ptxas does. */
export const StringToken = createToken({
  name: 'String',
  pattern: /"[^"]*"/,
  start_chars_hint: ['"'],
  line_breaks: true,
  label: 'a string',
});

/** Operators with two operands (PTX ISA 4.5.4). */
export const BinaryOperatorToken = createToken({ name: 'BinaryOperator', pattern: Lexer.NA, label: 'an operator' });
const binary = [BinaryOperatorToken];

const punctuators: TokenType[] = [];
function punctuator(name: string, pattern: string, categories: TokenType[] = []): TokenType {
  const type = createToken({ name, pattern, label: `'${pattern}'`, categories });
  punctuators.push(type);
  return type;
}

// Longer ones first: the lexer takes the first match.
export const Ellipsis = punctuator('Ellipsis', '...');
export const ShiftLeft = punctuator('ShiftLeft', '<<', binary);
export const ShiftRight = punctuator('ShiftRight', '>>', binary);
export const LessEqual = punctuator('LessEqual', '<=', binary);
export const GreaterEqual = punctuator('GreaterEqual', '>=', binary);
export const EqualEqual = punctuator('EqualEqual', '==', binary);
export const NotEqual = punctuator('NotEqual', '!=', binary);
export const AndAnd = punctuator('AndAnd', '&&', binary);
export const OrOr = punctuator('OrOr', '||', binary);
export const LBrace = punctuator('LBrace', '{');
export const RBrace = punctuator('RBrace', '}');
export const LParen = punctuator('LParen', '(');
export const RParen = punctuator('RParen', ')');
export const LBracket = punctuator('LBracket', '[');
export const RBracket = punctuator('RBracket', ']');
export const Comma = punctuator('Comma', ',');
export const Semicolon = punctuator('Semicolon', ';');
export const Colon = punctuator('Colon', ':');
export const Equals = punctuator('Equals', '=');
export const Plus = punctuator('Plus', '+', binary);
export const Minus = punctuator('Minus', '-', binary);
export const Star = punctuator('Star', '*', binary);
export const Slash = punctuator('Slash', '/', binary);
export const Percent = punctuator('Percent', '%', binary);
export const Less = punctuator('Less', '<', binary);
export const Greater = punctuator('Greater', '>', binary);
export const And = punctuator('And', '&', binary);
export const Caret = punctuator('Caret', '^', binary);
export const Or = punctuator('Or', '|', binary);
export const Not = punctuator('Not', '!');
export const Tilde = punctuator('Tilde', '~');
export const Question = punctuator('Question', '?');
export const At = punctuator('At', '@');

/** Directives with rules of their own, by spelling. */
export const KEYWORDS = new Map<string, TokenType>();
function keyword(spelling: string, ...categories: TokenType[]): TokenType {
  const type = createToken({
    name: `Kw_${spelling}`,
    pattern: Lexer.NA,
    label: `'.${spelling}'`,
    categories: [Dotted, ...categories],
  });
  KEYWORDS.set(`.${spelling}`, type);
  return type;
}

export const Version = keyword('version');
export const Target = keyword('target');
export const AddressSize = keyword('address_size');
export const File = keyword('file');
export const Loc = keyword('loc');
export const Section = keyword('section');
export const Pragma = keyword('pragma');
export const Alias = keyword('alias');
/** Parent of `.entry` and `.func`. */
export const FunctionWord = createToken({ name: 'Function', pattern: Lexer.NA, label: "'.entry' or '.func'" });
export const Entry = keyword('entry', FunctionWord);
export const Func = keyword('func', FunctionWord);
export const BranchTargetsWord = keyword('branchtargets');
export const CallTargetsWord = keyword('calltargets');
export const CallPrototypeWord = keyword('callprototype');
export const Align = keyword('align');
export const AttributeWord = keyword('attribute');
export const Ptr = keyword('ptr');
/** Parent of `.v2`, `.v4`, `.v8`. */
export const VectorWord = createToken({ name: 'Vector', pattern: Lexer.NA, label: "'.v2'" });
for (const spelling of ['v2', 'v4', 'v8']) keyword(spelling, VectorWord);

/** PTX ISA 11.6. */
export const LinkingWord = createToken({ name: 'Linking', pattern: Lexer.NA, label: 'a linking directive' });
for (const spelling of ['extern', 'visible', 'weak', 'common']) keyword(spelling, LinkingWord);

/** State spaces that declare variables (PTX ISA 5.1). */
export const SpaceWord = createToken({ name: 'Space', pattern: Lexer.NA, label: "a state space such as '.reg'" });
for (const spelling of ['reg', 'sreg', 'const', 'global', 'local', 'param', 'shared', 'tex']) {
  keyword(spelling, SpaceWord);
}

/**
 * Stands in a token vector for a block in braces that was dealt with on its own: a function body, an initialiser, the
 * content of a section. The payload holds the result.
 */
export const BodyBlock = createToken({ name: 'BodyBlock', pattern: Lexer.NA, label: "'{'" });
export const InitializerBlock = createToken({ name: 'InitializerBlock', pattern: Lexer.NA, label: "'{'" });
export const SectionBlock = createToken({ name: 'SectionBlock', pattern: Lexer.NA, label: "'{'" });

const lexed: TokenType[] = [
  Blank,
  Word,
  Float,
  Int,
  Ellipsis,
  DotWord,
  DwarfLine,
  StringToken,
  HashLine,
  ...punctuators.filter((type) => type !== Ellipsis),
];

/** Every token type, for the parser. */
export const VOCABULARY: TokenType[] = [
  ...lexed,
  AnyName,
  NumberToken,
  Dotted,
  BinaryOperatorToken,
  FunctionWord,
  VectorWord,
  LinkingWord,
  SpaceWord,
  ...KEYWORDS.values(),
  BodyBlock,
  InitializerBlock,
  SectionBlock,
];

/** `ensureOptimizations` makes construction fail if the lexer could not dispatch on the first character. */
export const PTX_LEXER = new Lexer(lexed, {
  positionTracking: 'onlyOffset',
  ensureOptimizations: true,
  skipValidations: false,
});

/** A stretch of text that is no token. */
export interface LexicalError {
  readonly offset: number;
  readonly length: number;
}

/**
 * Tokenises `text[start, end)`. Token offsets are relative to the whole text.
 *
 * A word right behind `.entry`, `.func` or a closing parenthesis is the name of a function, so directives glued to it
 * (`.entry k.maxntid 32`) are split off.
 */
export function tokenize(text: string, start: number, end: number): { tokens: IToken[]; errors: LexicalError[] } {
  const result = PTX_LEXER.tokenize(text.slice(start, end));
  const tokens = result.tokens;
  const dotWord = DotWord.tokenTypeIdx;
  const splits: number[] = [];
  let previous: TokenType | undefined;
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    token.startOffset += start;
    if (token.tokenTypeIdx === dotWord) {
      const type = KEYWORDS.get(token.image);
      if (type !== undefined) {
        token.tokenType = type;
        token.tokenTypeIdx = type.tokenTypeIdx!;
      }
    } else if (token.tokenType === Word && (previous === Entry || previous === Func || previous === RParen)) {
      if (token.image.includes('.')) splits.push(i);
    }
    previous = token.tokenType;
  }
  return {
    tokens: splits.length === 0 ? tokens : splitWords(tokens, splits),
    errors: result.errors.map((error) => ({ offset: error.offset + start, length: error.length })),
  };
}

function splitWords(tokens: readonly IToken[], indices: readonly number[]): IToken[] {
  const toSplit = new Set(indices);
  return tokens.flatMap((token, index) => {
    if (!toSplit.has(index)) return [token];
    let offset = token.startOffset;
    return token.image.split(/(?=\.)/).map((image, part) => {
      const type = part === 0 ? Word : (KEYWORDS.get(image) ?? DotWord);
      const piece: IToken = { ...token, image, startOffset: offset, tokenType: type, tokenTypeIdx: type.tokenTypeIdx! };
      offset += image.length;
      return piece;
    });
  });
}
