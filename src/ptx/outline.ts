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
}

/** Why the outline stopped before the end of the text. */
export interface OutlineProblem {
  readonly code: DiagnosticCode;
  readonly offset: number;
  readonly message: string;
  readonly expected?: readonly string[];
}

/** The pieces of a text up to its end or up to the problem. */
export interface Outline {
  readonly pieces: readonly Piece[];
  readonly problem?: OutlineProblem;
}

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
  let problem: OutlineProblem | undefined;

  const endPiece = (kind: PieceKind, end: number, closed: boolean): void => {
    if (end > pieceStart) pieces.push({ kind, offset: pieceStart, end, cuts, closed });
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
        if (depth === 0) {
          problem = {
            code: 'GCR2002',
            offset: at,
            message: "'}' without '{'",
            expected: ["a directive such as '.entry', '.func' or '.global'"],
          };
          break;
        }
        if (--depth === 0) {
          const limit =
            block === 'body' ? MAX_BODY_LENGTH : block === 'initializer' ? MAX_INITIALIZER_LENGTH : Infinity;
          if (at - pieceStart > limit) {
            problem = tooLarge(block === 'body' ? 'function body' : 'initialiser', pieceStart, limit);
            break;
          }
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
    if (depth > 0) {
      const limit = block === 'body' ? MAX_BODY_LENGTH : block === 'initializer' ? MAX_INITIALIZER_LENGTH : Infinity;
      problem =
        at - pieceStart > limit
          ? tooLarge(block === 'body' ? 'function body' : 'initialiser', pieceStart, limit)
          : unclosed('brace', openings[depth - 1]!, "'}'");
    } else if (at - statementStart > MAX_STATEMENT_LENGTH) {
      problem = tooLarge('statement', statementStart, MAX_STATEMENT_LENGTH);
    }
  }
  // What a problem cut short is still parsed, but for a last statement of unbounded length.
  const rest = Math.max(statementStart, lastCut);
  const oversize = problem !== undefined && block !== 'section' && at - rest > MAX_STATEMENT_LENGTH;
  endPiece(block, oversize ? rest : at, depth === 0);
  return problem === undefined ? { pieces } : { pieces, problem };
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
