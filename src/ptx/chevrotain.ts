/**
 * The parser library, from the one file that its package ships beside its entry point: that one loads some hundred small files of other packages, which
 * takes twenty times as long, and longer than parsing most modules. Where the file is not found it is the entry point.
 */
import { existsSync } from 'node:fs';
import type * as Chevrotain from 'chevrotain';

/** Where the library is loaded from. */
export function libraryPlace(): string {
  try {
    const oneFile = new URL('../chevrotain.min.mjs', import.meta.resolve('chevrotain'));
    return existsSync(oneFile) ? oneFile.href : 'chevrotain';
  } catch {
    // Before Node.js 20.6 nothing resolves.
    return 'chevrotain';
  }
}

export const { createToken, EMPTY_ALT, EmbeddedActionsParser, EOF, Lexer, tokenMatcher } = (await import(
  libraryPlace()
)) as typeof Chevrotain;
export type {
  IParserErrorMessageProvider,
  IRecognitionException,
  IToken,
  ParserMethod,
  TokenType,
} from 'chevrotain';
