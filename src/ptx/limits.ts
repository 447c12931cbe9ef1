/**
 * Limits that keep parsing bounded in time, memory and stack whatever the input is. Real files stay far below them; exceeding
 * one is a diagnostic, never an exception.
 */

/** Nested braces: scopes in a body, lists in an initialiser (GCR2004). */
export const MAX_BRACE_DEPTH = 256;

/**
 * Depth of the tree of one operand (GCR2004): 1,024 operators in a chain, or 128 parentheses, unary operators, conditionals
 * and lists inside each other. Whoever walks the tree may recurse.
 */
export const MAX_EXPRESSION_DEPTH = 1024;

/** Characters of one word, number, string or comment (GCR2005). */
export const MAX_TOKEN_LENGTH = 1 << 20;

/** Characters of one statement outside initialisers (GCR2005): its tokens are held in memory together. */
export const MAX_STATEMENT_LENGTH = 2 << 20;

/** Characters of one initialiser (GCR2005). */
export const MAX_INITIALIZER_LENGTH = 16 << 20;

/** Characters of one function body (GCR2005). */
export const MAX_BODY_LENGTH = 32 << 20;

/** Items of one module: declarations, functions, directives (GCR2005). */
export const MAX_MODULE_ITEMS = 1 << 21;

/** Statements of all bodies that one call parses (GCR2005). Larger modules are parsed with `bodies: 'skip'`. */
export const MAX_STATEMENTS = 1 << 22;

/** Registers that one `%r<N>` may declare (GCR2009). */
export const MAX_REGISTER_COUNT = 1 << 28;

/**
 * Text is tokenised in slices of about this many characters, cut after a statement, so that token objects die young:
 * slices that fit the young generation are twice as fast as whole bodies.
 */
export const SLICE_LENGTH = 1 << 15;

/** Findings after which parsing stops. */
export const DEFAULT_MAX_ERRORS = 20;
