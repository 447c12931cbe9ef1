import { VERSION } from 'chevrotain';
import { expect, it } from 'vitest';
import { libraryFile } from '../../src/ptx/chevrotain.js';

it('is one file of the package, of its version', async () => {
  expect(libraryFile()).toMatch(/^file:.*\/chevrotain\.min\.mjs$/);
  expect((await import(libraryFile()!)).VERSION).toBe(VERSION);
});
