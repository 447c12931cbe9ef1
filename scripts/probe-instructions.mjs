#!/usr/bin/env node
/**
 * Holds the instruction table against text that others wrote. Run after a build:
 *
 *   node scripts/probe-instructions.mjs [--ptxas] FOLDER…
 *
 * Every instruction in the `.ptx` files, and in the examples of `.md` files, under the folders must resolve and its
 * operands must fit the form; exit code 1 if one does not. Statements are cut out with regular expressions, not with
 * our parser, so that this check depends on the table alone.
 *
 * `--ptxas` asks the assembler about `test/ptx/instruction-samples.txt`: is each sample accepted for some target, and
 * which modifiers that the table knows of other instructions does it take in addition? Both are printed for information:
 * an older assembler lacks instructions, and a modifier it takes silently may have no meaning. Takes about a minute.
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { INSTRUCTION_TABLE } from '../dist/ptx/instruction-table.js';
import { assignOperandRoles, resolveInstruction } from '../dist/ptx/resolve-instruction.js';
import { instructionsIn, mnemonicOf } from './instruction-text.mjs';

const SAMPLES = new URL('../test/ptx/instruction-samples.txt', import.meta.url);

/** PTX version and target pairs that together know every instruction ptxas 13.0 knows. */
const TARGETS = [
  ['9.0', 'sm_100a'],
  ['9.0', 'sm_90a'],
  ['9.0', 'sm_120a'],
  ['9.0', 'sm_103a'],
  ['9.0', 'sm_80'],
  ['6.3', 'sm_75'],
];

/** All `.ptx` and `.md` files under a folder. */
function filesUnder(path) {
  if (statSync(path).isFile()) return /\.(ptx|md)$/.test(path) ? [path] : [];
  return readdirSync(path).flatMap((name) => filesUnder(join(path, name)));
}

/** Checks all files; returns how many distinct mnemonics failed. */
function checkFiles(files) {
  const opcodes = new Set(INSTRUCTION_TABLE.map((form) => form.opcode));
  const resolved = new Map();
  const unresolved = new Map();
  const misfits = new Map();
  let instructions = 0;
  for (const file of files) {
    for (const { mnemonic, operands, whole } of instructionsIn(readFileSync(file, 'latin1'), file.endsWith('.md'))) {
      // In prose a statement may be anything; there only what starts with a known opcode counts.
      if (file.endsWith('.md') && !opcodes.has(mnemonic.opcode)) continue;
      instructions++;
      const form = resolveInstruction(mnemonic);
      if (form === undefined) unresolved.set(mnemonic.text, `${file}: ${whole}`);
      else if (assignOperandRoles(form, operands) === undefined) misfits.set(mnemonic.text, `${file}: ${whole}`);
      else resolved.set(mnemonic.text, form.name);
    }
  }
  for (const where of unresolved.values()) console.log(`unresolved: ${where}`);
  for (const where of misfits.values()) console.log(`operands do not fit: ${where}`);
  console.log(
    `${instructions} instructions in ${files.length} files; distinct mnemonics: ${resolved.size} resolve, ` +
      `${unresolved.size} do not, ${misfits.size} have operands that do not fit; ` +
      `${new Set(resolved.values()).size} of ${INSTRUCTION_TABLE.length} forms seen`,
  );
  return unresolved.size + misfits.size;
}

/**
 * What ptxas says of each statement: the first error message, or undefined where it has none. After a syntax error it
 * reads no further, so the rest is asked anew; batches keep below the number of errors at which it gives up.
 */
