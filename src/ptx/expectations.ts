/**
 * What was expected where a syntax error stands, in words that a writer of PTX understands. Chevrotain asks an error
 * message provider for the text of each exception; this one hands over the expectations alone, one a line, and
 * `parse.ts` makes the diagnostic of them.
 */
import type { IParserErrorMessageProvider, TokenType } from 'chevrotain';

const MAX_SHOWN = 8;

function labels(types: readonly TokenType[]): string {
  const all = new Set(types.map((type) => type.LABEL ?? type.name));
  return [...all].slice(0, MAX_SHOWN).join('\n');
}

/** Turns what chevrotain knows of an error into a list of expectations, joined by line feeds. */
export class ExpectationProvider implements IParserErrorMessageProvider {
  buildMismatchTokenMessage(options: { expected: TokenType }): string {
    return labels([options.expected]);
  }

  buildNotAllInputParsedMessage(): string {
    return '';
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
