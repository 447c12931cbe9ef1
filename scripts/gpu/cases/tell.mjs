// tell.mjs FILE [N]: an operation's answer: the first line for scripts, then one for people; with N the N kernels with most launches of each verdict.
import { readFileSync } from 'node:fs';

const r = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const m = r.manifest;
const n = Number(process.argv[3] ?? 0);
const mib = (bytes) => (bytes / 1048576).toFixed(1);
if (!m) {
  console.log(
    `id=${r.id} bytes=${r.bytes} ${r.heldMs === undefined ? '' : `held=${r.heldMs.toFixed(1)}`} ${JSON.stringify(r.timings ?? {})}`,
  );
} else {
  console.log(
    `id=${m.id} kind=${m.kind} missed=${r.missedCount} verified=${r.verified} stored=${m.chunks.storedBytes} dirty=${r.dirtyBytes} total=${r.totalBytes} held=${r.heldMs.toFixed(1)}${r.fullBecause ? ` because=${JSON.stringify(r.fullBecause)}` : ''}${r.warning ? ` warning=${JSON.stringify(r.warning)}` : ''}`,
  );
  const byVerdict = {};
  for (const k of m.kernels) {
    byVerdict[k.verdict] ??= { kernels: 0, launches: 0, bytes: 0 };
    const v = byVerdict[k.verdict];
    v.kernels++;
    v.launches += k.launches;
    v.bytes += k.bytes;
  }
  const text = Object.entries(byVerdict)
    .map(([v, x]) => `${v} ${x.launches} launches of ${x.kernels} kernels`)
    .join('; ');
  console.log(
    `${mib(m.chunks.storedBytes)} MiB stored, ${m.chunks.changed} chunks changed, of ${mib(m.allocations.bytes)} MiB in ${m.allocations.count}; launches: ${text}; origins ${JSON.stringify(m.origins)}`,
  );
  console.log(JSON.stringify(r.timings, (_, v) => (typeof v === 'number' ? Math.round(v * 10) / 10 : v)));
  if (r.missedCount > 0) console.log(`MISSED ${JSON.stringify(r.missed).slice(0, 900)}`);
  for (const v of ['unknown', 'allocation', 'bounded', 'exact', 'contract'])
    for (const k of m.kernels
      .filter((k) => k.verdict === v)
      .sort((a, b) => b.launches - a.launches)
      .slice(0, n))
      console.log(`   ${v} ${k.launches} ${k.name.slice(0, 100)} | ${(k.reason ?? '').slice(0, 130)}`);
}
