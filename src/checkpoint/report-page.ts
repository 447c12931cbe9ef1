/**
 * The report as one HTML page: no script, no network (its own policy forbids both), light and dark, readable on a phone and with a screen
 * reader: whatever a colour says, a text says, too. Text of the store is untrusted and goes through `text` alone.
 */
import { formatBytes } from './format.js';
import type { AllocationHistory, ReportData } from './report.js';
import { CHUNK_BYTES, type Manifest, ORIGINS, type Origin } from './types.js';

const LEVELS = 4;
/** Checkpoints and allocations that are shown without being asked for. */
const OPEN_CHECKPOINTS = 12;
const OPEN_ALLOCATIONS = 8;

const ORIGIN_NAMES: Readonly<Record<Origin, string>> = {
  none: 'new or not said',
  exact: 'exact',
  bounded: 'bounded',
  allocation: 'allocation',
  unknown: 'unknown',
  copy: 'copy or memset',
  contract: 'library contract',
};

/** Text for HTML, also inside attributes; what could turn or hide text is shown as a dot. */
function text(value: string): string {
  return value
    .replace(/[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, '·')
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const percent = (share: number): string => {
  const value = 100 * share;
  return `${value > 0 && value < 10 ? Math.max(0.1, value).toFixed(1) : value.toFixed(0)} %`;
};
const time = (created: string): string => new Date(created).toISOString().slice(0, 19).replace('T', ' ');
const short = (id: string): string => id.slice(0, 8);
const plural = (count: number, thing: string): string =>
  `${count.toLocaleString('en')} ${thing}${count === 1 ? '' : 's'}`;

const STYLE = `
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#5b6470;--line:#d9dee4;--soft:#f3f5f7;--absent:#e6e9ed;
--none:#8a94a0;--exact:#0b7a5b;--bounded:#2b6cc4;--allocation:#c98a00;--unknown:#c2402a;--copy:#8250b8;--contract:#0a7f92;
--l1:#bfd7f2;--l2:#7fb0e4;--l3:#3f82cc;--l4:#14529c}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e6e9ed;--dim:#9aa4b0;--line:#333a42;--soft:#1d2127;--absent:#262b32;
--none:#7d8894;--exact:#2fb58c;--bounded:#5b9bea;--allocation:#e0ab3a;--unknown:#ee7561;--copy:#b18be0;--contract:#3fb6c9;
--l1:#1f3d5e;--l2:#2d639c;--l3:#4f92dc;--l4:#a8d0ff}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:70rem;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2.5rem 0 .5rem}h3{font-size:1rem;margin:1.5rem 0 .25rem;overflow-wrap:anywhere}
p{margin:.25rem 0 .75rem;max-width:46rem}.dim,th,figcaption,.key{color:var(--dim)}code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
.facts{display:flex;flex-wrap:wrap;gap:.5rem;margin:1rem 0;padding:0}.facts div{background:var(--soft);border-radius:8px;padding:.5rem .9rem;flex:1 1 8rem}
.facts dt{color:var(--dim);font-size:.85rem}.facts dd{margin:0;font-size:1.15rem;font-weight:600;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}th{font-weight:500;text-align:left;font-size:.85rem}
th,td{padding:.4rem .75rem .4rem 0;border-bottom:1px solid var(--line);vertical-align:top}.n{text-align:right;white-space:nowrap}
tbody th{color:var(--fg);font-size:1rem}.small{font-size:.85rem}
svg{display:block;width:100%}.bar{height:12px;border-radius:3px;background:var(--soft)}
.why{min-width:14rem;width:40%}.key{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:.25rem 0 .75rem;padding:0;list-style:none;font-size:.85rem}
.key i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em;vertical-align:-.05em}
figure{margin:.25rem 0 1.25rem}.map{display:flex;gap:.5rem}.map>div{flex:1;min-width:0;border:1px solid var(--line)}
.map ol{list-style:none;margin:1px 0;padding:0;font:11px ui-monospace,monospace;color:var(--dim);display:flex;flex-direction:column;justify-content:space-between}
.map ol.all{justify-content:space-around}figcaption{font-size:.85rem}path{fill:none;stroke-width:1}.axis{display:flex;justify-content:space-between;font-size:.75rem;color:var(--dim)}
${ORIGINS.map((origin) => `.o-${origin}{fill:var(--${origin});background:var(--${origin})}`).join('')}
${[1, 2, 3, 4].map((level) => `.l${level}{stroke:var(--l${level});background:var(--l${level})}`).join('')}.absent{stroke:var(--absent);background:var(--absent)}
@media (max-width:40rem){.wide thead{position:absolute;left:-99rem}.wide tr{display:block;padding:.5rem 0;border-bottom:1px solid var(--line)}
.wide td,.wide th{display:flex;justify-content:space-between;gap:1rem;border:0;padding:.1rem 0;text-align:right}.wide td::before,.wide tbody th::before{content:attr(data-t);color:var(--dim);font-weight:400;text-align:left;flex:none}
.wide .why{display:block;width:100%;text-align:left}.wide .why::before{display:none}.n{white-space:normal}td span,td code{overflow-wrap:anywhere}}
details{margin:.75rem 0}summary{cursor:pointer;color:var(--dim)}a{color:var(--bounded)}
@media print{body{max-width:none}}`;

/** A cell whose column's name is shown beside it where the page is narrow. */
const cell = (name: string, content: string, kind = ''): string =>
  `<td data-t="${name}"${kind && ` class="${kind}"`}><div>${content}</div></td>`;

function facts(data: ReportData): string {
  const latest = data.checkpoints[0];
  const entries: [string, string][] = [
    ['checkpoints', data.total.toLocaleString('en')],
    ['stored in all', formatBytes(data.storedBytes)],
  ];
  if (latest) {
    entries.push(['memory of the newest', formatBytes(latest.allocations.bytes)]);
    entries.push(['changed since its parent', percent(Math.min(1, changed(latest)))]);
    if (latest.device) entries.push(['device', text(latest.device.name)]);
  }
  return `<dl class="facts">${entries.map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`).join('')}</dl>`;
}

const changed = ({ chunks, allocations }: Manifest): number =>
  allocations.bytes === 0 ? 0 : Math.min(1, (chunks.changed * CHUNK_BYTES) / allocations.bytes);

/** Chunks that changed, by why they were looked at: a bar over the whole width, and the same in words. */
function why({ origins }: Manifest): string {
  const total = ORIGINS.reduce((sum, origin) => sum + origins[origin], 0);
  if (total === 0) return '<span class="dim small">nothing changed</span>';
  let at = 0;
  const parts = ORIGINS.filter((origin) => origins[origin] > 0);
  const bars = parts.map((origin) => {
    const width = (1000 * origins[origin]) / total;
    at += width;
    return `<rect class="o-${origin}" x="${(at - width).toFixed(1)}" width="${Math.max(1, width).toFixed(1)}" height="10"/>`;
  });
  const words = parts.map((origin) => `${ORIGIN_NAMES[origin]} ${percent(origins[origin] / total)}`).join(', ');
  const svg = `<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">${bars.join('')}</svg>`;
  return `${svg}<span class="small">${words}</span>`;
}

