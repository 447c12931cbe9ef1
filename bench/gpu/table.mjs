/**
 * The table of a run as text: `node bench/gpu/table.mjs results.json [docs/benchmarks.md]`. With a document it goes there, between the lines
 * `<!-- bench/gpu -->` and `<!-- end -->`, in place of what was there. Of several results (separated by commas) the scenarios are taken together;
 * of one that is in several of them the last counts.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { table } from './rows.mjs';

const [files, document, ...more] = process.argv.slice(2);
if (files === undefined || more.length > 0) {
  process.stderr.write('usage: node bench/gpu/table.mjs results.json[,…] [document.md]\n');
  process.exit(64);
}
const text = table(files.split(',').map((file) => JSON.parse(readFileSync(file, 'utf8'))));
if (document === undefined) process.stdout.write(text);
else {
  const [begin, end] = ['<!-- bench/gpu -->\n', '<!-- end -->'];
  const before = readFileSync(document, 'utf8');
  const [from, to] = [before.indexOf(begin), before.indexOf(end)];
  if (from < 0 || to < from) {
    process.stderr.write(`${document} has no lines ${begin.trim()} and ${end}\n`);
    process.exit(65);
  }
  writeFileSync(document, `${before.slice(0, from + begin.length)}${text}${before.slice(to)}`);
}
