// The process that is disturbed: `node worker.mjs PLACE create SEED | write SEED STEP | prune LAST | import FILE`. Exit code 0 when it was
// done, 65 when it was refused or failed with a message, anything else is a finding.
import { createReadStream } from 'node:fs';
import { InputError, Store } from '../../dist/index.js';
import { save } from './model.mjs';

const [, , directory, command, ...args] = process.argv;
const numbers = args.map(Number);
try {
  const store = await Store.open({ directory }, { create: command === 'create' || command === 'import' });
  if (command === 'create') await save(store, numbers[0], 0, null);
  else if (command === 'write')
    await save(store, numbers[0], numbers[1], (await store.list()).checkpoints.at(-1)?.id ?? null);
  else if (command === 'prune') await store.prune({ rules: { last: numbers[0] } });
  else if (command === 'import') await store.importFrom(createReadStream(args[0]), args[0]);
  else throw new Error(`no command ${command}`);
  store.close();
} catch (error) {
  if (!(error instanceof InputError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 65;
}
