import { VERSION } from 'chevrotain';
import { expect, it } from 'vitest';
import { libraryPlace } from '../../src/ptx/chevrotain.js';

it('is one file of the package, of its version', async () => {
  expect(libraryPlace()).toMatch(/^file:.*\/chevrotain\.min\.mjs$/);
  expect((await import(libraryPlace())).VERSION).toBe(VERSION);
});
