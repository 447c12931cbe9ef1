// kernels.mjs EXPECTED FILE…: what verified increments say, by kernel and verdict. EXPECTED: "name=verdict|verdict name=…"; a kernel that is there with another one is marked.
import { existsSync, readFileSync } from 'node:fs';

const [expected, ...files] = process.argv.slice(2);
const wanted = new Map(
  expected
    .split(' ')
    .filter(Boolean)
    .map((one) => {
      const [name, verdicts] = one.split('=');
      return [name, verdicts.split('|')];
    }),
);
// The last part of a mangled name.
function short(name) {
  if (!name.startsWith('_Z')) return name;
  let at = name.startsWith('_ZN') ? 3 : 2;
  let last = name;
  for (let digits = /^\d+/.exec(name.slice(at)); digits; digits = /^\d+/.exec(name.slice(at))) {
    at += digits[0].length;
    last = name.slice(at, at + Number(digits[0]));
    at += last.length;
  }
  return last;
}
const rows = new Map();
let missed = 0;
let verified = 0;
let increments = 0;
for (const file of files) {
  if (!existsSync(file)) continue;
  const r = JSON.parse(readFileSync(file, 'utf8'));
  increments += r.manifest.kind === 'increment';
  verified += r.verified === 'all';
  missed += r.missedCount;
  for (const { kernels } of r.missed) for (const name of kernels) console.log(`  MISSED by ${short(name)}`);
  for (const k of r.manifest.kernels) {
    const name = short(k.name);
    const key = `${name} ${k.verdict}`;
    const row = rows.get(key) ?? { name, verdict: k.verdict, launches: 0, bytes: 0, reason: k.reason };
    row.launches += k.launches;
    row.bytes += k.bytes;
    rows.set(key, row);
  }
}
let unexpected = 0;
for (const { name, verdict, launches, bytes, reason } of [...rows.values()].sort((a, b) =>
  a.name.localeCompare(b.name),
)) {
  const right = !wanted.has(name) || wanted.get(name).includes(verdict);
  if (!right) unexpected++;
  const mark = !wanted.has(name) ? '' : right ? 'as expected' : `EXPECTED ${wanted.get(name).join(' or ')}`;
  console.log(
    `  ${name.slice(0, 28).padEnd(17)} ${verdict.padEnd(10)} ${String(launches).padStart(5)} launches ${(bytes / 1048576 / launches).toFixed(3).padStart(9)} MiB each  ${mark} ${verdict === 'exact' ? '' : reason.slice(0, 90)}`,
  );
}
const seen = new Set([...rows.values()].map(({ name }) => name));
for (const name of wanted.keys())
  if (!seen.has(name)) {
    unexpected++;
    console.log(`  ${name.padEnd(17)} NOT SEEN`);
  }
console.log(`totals missed=${missed} verified=${verified} increments=${increments} unexpected=${unexpected}`);
