/**
 * The outline of a PTX text: where function bodies, initialisers and debug sections stand, found by one pass over the
 * characters without tokenising. It is what makes parsing bounded: nesting, unclosed constructs, sizes and binary noise
 * are judged here, before a token object exists; and what is not asked for (`bodies: 'skip'`) costs no more than this.
 *
 * A `{` outside all others opens a function body when `.entry` or `.func` was seen since the last statement ended, the
 * content of a section after `.section`, and an initialiser otherwise.
 */
import type { DiagnosticCode } from '../diagnostics/index.js';
import {
  MAX_BODY_LENGTH,
  MAX_BRACE_DEPTH,
  MAX_INITIALIZER_LENGTH,
  MAX_STATEMENT_LENGTH,
  MAX_TOKEN_LENGTH,
  SLICE_LENGTH,
} from './limits.js';

/** `text`: module level; the other kinds are blocks in braces, braces included. */
export type PieceKind = 'text' | 'body' | 'initializer' | 'section';

/** A stretch `[offset, end)` of the text. Pieces follow each other without gaps but for white space at the end. */
export interface Piece {
  readonly kind: PieceKind;
  readonly offset: number;
  readonly end: number;
  /** Offsets inside, in order, where the piece may be cut for tokenising: after a `;` (or `,` in an initialiser). */
  readonly cuts: readonly number[];
  /** False when the text ended before the closing brace. */
  readonly closed: boolean;
  /** The block exceeds its limit: it is passed over, not parsed. */
  readonly oversize: boolean;
}

/** What is wrong with the text as a whole. */
export interface OutlineProblem {
  readonly code: DiagnosticCode;
  readonly offset: number;
  readonly message: string;
  readonly expected?: readonly string[];
}

/** The pieces of a text, up to its end or up to a problem that ends the scan. */
export interface Outline {
  readonly pieces: readonly Piece[];
  readonly problems: readonly OutlineProblem[];
  /** True when the last problem kept the scan from reaching the end, or the text ended inside a construct. */
  readonly truncated: boolean;
}

/** Characters that a block may have. Debug sections are not tokenised, so any size will do. */
const BLOCK_LIMITS: Readonly<Record<PieceKind, number>> = {
  text: Number.POSITIVE_INFINITY,
  section: Number.POSITIVE_INFINITY,
  body: MAX_BODY_LENGTH,
  initializer: MAX_INITIALIZER_LENGTH,
};
const BLOCK_NAMES: Readonly<Record<PieceKind, string>> = {
  text: 'text',
  section: 'section',
  body: 'function body',
  initializer: 'initialiser',
};

/** Classes of characters; everything else is passed over. */
enum C {
  Other = 0,
  Slash = 1,
  Quote = 2,
  Open = 3,
  Close = 4,
  Semicolon = 5,
  Comma = 6,
  Dot = 7,
  Equals = 8,
  Hash = 9,
  At = 10,
  Control = 11,
}

const classes = new Uint8Array(256);
for (let code = 0; code < 32; code++) classes[code] = C.Control;
for (const blank of '\t\n\v\f\r') classes[blank.charCodeAt(0)] = C.Other;
classes[127] = C.Control;
for (const [char, value] of [
  ['/', C.Slash],
  ['"', C.Quote],
  ['{', C.Open],
  ['}', C.Close],
  [';', C.Semicolon],
  [',', C.Comma],
  ['.', C.Dot],
  ['=', C.Equals],
  ['#', C.Hash],
  ['@', C.At],
] as const) {
  classes[char.charCodeAt(0)] = value;
}

const HEAD_WORD = /\.(entry|func|section|pragma)(?![\w$])/y;

