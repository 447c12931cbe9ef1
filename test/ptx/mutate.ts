/** Mutations of texts for fuzzing: changes to characters and to tokens, from a given source of random numbers. */
import { tokenize } from '../../src/ptx/tokens.js';

const BYTES = ' \n\t;,:.{}()[]<>@%$_"/\\*+-=!~|&^?#0129xfUabzé\u0000\u0007';

/** A function that changes a text a little; `random` gives numbers from 0 to 1. */
export function mutator(random: () => number): (text: string) => string {
  const below = (limit: number) => Math.floor(random() * limit);

  /** One change to characters: delete, double, swap, insert, cut off. */
  function mutateCharacters(text: string): string {
    const at = below(text.length);
    const length = 1 + below(random() < 0.1 ? 200 : 4);
    switch (below(5)) {
      case 0:
        return text.slice(0, at) + text.slice(at + length);
      case 1:
        return text.slice(0, at + length) + text.slice(at);
      case 2:
        return text.slice(0, at) + text.slice(at + 1, at + 2) + text.slice(at, at + 1) + text.slice(at + 2);
      case 3:
        return text.slice(0, at) + BYTES[below(BYTES.length)] + text.slice(at);
      default:
        return text.slice(0, at);
    }
  }

  /** One change to tokens: delete, double, exchange with another. */
  function mutateTokens(text: string): string {
    const { tokens } = tokenize(text, 0, text.length);
    if (tokens.length === 0) return text;
    const token = tokens[below(tokens.length)]!;
    const other = tokens[below(tokens.length)]!;
    const before = text.slice(0, token.startOffset);
    const after = text.slice(token.startOffset + token.image.length);
    switch (below(3)) {
      case 0:
        return `${before} ${after}`;
      case 1:
        return `${before}${token.image} ${token.image}${after}`;
      default:
        return before + other.image + after;
    }
  }

  function mutate(text: string): string {
    let mutant = text;
    for (let changes = 1 + below(3); changes > 0 && mutant.length > 0; changes--) {
      mutant = random() < 0.5 ? mutateCharacters(mutant) : mutateTokens(mutant);
    }
    return mutant;
  }
  return mutate;
}
