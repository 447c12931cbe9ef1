/**
 * What was expected where a syntax error stands, in words that a writer of PTX understands. Chevrotain asks an error
 * message provider for the text of each exception; this one hands over the expectations alone, one a line, and
 * `parse.ts` makes the diagnostic of them.
 */
import type { IParserErrorMessageProvider, TokenType } from './chevrotain.js';

const MAX_SHOWN = 8;

/** What may begin an item at module level, and a statement in a body. */
export const AT_MODULE_LEVEL = "a directive such as '.entry', '.func' or '.global'";
export const IN_BODY = "an instruction\na directive\na label\n'}'";

function labels(types: readonly TokenType[]): string {
  const all = new Set(types.map((type) => type.LABEL ?? type.name));
  return [...all].slice(0, MAX_SHOWN).join('\n');
}

/** Turns what chevrotain knows of an error into a list of expectations, joined by line feeds. */
export class ExpectationProvider implements IParserErrorMessageProvider {
  buildMismatchTokenMessage(options: { expected: TokenType }): string {
    return labels([options.expected]);
  }

  /** The loop over statements or items met a token that begins none. */
  buildNotAllInputParsedMessage(options: { ruleName: string }): string {
    return options.ruleName === 'moduleItems' ? AT_MODULE_LEVEL : IN_BODY;
  }

  buildNoViableAltMessage(options: { expectedPathsPerAlt: TokenType[][][]; customUserDescription?: string }): string {
    if (options.customUserDescription) return options.customUserDescription;
    const firsts = options.expectedPathsPerAlt.flatMap((paths) => paths.map((path) => path[0]));
    return labels(firsts.filter((type) => type !== undefined));
  }

  buildEarlyExitMessage(options: { expectedIterationPaths: TokenType[][]; customUserDescription?: string }): string {
    if (options.customUserDescription) return options.customUserDescription;
    const firsts = options.expectedIterationPaths.map((path) => path[0]);
    return labels(firsts.filter((type) => type !== undefined));
  }
}
