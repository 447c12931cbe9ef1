/**
 * Cuts instructions out of PTX text with regular expressions: mnemonic and the kinds of the operands, no more. For checks
 * of the instruction table that must not depend on our parser (`probe-instructions.mjs`, `instruction-table.test.ts`).
 */

const STATEMENT = /(?:^|[;{}\n])\s*(?:@!?[\w%$]+\s+)?([a-z]\w*(?:\.\w+(?:::\w+)*)*)(?=[\s;({[])\s*([^;]*?)\s*;/g;

/** Splits at commas outside brackets, braces and parentheses; `a|b` is one operand. */
function splitOperands(text) {
  const operands = [];
  let depth = 0;
  let current = '';
  for (const char of text) {
    if ('[{('.includes(char)) depth++;
    if (']})'.includes(char)) depth--;
    if (char === ',' && depth === 0) {
      operands.push(current.trim());
      current = '';
    } else current += char;
  }
  if (current.trim() !== '') operands.push(current.trim());
  return operands;
}

/**
 * The kind that the parser gives an operand, as far as its role depends on it.
 *
 * @returns {'address' | 'list' | 'vector' | 'element' | 'name'}
 */
function kindOf(operand) {
  if (operand.startsWith('[')) return 'address';
  if (operand.startsWith('(')) return 'list';
  if (operand.startsWith('{')) return 'vector';
  return /^[\w%$]+\[/.test(operand) ? 'element' : 'name';
}

/** A mnemonic as the parser makes it. */
export function mnemonicOf(text) {
  const [opcode, ...modifiers] = text.split('.');
  return { text, opcode, modifiers };
}

/**
 * Instructions of one file: mnemonic, operands, the statement as written. From a manual in markdown, what is outside of
 * the syntax lines, which are patterns and no instructions.
 */
export function* instructionsIn(source, manual = false) {
  let text = source.replace(/\/\/.*$/gm, '').replace(/\/\*[\s\S]*?\*\//g, '');
  if (manual) text = text.replace(/^Syntax$[\s\S]*?^Description$/gm, '');
  else text = text.replace(/^\s*[\w$%]+\s*:(?!:)\s*(\.\w+targets|\.callprototype)?/gm, ';$1 ');
  for (const [whole, mnemonic, operands] of text.matchAll(STATEMENT)) {
    if (operands.startsWith(':') || operands.startsWith('=')) continue;
    yield {
      mnemonic: mnemonicOf(mnemonic),
      operands: splitOperands(operands).map((operand) => ({ kind: kindOf(operand) })),
      whole: whole.replace(/\s+/g, ' ').replace(/^[\s;{}]+/, ''),
    };
  }
}