function chain(data: ReportData): string {
  const shown = new Set(data.checkpoints.map(({ id }) => id));
  const rows = data.checkpoints.map((manifest) => {
    const { id, parent, created, kind, allocations, chunks, map, note } = manifest;
    const link =
      parent !== null && shown.has(parent) ? `<a href="#c${parent}">${short(parent)}</a>` : parent && short(parent);
    const descent = kind === 'full' ? `full${link ? `, after ${link}` : ''}` : `increment of ${link}`;
    const depth = map.complete ? 'complete map' : `${map.depth} after a complete map`;
    const about = `${descent}, ${depth}${note ? `<br><span class="dim">${text(note)}</span>` : ''}`;
    return `<tr id="c${id}"><th scope="row" data-t="checkpoint"><code>${short(id)}</code></th>${[
      cell('created (UTC)', time(created)),
      cell('what', `<span class="small">${about}</span>`),
      cell('memory', formatBytes(allocations.bytes), 'n'),
      cell(
        'changed',
        `${formatBytes(Math.min(chunks.changed * CHUNK_BYTES, allocations.bytes))}<br><span class="dim small">${percent(changed(manifest))}</span>`,
        'n',
      ),
      cell('stored', formatBytes(chunks.storedBytes), 'n'),
      cell('why it was looked at', why(manifest), 'why'),
    ].join('')}</tr>`;
  });
  const heads = [
    'checkpoint',
    'created (UTC)',
    'what',
    'memory',
    'changed',
    'stored',
    'why changed chunks were looked at',
  ];
  const head = heads.map((name, i) => `<th scope="col"${i > 2 && i < 6 ? ' class="n"' : ''}>${name}</th>`).join('');
  const tableOf = (some: readonly string[]) =>
    `<table class="wide"><thead><tr>${head}</tr></thead><tbody>${some.join('')}</tbody></table>`;
  const older = rows.slice(OPEN_CHECKPOINTS);
  const more =
    older.length > 0
      ? `<details><summary>${plural(older.length, 'older checkpoint')}</summary>${tableOf(older)}</details>`
      : '';
  const legend = ORIGINS.map((origin) => `<li><i class="o-${origin}"></i>${ORIGIN_NAMES[origin]}</li>`).join('');
  const cut = data.checkpoints.length < data.total ? ` The newest ${data.checkpoints.length} are listed.` : '';
  return `<h2>Chain</h2><p class="dim">The newest first.${cut} A chunk is ${CHUNK_BYTES / 1024} KiB; bars divide the chunks that changed by the verdict of the launch that dirtied them.</p>
<ul class="key">${legend}</ul>${tableOf(rows.slice(0, OPEN_CHECKPOINTS))}${more}`;
}