function askPtxas(folder, statements, [version, target]) {
  const head = [
    `.version ${version}`,
    `.target ${target}`,
    '.address_size 64',
    '.global .texref T; .global .surfref F;',
    '.func (.param .b32 result_) callee (.param .b32 argument_) { ret; }',
    '.entry kernel() {',
    '.reg .pred %p<8>; .reg .b16 %h<8>; .reg .b32 %r<16>; .reg .b64 %d<8>;',
    version < '8' ? '' : '.reg .b128 %q<2>;',
    '.param .b32 result; .param .b32 argument;',
    'targets: .branchtargets end;',
  ];
  const messages = new Array(statements.length).fill(undefined);
  const file = join(folder, 'probe.ptx');
  let next = 0;
  while (next < statements.length) {
    const batch = statements.slice(next, next + 20);
    writeFileSync(file, [...head, ...batch.map((statement) => `${statement};`), 'end: ret; }', ''].join('\n'));
    const { stderr } = spawnSync('ptxas', ['-arch', target, file, '-o', '/dev/null'], { encoding: 'utf8' });
    let asked = batch.length;
    for (const [, line, message] of stderr.matchAll(/line (\d+); (?:error|fatal) *: (.*)/g)) {
      const index = Number(line) - head.length - 1;
      if (index < 0 || index >= batch.length) continue;
      messages[next + index] ??= message;
      if (/syntax error|Parsing error/.test(message)) asked = Math.min(asked, index + 1);
    }
    next += asked;
  }
  return messages;
}

function compareWithPtxas() {
  const samples = readFileSync(SAMPLES, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split('|').slice(2).join('|').trim());
  const vocabulary = [...new Set(INSTRUCTION_TABLE.flatMap((form) => [...form.selectors, ...form.modifiers]))];
  const folder = mkdtempSync(join(tmpdir(), 'probe-'));
  try {
    const targets = new Array(samples.length).fill(undefined);
    const reasons = new Array(samples.length).fill(undefined);
    for (const target of TARGETS) {
      askPtxas(folder, samples, target).forEach((message, i) => {
        if (message === undefined) targets[i] ??= target;
        else reasons[i] ??= message;
      });
    }
    samples.forEach((sample, i) => {
      if (targets[i] === undefined) console.log(`ptxas rejects: ${sample}: ${reasons[i]}`);
    });
    const takenBy = new Map();
    samples.forEach((sample, i) => {
      if (targets[i] === undefined) return;
      const [, mnemonic, operands] = /^(\S+)\s*(.*)$/.exec(sample);
      const unknown = vocabulary.filter((word) => resolveInstruction(mnemonicOf(`${mnemonic}.${word}`)) === undefined);
      const statements = unknown.map((word) => `${mnemonic}.${word} ${operands}`);
      const messages = askPtxas(folder, statements, targets[i]);
      takenBy.set(
        mnemonic,
        unknown.filter((_, j) => messages[j] === undefined),
      );
    });
    // What it takes nearly everywhere, it does not look at.
    const timesTaken = (word) => [...takenBy.values()].filter((words) => words.includes(word)).length;
    const ignored = vocabulary.filter((word) => timesTaken(word) > takenBy.size / 2);
    console.log(`ptxas takes on most instructions: ${ignored.join(' ')}`);
    let more = 0;
    for (const [mnemonic, words] of takenBy) {
      const special = words.filter((word) => !ignored.includes(word));
      if (special.length > 0) console.log(`ptxas also takes, on ${mnemonic}: ${special.join(' ')}`);
      more += special.length;
    }
    const accepted = targets.filter((target) => target !== undefined).length;
    console.log(`ptxas accepts ${accepted} of ${samples.length} samples, and ${more} more modifiers`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const paths = process.argv.slice(2).filter((argument) => argument !== '--ptxas');
const withPtxas = process.argv.includes('--ptxas');
if (paths.length === 0 && !withPtxas) {
  console.error('usage: node scripts/probe-instructions.mjs [--ptxas] FOLDER…');
  process.exit(2);
}
const failures = paths.length > 0 ? checkFiles(paths.flatMap(filesUnder)) : 0;
if (withPtxas) compareWithPtxas();
process.exitCode = failures > 0 ? 1 : 0;
