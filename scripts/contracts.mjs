// Which entry points of documented libraries have a contract (native/recorder/contracts.def), and why the others have none: the part of docs/support.md
// between the two marks. fixtures/libraries/entry-points.json has the functions that the libraries' headers declare and the libraries export.
//
//   node scripts/contracts.mjs            prints it
//   node scripts/contracts.mjs --write    writes it into docs/support.md
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const DOCUMENT = join(root, 'docs/support.md');
const MARKS = ['<!-- contracts: made by scripts/contracts.mjs -->', '<!-- end of contracts -->'];

/** Why functions have no contract: each of them has exactly one of these reasons. */
const REASONS = [
  [/^cublas(?!Set).*Batched(Ex)?(_64)?$/, 'outputs are found in arrays of pointers in device memory'],
  [/^cublas(Get|Set)(Vector|Matrix)(Async)?(_64)?$/, 'copies, which are told as the driver’s'],
  [/^cublasUint8gemmBias$/, 'not in the documentation'],
  [
    /^cublas(Get|Set)(?!Vector|Matrix)(?!Stream_v2$)|^cublasGetStream|^cublasLogger|^cublasXerbla$/,
    'settings and questions: they write no device memory',
  ],
  [/^cublasLt/, 'descriptors, layouts, heuristics, settings: they write no device memory'],
  [
    /^nccl(Comm|Get|Mem|RedOp|ResetDebug)/,
    'communicators, memory, settings: what they launch stays unknown, and writes NCCL’s own memory or a window that is registered',
  ],
];

const TITLES = {
  cublas: ['cuBLAS', 'cublas_api.h'],
  cublasLt: ['cuBLASLt', 'cublasLt.h'],
  nccl: ['NCCL', 'nccl.h'],
};

/** Symbols of contracts.def. @returns {string[]} */
export function contracts() {
  const table = readFileSync(join(root, 'native/recorder/contracts.def'), 'utf8');
  const rows = [...table.matchAll(/^GCR_CONTRACT(_64)?\(\w+, *\w+, *(\w+),/gm)];
  return rows.flatMap(([, both, symbol]) => (both ? [symbol, `${symbol}_64`] : [symbol]));
}

/** Functions by library: `{ cublas: { version, functions }, … }`. */
export const entryPoints = () => JSON.parse(readFileSync(join(root, 'fixtures/libraries/entry-points.json'), 'utf8'));

/** The reasons that a function without a contract has. */
export const reasonsOf = (name) => REASONS.filter(([pattern]) => pattern.test(name)).map(([, reason]) => reason);

const SHORT = new Set(['nrm2', 'asum', 'scal', 'rot', 'amax', 'amin']);

/** Names with the letters of their types in one: `cublas{S,D}gemm`. */
function folded(names) {
  const groups = new Map();
  const all = new Set(names);
  for (const name of names) {
    if (name.endsWith('_64') && all.has(name.slice(0, -3))) continue;
    const [, two, rest] = /^cublas(HSH|HSS|TST|TSS|I[sdcz]|Sc|Dz|Cs|Zd)([a-z]\w*)$/.exec(name) ?? [];
    const [, one, other] = /^cublas([SDCZH])([a-z]\w*)$/.exec(name) ?? [];
    const isTwo = two && (two.length === 3 || SHORT.has(rest.replace('_v2', '')));
    const [prefix, key] = isTwo ? [two, rest] : one ? [one, other] : ['', name];
    const group = groups.get(key) ?? [];
    groups.set(key, group);
    group.push(prefix);
  }
  return [...groups].map(([key, prefixes]) => {
    if (prefixes[0] === '') return `\`${key}\``;
    return prefixes.length === 1 ? `\`cublas${prefixes[0]}${key}\`` : `\`cublas{${prefixes.join(',')}}${key}\``;
  });
}

/** The part of the document. */
export function coverage() {
  const known = new Set(contracts());
  const lines = [];
  for (const [library, { version, functions }] of Object.entries(entryPoints())) {
    const [title, header] = TITLES[library];
    const without = functions.filter((name) => !known.has(name));
    lines.push(
      `${title} ${version} (\`${header}\`): ${functions.length - without.length} of ${functions.length} entry points have a contract, forms with \`_64\` included.`,
      '',
      '| entry points | |',
      '| --- | --- |',
      `| ${folded(functions.filter((name) => known.has(name))).join(', ')} | a contract |`,
    );
    for (const [, reason] of REASONS) {
      const names = without.filter((name) => reasonsOf(name).includes(reason));
      if (names.length > 0) lines.push(`| ${folded(names).join(', ')} | none: ${reason} |`);
    }
    lines.push('');
  }
  return lines.join('\n').trimEnd();
}

/** What stands in the document. */
export function documented() {
  const text = readFileSync(DOCUMENT, 'utf8');
  const [from, to] = MARKS.map((mark) => text.indexOf(mark));
  return text.slice(from + MARKS[0].length, to).trim();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--write')) {
    const text = readFileSync(DOCUMENT, 'utf8');
    const [from, to] = MARKS.map((mark) => text.indexOf(mark));
    if (from < 0 || to < from) throw new Error(`${DOCUMENT}: the marks are missing`);
    writeFileSync(DOCUMENT, `${text.slice(0, from + MARKS[0].length)}\n\n${coverage()}\n\n${text.slice(to)}`);
  } else console.log(coverage());
}
