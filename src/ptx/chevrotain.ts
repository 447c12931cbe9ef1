/**
 * The parser library, from the one file that its package ships beside its entry point: that one loads some hundred small files of other packages, which
 * takes twenty times as long, and longer than parsing most modules. Where the file is not found (before Node.js 20.6, in a bundle) it is the entry point.
 */
import { existsSync } from 'node:fs';
import type * as Chevrotain from 'chevrotain';

/** The file that has all of the library. */
export function libraryFile(): string | undefined {
  try {
    const file = new URL('../chevrotain.min.mjs', import.meta.resolve('chevrotain'));
    return existsSync(file) ? file.href : undefined;
  } catch {
    return undefined;
  }
}

const file = libraryFile();
const library = file === undefined ? await import('chevrotain') : ((await import(file)) as typeof Chevrotain);
export const { createToken, EMPTY_ALT, EmbeddedActionsParser, EOF, Lexer, tokenMatcher } = library;
export type {
  IParserErrorMessageProvider,
  IRecognitionException,
  IToken,
  ParserMethod,
  TokenType,
} from 'chevrotain';
