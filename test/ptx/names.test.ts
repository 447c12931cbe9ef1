/** Names defined twice (GCR2006): exactly what ptxas calls a duplicate, and nothing that it lets pass. */
import { describe, expect, it } from 'vitest';
import { parse } from '../../src/ptx/index.js';
import { HEAD, ptxasAccepts, ptxasRelease, withFolder } from './helpers.js';

const DUPLICATES = [
  '.entry k() { .reg .b32 a, a; ret; }',
  '.entry k() { .reg .b32 a; .reg .b64 a; ret; }',
  '.entry k() { .reg .u32 q<4>; .reg .u32 q2; ret; }',
  '.entry k() { .reg .u32 q2; .reg .u32 q<4>; ret; }',
  '.entry k() { .reg .u32 q<4>; .reg .u32 q<8>; ret; }',
  '.entry k() { .reg .u32 q<20>; .reg .u32 q012; ret; }',
  '.entry k(.param .u32 q2) { .reg .u32 q<4>; ret; }',
  '.entry k(.param .u32 a) { .reg .u32 a; ret; }',
  '.entry k(.param .u32 a, .param .u32 a) { ret; }',
  '.entry k(.param .u32 a) { a: ret; }',
  '.entry k() { A: A: ret; }',
  '.entry k() { .reg .b32 A; A: ret; }',
  '.entry k() { ret; } .entry k() { ret; }',
  '.weak .func f() { ret; } .weak .func f() { ret; }',
  '.global .u32 x; .global .u32 x;',
  '.global .u32 x; .func x() { ret; }',
  '.entry k(.param .b32 a); .entry k() { ret; }',
];

const NO_DUPLICATES = [
  '.entry k() { .reg .b32 a; { .reg .b64 a; } ret; }',
  '.entry k() { A: { A: } { A: } ret; }',
  '.entry k() { .reg .u32 q<20>; .reg .u32 q1<5>; ret; }',
  '.entry k() { .reg .u32 q1<5>; .reg .u32 q<20>; ret; }',
  '.entry k() { .reg .u32 q1<5>; .reg .u32 q12; ret; }',
  '.entry k() { .reg .u32 q<4>; .reg .u32 q4; ret; }',
  '.entry k() { .reg .u32 q<20>; q12: ret; }',
  '.entry k() { q2: .reg .u32 q<4>; ret; }',
  '.global .u32 a; .entry k() { .reg .u32 a; ret; }',
  '.global .u32 a; .entry k() { a: ret; }',
  '.entry k() { k: bra k; }',
  '.entry k(); .entry k(); .entry k() { ret; }',
  '.extern .global .u32 x; .extern .global .u32 x;',
  '.extern .global .u32 x; .visible .global .u32 x;',
  '.extern .shared .b32 a[]; .extern .shared .b32 a[];',
];

describe('duplicate names', () => {
  it.each(DUPLICATES)('finds %s', (text) => {
    expect(parse(HEAD + text).diagnostics.map(({ code }) => code)).toEqual(['GCR2006']);
  });

  it.each(NO_DUPLICATES)('lets pass %s', (text) => {
    expect(parse(HEAD + text).diagnostics).toEqual([]);
  });

  it.skipIf(ptxasRelease < 13)('ptxas judges the same', () => {
    withFolder((folder) => {
      for (const text of DUPLICATES) expect(ptxasAccepts(HEAD + text, folder), text).toBe(false);
      for (const text of NO_DUPLICATES) expect(ptxasAccepts(HEAD + text, folder), text).toBe(true);
    });
  });
});
