/**
 * Cuts a text with several `.version` blocks (what tools print when an image holds code for several targets) into one text
 * a block. A block starts at a `.version` directive outside comments, strings and braces, with the comments before it.
 */

export interface Block {
  readonly text: string;
  /** Lines in front of it. */
  readonly lineOffset: number;
}

const INTERESTING = /\/\/|\/\*|"|\{|\}|\.version\b/g;

/** Offsets of the `.version` directives at the top level. One pass; stops at an unclosed comment or string. */
function versionOffsets(text: string): number[] {
  const offsets: number[] = [];
  const pattern = new RegExp(INTERESTING);
  let depth = 0;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    let next = pattern.lastIndex;
    switch (match[0]) {
      case '//':
        next = text.indexOf('\n', next);
        break;
      case '/*':
        next = text.indexOf('*/', next);
        if (next >= 0) next += 2;
        break;
      case '"':
        while (next < text.length && text[next] !== '"' && text[next] !== '\n') next += text[next] === '\\' ? 2 : 1;
        next = next < text.length ? next + 1 : -1;
        break;
      case '{':
        depth++;
        break;
      case '}':
        depth = Math.max(0, depth - 1);
        break;
      default:
        if (depth === 0) offsets.push(match.index);
    }
    if (next < 0) break;
    pattern.lastIndex = next;
  }
  return offsets;
}

/** Where the comments and blank lines directly before an offset start. */
function leadingComments(text: string, offset: number): number {
  let start = text.lastIndexOf('\n', offset - 1) + 1;
  while (start > 0) {
    // An index below zero would be taken as zero.
    const before = start < 2 ? 0 : text.lastIndexOf('\n', start - 2) + 1;
    const line = text.slice(before, start).trim();
    if (line !== '' && !line.startsWith('//')) break;
    start = before;
  }
  return start;
}

function countLines(text: string, from: number, to: number): number {
  let count = 0;
  for (let at = text.indexOf('\n', from); at >= 0 && at < to; at = text.indexOf('\n', at + 1)) count++;
  return count;
}

/** The blocks of a text, in order. A text with fewer than two `.version` directives is one block. */
export function splitVersions(text: string): Block[] {
  const first = text.indexOf('.version');
  if (first < 0 || text.indexOf('.version', first + 1) < 0) return [{ text, lineOffset: 0 }];
  const offsets = versionOffsets(text);
  if (offsets.length < 2) return [{ text, lineOffset: 0 }];
  const starts = offsets.map((offset, index) => (index === 0 ? 0 : leadingComments(text, offset)));
  let lineOffset = 0;
  return starts.map((start, index) => {
    const end = starts[index + 1] ?? text.length;
    const block = { text: text.slice(start, end), lineOffset };
    lineOffset += countLines(text, start, end);
    return block;
  });
}

/** Names of the entries of a text, by a scan: good enough to tell which kernels have text at all. */
export function entryNames(text: string): Set<string> {
  return new Set(Array.from(text.matchAll(/\.entry\s+([A-Za-z_$%][\w$]*)/g), (match) => match[1]!));
}

/** The architecture number of a text's `.target`, e.g. 90 for `sm_90a`; 0 without one. */
export function targetArchitecture(text: string): number {
  const match = /\.target\s+sm_(\d+)/.exec(text);
  return match ? Number(match[1]) : 0;
}
