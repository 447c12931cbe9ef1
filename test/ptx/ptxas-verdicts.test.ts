/**
 * What ptxas accepts, the parser accepts: over the fixtures and the probes. Skipped, visibly, where ptxas is missing; that
 * the probes parse is tested everywhere by `print.test.ts`.
 */
import { describe, expect, it } from 'vitest';
import { parse } from '../../src/ptx/index.js';
import { fixtures, hasPtxas, ptxasAccepts, ptxasRelease, withFolder } from './helpers.js';
import { probes } from './probes.js';

describe.skipIf(!hasPtxas)('ptxas and the parser', () => {
  it('ptxas accepts every probe, so the parser must', () => {
    withFolder((folder) => {
      for (const { name, text } of probes()) {
        // The probes were made with release 13; an older one knows fewer instructions.
        if (ptxasRelease >= 13) expect(ptxasAccepts(text, folder), `ptxas on ${name}`).toBe(true);
        expect(parse(text).diagnostics, name).toEqual([]);
      }
    });
  });

  it('the parser accepts every fixture that ptxas accepts', { timeout: 300_000 }, () => {
    withFolder((folder) => {
      let accepted = 0;
      for (const { name, text } of fixtures()) {
        // ptxas takes seconds for the large ones, which are compiler output anyway.
        if (text.length > 60_000 || !ptxasAccepts(text, folder)) continue;
        accepted++;
        expect(parse(text).diagnostics, name).toEqual([]);
      }
      expect(accepted).toBeGreaterThan(20);
    });
  });
});