/** One path a level: runs of equal buckets, a line each. */
function heat({ rows, buckets }: AllocationHistory): string {
  const paths = new Map<string, string>();
  const draw = (name: string, row: number, from: number, length: number) =>
    paths.set(name, `${paths.get(name) ?? ''}M${from} ${row}.5h${length}`);
  for (const [row, shares] of rows.entries()) {
    if (!shares) {
      draw('absent', row, 0, buckets);
      continue;
    }
    const level = (i: number) => (i < buckets ? Math.min(LEVELS, Math.ceil(shares[i]! * LEVELS)) : -1);
    for (let from = 0; from < buckets; ) {
      let to = from + 1;
      while (level(to) === level(from)) to++;
      if (level(from) > 0) draw(`l${level(from)}`, row, from, to - from);
      from = to;
    }
  }
  return [...paths].map(([name, path]) => `<path class="${name}" d="${path}"/>`).join('');
}

function allocationFigure(history: AllocationHistory, drawn: readonly Manifest[]): string {
  const { allocation, rows, buckets, changedBytes } = history;
  const height = Math.round(Math.max(4, Math.min(14, 280 / rows.length)));
  const touched = rows.filter((row) => row?.some((share) => share > 0)).length;
  const there = rows.filter((row) => row !== undefined).length;
  const sum = `changed in ${touched} of ${plural(there, 'checkpoint')}, ${formatBytes(changedBytes)} in all`;
  const ids = drawn.map(({ id }) => short(id));
  const every = ids.length <= 30;
  const labels = (every ? ids : [ids[0]!, ids.at(-1)!]).map(
    (id) => `<li style="line-height:${every ? height : 12}px">${id}</li>`,
  );
  const name = allocation.label === '' ? `allocation ${allocation.id}` : text(allocation.label);
  const where = `0x${allocation.address.toString(16)}, ${formatBytes(allocation.size)}, ${allocation.kind}`;
  const size = `viewBox="0 0 ${buckets} ${rows.length}" preserveAspectRatio="none" style="height:${rows.length * height}px"`;
  return `<h3>${name} <span class="dim small">${where}</span></h3><figure><div class="map"><ol aria-hidden="true"${every ? ' class="all"' : ''}>${labels.join('')}</ol><div>
<svg ${size} shape-rendering="crispEdges" role="img" aria-label="${name}: ${sum}">${heat(history)}</svg></div></div>
<figcaption>${sum}; left to right from its first to its last byte, the newest checkpoint on top</figcaption></figure>`;
}