/** Splits a text into pieces. Never throws; linear in the length of the text. */
export function outline(text: string): Outline {
  // NULs at the very end are left there by tools that dump C strings.
  let length = text.length;
  while (length > 0 && isBlankOrNul(text.charCodeAt(length - 1))) length--;

  const pieces: Piece[] = [];
  let cuts: number[] = [];
  let pieceStart = 0;
  let lastCut = 0;
  let statementStart = 0;
  let depth = 0;
  const openings: number[] = [];
  let block: PieceKind = 'text';
  // At module level: what the current statement is.
  let head: 'none' | 'function' | 'section' = 'none';
  let pragma = false;
  const problems: OutlineProblem[] = [];
  // Ends the scan.
  let problem: OutlineProblem | undefined;

  const endPiece = (kind: PieceKind, end: number, closed: boolean): void => {
    const limit = BLOCK_LIMITS[kind];
    const oversize = end - pieceStart > limit;
    if (oversize) problems.push(tooLarge(BLOCK_NAMES[kind], pieceStart, limit));
    if (end > pieceStart) pieces.push({ kind, offset: pieceStart, end, cuts: oversize ? [] : cuts, closed, oversize });
    cuts = [];
    pieceStart = end;
    lastCut = end;
    statementStart = end;
  };

  let at = 0;
  for (; at < length; at++) {
    const code = text.charCodeAt(at);
    const kind = code < 256 ? classes[code]! : C.Other;
    if (kind === C.Other) continue;
    switch (kind) {
      case C.Semicolon:
        if (depth === 0) {
          if (head === 'function' && pragma) pragma = false;
          else head = 'none';
        }
        if (at - statementStart > MAX_STATEMENT_LENGTH && block !== 'initializer' && block !== 'section') {
          problem = tooLarge('statement', statementStart, MAX_STATEMENT_LENGTH);
        } else if (block !== 'initializer') {
          statementStart = at + 1;
          if (at - lastCut >= SLICE_LENGTH && head === 'none') {
            cuts.push(at + 1);
            lastCut = at + 1;
          }
        }
        break;
      case C.Comma:
        if (block === 'initializer' && at - lastCut >= SLICE_LENGTH) {
          cuts.push(at + 1);
          lastCut = at + 1;
        }
        break;
      case C.Open:
        if (depth === 0) {
          if (at - statementStart > MAX_STATEMENT_LENGTH) {
            problem = tooLarge('statement', statementStart, MAX_STATEMENT_LENGTH);
            break;
          }
          endPiece('text', at, true);
          block = head === 'function' ? 'body' : head === 'section' ? 'section' : 'initializer';
        } else if (depth >= MAX_BRACE_DEPTH) {
          problem = { code: 'GCR2004', offset: at, message: `braces are nested more than ${MAX_BRACE_DEPTH} deep` };
          break;
        }
        openings[depth++] = at;
        break;
      case C.Close:
        // A brace too many is left to the grammar.
        if (depth === 0) break;
        if (--depth === 0) {
          endPiece(block, at + 1, true);
          if (block !== 'initializer') {
            head = 'none';
            pragma = false;
          }
          block = 'text';
        } else if (block === 'body') statementStart = at + 1;
        break;
      case C.Dot:
        if (depth === 0) {
          HEAD_WORD.lastIndex = at;
          const word = HEAD_WORD.exec(text)?.[1];
          if (word === 'entry' || word === 'func') head = 'function';
          else if (word === 'section') head = 'section';
          else if (word === 'pragma') pragma = true;
        }
        break;
      case C.Equals:
        if (depth === 0 && head !== 'none') head = 'none';
        break;
      case C.Slash: {
        const next = text.charCodeAt(at + 1);
        if (next === 47) {
          const end = lineEnd(text, at, length);
          if (end - at > MAX_TOKEN_LENGTH) problem = tooLarge('comment', at, MAX_TOKEN_LENGTH);
          else at = end - 1;
        } else if (next === 42) {
          const end = text.indexOf('*/', at + 2);
          if (end < 0) problem = unclosed('comment', at, "'*/'");
          else if (end - at > MAX_TOKEN_LENGTH) problem = tooLarge('comment', at, MAX_TOKEN_LENGTH);
          else at = end + 1;
        }
        break;
      }
      case C.Quote: {
        const end = text.indexOf('"', at + 1);
        if (end < 0) problem = unclosed('string', at, "'\"'");
        else if (end - at > MAX_TOKEN_LENGTH) problem = tooLarge('string', at, MAX_TOKEN_LENGTH);
        else at = end;
        break;
      }
      case C.Hash:
        if (startsLine(text, at)) {
          const end = lineEnd(text, at, length);
          if (end - at > MAX_TOKEN_LENGTH) problem = tooLarge('line', at, MAX_TOKEN_LENGTH);
          else at = end - 1;
        }
        break;
      case C.At:
        if (text.startsWith('@@DWARF', at)) {
          const end = lineEnd(text, at, length);
          if (end - at > MAX_TOKEN_LENGTH) problem = tooLarge('line', at, MAX_TOKEN_LENGTH);
          else at = end - 1;
          // The line is a statement of its own.
          if (depth === 0) {
            statementStart = end;
            if (end - lastCut >= SLICE_LENGTH && head === 'none') {
              cuts.push(end);
              lastCut = end;
            }
          }
        }
        break;
      case C.Control:
        problem = {
          code: 'GCR2008',
          offset: at,
          message: `the text holds the control character 0x${code.toString(16).padStart(2, '0')}`,
        };
        break;
    }
    if (problem !== undefined) break;
  }

  if (problem === undefined) {
    if (depth > 0) problem = unclosed('brace', openings[depth - 1]!, "'}'");
    else if (at - statementStart > MAX_STATEMENT_LENGTH) {
      problem = tooLarge('statement', statementStart, MAX_STATEMENT_LENGTH);
    }
  }
  // What a problem cut short is still parsed, but for a last statement of unbounded length.
  const rest = Math.max(statementStart, lastCut);
  const unbounded = problem !== undefined && block !== 'section' && at - rest > MAX_STATEMENT_LENGTH;
  endPiece(block, unbounded ? rest : at, depth === 0);
  if (problem !== undefined) problems.push(problem);
  return { pieces, problems, truncated: problem !== undefined };
}

/** Offset of the first character outside white space and comments; the length of the text when there is none. */
export function firstToken(text: string): number {
  let at = 0;
  for (; at < text.length; at++) {
    if (isBlankOrNul(text.charCodeAt(at))) continue;
    const end =
      text.startsWith('//', at) || text.startsWith('#', at)
        ? text.indexOf('\n', at)
        : text.startsWith('/*', at)
          ? text.indexOf('*/', at) + 1
          : at - 1;
    if (end < at) break;
    at = end;
  }
  return at;
}

function isBlankOrNul(code: number): boolean {
  return code === 0 || code === 32 || (code >= 9 && code <= 13);
}

function lineEnd(text: string, at: number, length: number): number {
  const end = text.indexOf('\n', at);
  return end < 0 ? length : end;
}

function startsLine(text: string, at: number): boolean {
  for (let i = at - 1; i >= 0; i--) {
    const code = text.charCodeAt(i);
    if (code === 10) return true;
    if (code !== 32 && code !== 9 && code !== 13) return false;
  }
  return true;
}

function tooLarge(what: string, offset: number, limit: number): OutlineProblem {
  return { code: 'GCR2005', offset, message: `the ${what} that begins here is larger than ${limit} characters` };
}

function unclosed(what: string, offset: number, expected: string): OutlineProblem {
  return {
    code: 'GCR2003',
    offset,
    message: `the ${what} that is opened here is not closed before the text ends`,
    expected: [expected],
  };
}
