#!/usr/bin/env node
import { existsSync } from 'node:fs';

const main = new URL('../dist/cli/main.js', import.meta.url);
if (!existsSync(main)) {
  process.stderr.write('gcr-templates is not built yet: run `npm start` (or `npm run build`) in its folder first\n');
  process.exit(69);
}
const { run } = await import(main);
process.exitCode = await run(process.argv);
