/**
 * `gcr-templates demo`: everything once, on the simulated device. A training-like program is checkpointed in full and in increments, goes back
 * and on to the same result, and is killed, after which its last checkpoint is held against what its memory was. Whatever does not come out
 * as it should ends the demo with an error.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { formatBytes, reportPage, type Store } from '../checkpoint/index.js';
import { type CheckpointResult, type RestoreResult, RuntimeError } from '../runtime/index.js';
import { DemoProgram, Digest, TRAINING } from './demo-program.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { table } from './output.js';
import { millisecondsText } from './process-options.js';
import { type Finish, originText, shortId, withStore } from './store-options.js';

interface Options {
  readonly keep?: boolean;
  readonly report?: string;
}

const STEPS = 12;
const SIZE = ['--size', '256'];
/** Steps after which the program goes back, and where it goes back to. */
const BACK_FROM = 6;
const BACK_TO = 3;
/** Steps that the killed program made before its last checkpoint. */
const KILLED_AT = 5;

const say = (text: string) => process.stdout.write(`${text}\n`);

function expectSame(what: string, found: string, expected: string): void {
  if (found === expected) return;
  throw new RuntimeError('failed', 'GCR8110', `${what}: ${found} instead of ${expected}`, 'please report this');
}

/** The digest that a run of some steps tells when nothing disturbs it. */
async function undisturbed(folder: string, steps: number): Promise<string> {
  const program = new DemoProgram(folder, join(folder, 'undisturbed'), ['--steps', String(steps), ...SIZE]);
  try {
    await program.ready();
    return await program.finish();
  } finally {
    program.close();
  }
}

function row(step: number, { manifest, dirtyBytes, totalBytes, heldMs }: CheckpointResult): string[] {
  return [
    String(step),
    manifest.kind,
    shortId(manifest.id),
    `${formatBytes(dirtyBytes)} (${((100 * dirtyBytes) / totalBytes).toFixed(1)} %)`,
    formatBytes(manifest.chunks.storedBytes),
    millisecondsText(heldMs),
    manifest.kind === 'full' ? '-' : originText(manifest) || 'nothing changed',
  ];
}

const HEAD = ['step', 'kind', 'checkpoint', 'looked at', 'stored', 'held for', 'changed, by why it was looked at'];

/** Checkpoints after each step, a rollback, and on to the end. */
async function goBackAndOn(folder: string, store: string, signal: AbortSignal): Promise<string> {
  const program = new DemoProgram(folder, store, ['--steps', String(STEPS), ...SIZE]);
  try {
    await program.ready();
    const rows = [HEAD];
    const ids: string[] = [];
    for (let step = 1; step <= BACK_FROM; step++) {
      await program.step(1);
      const request = { operation: 'checkpoint', note: `after step ${step}` } as const;
      const result = await program.ask<CheckpointResult>(request, signal);
      ids[step] = result.manifest.id;
      rows.push(row(step, result));
    }
    say(`${table(rows)}\n`);
    const back = await program.ask<RestoreResult>({ operation: 'restore', id: ids[BACK_TO]! }, signal);
    say(
      `back from step ${BACK_FROM} to step ${BACK_TO}: ${formatBytes(back.bytes)} differed, held for ${millisecondsText(back.heldMs)}`,
    );
    await program.step(1);
    const verified = await program.ask<CheckpointResult>({ operation: 'checkpoint', verify: true }, signal);
    expectSame('chunks that templates missed', String(verified.missedCount), '0');
    say('one more increment, with all memory compared: no template missed a write');
    return await program.finish();
  } finally {
    program.close();
  }
}

/** A program that is killed behind its last checkpoint. @returns the id of that */
async function killed(folder: string, store: string, signal: AbortSignal): Promise<string> {
  const program = new DemoProgram(folder, store, ['--steps', String(STEPS), ...SIZE]);
  try {
    await program.ready();
    await program.step(KILLED_AT - 1);
    await program.ask<CheckpointResult>({ operation: 'checkpoint' }, signal);
    await program.step(1);
    const { manifest } = await program.ask<CheckpointResult>({ operation: 'checkpoint' }, signal);
    await program.step(1);
    await program.killHard();
    return manifest.id;
  } finally {
    program.close();
  }
}

/** The digest of what a checkpoint holds, as the program makes it of its memory. */
async function digestOf(store: Store, id: string): Promise<string> {
  const plan = await store.restorePlan(id);
  try {
    // As the program allocates: steps, gradients, input, output, embedding, tokens, then weights and momentum in turn.
    const [steps, , , , embedding, , ...layers] = plan.allocations.filter(({ kind }) => kind === 'device');
    const even = layers.filter((_, index) => index % 2 === 0);
    const odd = layers.filter((_, index) => index % 2 === 1);
    const digest = new Digest();
    for (const { id: allocation } of [...even, ...odd, embedding!, steps!])
      for await (const { bytes } of plan.pieces(allocation)) digest.add(bytes);
    return digest.toString();
  } finally {
    plan.close();
  }
}

async function demo(options: Options, signal: AbortSignal): Promise<ExitCode> {
  if (!existsSync(TRAINING)) {
    const hint = 'run `npm run build:native` in the package';
    throw new RuntimeError('refused', 'GCR8111', `the demo's program is not built (${TRAINING})`, hint);
  }
  const folder = mkdtempSync(join(tmpdir(), 'gcr-demo-'));
  const store = join(folder, 'store');
  say(`checkpoints of a training-like program on the simulated device, in ${folder}\n`);
  try {
    const expected = undisturbed(folder, STEPS);
    const expectedAtKill = undisturbed(folder, KILLED_AT);
    // Whoever fails first is told; they are still looked at below, however early they fail.
    for (const one of [expected, expectedAtKill]) one.catch(() => {});
    const end = await goBackAndOn(folder, store, signal).catch(async (error) => {
      await expected.catch(() => {});
      throw error;
    });
    expectSame('the result', end, await expected);
    say(`the program went on to its end, with the result of an undisturbed run: ${end}`);
    const last = await killed(folder, store, signal);
    await withStore(store, async (open) => {
      expectSame(`checkpoint ${last}`, await digestOf(open, last), await expectedAtKill);
      say(
        `a second one was killed; its last checkpoint ${shortId(last)} holds what its memory was after step ${KILLED_AT}`,
      );
      const { page } = await reportPage(open);
      const file = options.report ?? join(folder, 'report.html');
      writeFileSync(file, page);
      if (options.report || options.keep) say(`report page: ${file}`);
    });
  } finally {
    if (!options.keep) rmSync(folder, { recursive: true, force: true });
  }
  if (options.keep) say(`\nnext: node bin/gcr-templates.js list ${store}`);
  return EXIT.ok;
}

export function addDemoCommand(program: Command, finish: Finish): void {
  program
    .command('demo')
    .description('checkpoint, roll back and kill a training-like program on the simulated device')
    .option('--keep', 'keep the folder with store and report page')
    .option('--report <file>', 'where the report page goes; in the folder when nothing is said')
    .addHelpText('after', '\nExamples:\n  gcr-templates demo\n  gcr-templates demo --report demo.html')
    .action((options: Options) => finish((signal) => demo(options, signal)));
}
