/** Sums over judged sessions, and how they are told. */

const percent = (part, whole) => `${((100 * part) / Math.max(1, whole)).toFixed(1)} %`;

export class Tally {
  launches = 0;
  bytes = 0n;
  outside = 0;
  /** By kind: missed, excess, stray. */
  findings = new Map();
  verdicts = [new Map(), new Map()];
  errors = new Map();
  kernels = new Map();

  constructor(leftOut = []) {
    this.leftOut = leftOut;
  }

  get failures() {
    return (this.findings.get('missed') ?? 0) + (this.findings.get('excess') ?? 0);
  }

  /** Counts a session; answers with a line for each finding. */
  add(entry, session, results) {
    const lines = [];
    const key = `${entry.file} ${entry.name}`;
    const kernel = this.kernels.get(key) ?? { told: 0n, wrote: 0n, launches: 0 };
    this.kernels.set(key, kernel);
    for (const result of results) {
      this.launches++;
      kernel.launches++;
      this.bytes += result.bytes;
      if (result.outside) this.outside++;
      kernel.told += result.told;
      kernel.wrote += result.wrote;
      for (const [mode, verdict] of result.verdicts.entries()) {
        this.verdicts[mode].set(verdict, (this.verdicts[mode].get(verdict) ?? 0) + 1);
      }
      if (result.error) {
        const kinds = this.errors.get(result.error.code) ?? new Map();
        this.errors.set(result.error.code, kinds);
        const list = kinds.get(key) ?? { count: 0, message: result.error.message };
        list.count++;
        kinds.set(key, list);
      }
      for (const finding of result.findings) {
        this.findings.set(finding.kind, (this.findings.get(finding.kind) ?? 0) + 1);
        if (finding.kind === 'stray') continue;
        const mode = finding.provenance ? 'with provenance' : 'without provenance';
        lines.push(
          `${finding.kind} (${finding.verdict}, ${mode}) in launch ${result.number}: ${finding.places.join(' ')}\n` +
            `  node scripts/judge.mjs --file ${entry.file} --kernel '${entry.name}' --seed ${session.seed} --index ${session.index}`,
        );
      }
    }
    return lines;
  }

  /** Shows the launches of one session. */
  explain(entry, results) {
    for (const { number, launch, bytes, error, outside, verdicts } of results) {
      const { grid, block, cluster, parameters } = launch;
      const geometry = `grid ${grid} block ${block}${cluster ? ` cluster ${cluster}` : ''}`;
      const end = error ? ` ${error.code} ${error.message}` : '';
      console.log(
        `${entry.name} launch ${number}: ${geometry} parameters ${Buffer.from(parameters).toString('hex')} ` +
          `wrote ${bytes} bytes${outside ? ', some outside' : ''}, ${verdicts.join(' and ')}${end}`,
      );
    }
  }

  /** Ratio of granules told to granules written, by kernel. */
  ratios() {
    return [...this.kernels]
      .filter(([, { wrote }]) => wrote > 0n)
      .map(([key, { told, wrote }]) => [key, Number(told) / Number(wrote)]);
  }

  totals() {
    const shares = this.verdicts.map((counts) =>
      [...counts].map(([verdict, count]) => `${verdict} ${percent(count, this.launches)}`).join(', '),
    );
    return [
      `${this.launches} launches of ${this.kernels.size} kernels, ${this.bytes} bytes written`,
      `missed ${this.findings.get('missed') ?? 0}, in excess of exact ${this.findings.get('excess') ?? 0}`,
      `with provenance: ${shares[0]}`,
      `without: ${shares[1]}`,
      `${this.outside} launches left their allocations, ${this.findings.get('stray') ?? 0} strayed into others: judged without provenance`,
    ].join('\n');
  }

  summary() {
    const lines = [this.totals()];
    for (const [code, kinds] of this.errors) {
      lines.push(`${code}: ended ${[...kinds.values()].reduce((sum, { count }) => sum + count, 0)} launches of`);
      for (const [key, { count, message }] of kinds) lines.push(`  ${key} (${count}): ${message}`);
    }
    lines.push(`${this.leftOut.length} kernels left out`);
    for (const { file, kernel, reason } of this.leftOut) lines.push(`  ${file} ${kernel}: ${reason}`);
    lines.push('granules told for each one written, where above one:');
    for (const [key, ratio] of this.ratios().sort((a, b) => b[1] - a[1])) {
      if (ratio > 1) lines.push(`  ${ratio.toFixed(3)} ${key}`);
    }
    return lines.join('\n');
  }
}