function allocations(data: ReportData): string {
  if (data.histories.length === 0) return '';
  const levels = ['some', 'over 25 %', 'over 50 %', 'over 75 %'];
  const key = levels.map((words, i) => `<li><i class="l${i + 1}"></i>${words}</li>`).join('');
  const figures = data.histories.map((history) => allocationFigure(history, data.drawn));
  const open = figures.slice(0, OPEN_ALLOCATIONS).join('');
  const rest = figures.slice(OPEN_ALLOCATIONS);
  const more =
    rest.length > 0
      ? `<details><summary>${plural(rest.length, 'allocation')} in which less changed</summary>${rest.join('')}</details>`
      : '';
  const omitted = data.omitted > 0 ? `<p class="dim">${plural(data.omitted, 'more allocation')} not drawn.</p>` : '';
  const newest = data.drawn.length < data.total ? ` The newest ${data.drawn.length} checkpoints are drawn.` : '';
  return `<h2>What changed where</h2><p class="dim">Each row is a checkpoint: which parts of the allocation differ from its parent. What was not there before counts as changed.${newest}</p>
<ul class="key"><li>share of a part that changed:</li>${key}<li><i class="absent"></i>not allocated</li></ul>${open}${more}${omitted}`;
}

function kernels({ kernels }: ReportData): string {
  if (kernels.length === 0) return '<h2>Least certain kernels</h2><p class="dim">No checkpoint names any.</p>';
  const rows = kernels.map(
    (kernel) =>
      `<tr><th scope="row" data-t="kernel"><code>${text(kernel.name)}</code></th>${[
        cell('verdict', `<span class="small">${kernel.verdict}</span>`),
        cell('launches', kernel.launches.toLocaleString('en'), 'n'),
        cell('bytes', formatBytes(kernel.bytes), 'n'),
        cell('reason', `<span class="small">${text(kernel.reason) || '<span class="dim">none given</span>'}</span>`),
      ].join('')}</tr>`,
  );
  return `<h2>Least certain kernels</h2><p class="dim">Bytes count once for each launch. What a kernel may have written and its template cannot say is saved all the same, only at a higher cost.</p>
<table class="wide"><thead><tr><th scope="col">kernel</th><th scope="col">verdict</th><th scope="col" class="n">launches</th><th scope="col" class="n">bytes</th><th scope="col">reason</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

/** The page, from `<!doctype html>` to its end. */
export function renderPage(data: ReportData): string {
  const name = text(data.place);
  const warning =
    data.damaged > 0
      ? `<p><strong>${plural(data.damaged, 'manifest')} cannot be read</strong>: run <code>gcr-templates verify</code>.</p>`
      : '';
  const body =
    data.total === 0
      ? '<p>No checkpoints yet.</p>'
      : `${facts(data)}${chain(data)}${allocations(data)}${kernels(data)}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Checkpoints in ${name}</title><style>${STYLE}</style></head>
<body><header><h1>Checkpoints</h1><code class="dim">${name}</code></header><main>${warning}${body}</main></body></html>
`;
}
