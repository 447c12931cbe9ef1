/** What a scenario measured, as rows of one table: ours beside a reference, both medians, and whether the target is reached. */

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Some figures, and what stands for all of them. */
export const of = (values) => ({ median: median(values), samples: values });

const number = (value) => {
  if (Number.isInteger(value)) return value.toLocaleString('en-US');
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 0.1 ? 2 : 4;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
};

/** Of ratios, a thousandth counts. */
const quotientText = (value) => (Math.abs(value) < 10 ? value.toFixed(3) : number(value));

/** How a target is written, and what reaches it. */
const TARGETS = {
  atLeast: [(limit) => `≥ ${limit}`, (value, limit) => value >= limit],
  atMost: [(limit) => `≤ ${limit}`, (value, limit) => value <= limit],
  within: [([low, high]) => `${low} to ${high}`, (value, [low, high]) => low <= value && value <= high],
};

/**
 * One row.
 *
 * @param {{ what: string, unit: string, ours: number[], reference?: { name: string, samples: number[] },
 *   ratio?: 'ours/reference' | 'reference/ours' | 'pairs', atLeast?: number, atMost?: number, within?: [number, number], note?: string }} what
 *   `unit` is of ours and reference; `ratio` `pairs` is the median of ours by the reference's sample that was taken right before or after it, and nothing
 *   is where ours is held against the target by itself; of `atLeast`, `atMost` and `within` (two limits) there is one at most
 */
export function row({ what, unit, ours, reference, ratio, note, ...target }) {
  const mine = of(ours);
  const theirs = reference && { name: reference.name, ...of(reference.samples) };
  const quotients = {
    'ours/reference': () => mine.median / theirs.median,
    'reference/ours': () => theirs.median / mine.median,
    pairs: () => median(ours.map((sample, at) => sample / reference.samples[at])),
  };
  const quotient = ratio && quotients[ratio]();
  const [kind, limit] = Object.entries(target)[0] ?? [];
  const judged = quotient ?? mine.median;
  return {
    what,
    unit,
    ours: mine,
    ...(theirs && { reference: theirs }),
    ...(quotient !== undefined && { ratio: quotient, ratioOf: ratio }),
    ...(kind && {
      target: `${TARGETS[kind][0](limit)}${quotient === undefined ? ` ${unit}` : ''}`,
      reached: TARGETS[kind][1](judged, limit),
    }),
    ...(note && { note }),
  };
}

const REACHED = { true: 'yes', false: 'no', undefined: '' };

const machineText = ({ machine, command }) =>
  `${machine.device}, driver ${machine.driver}, ${machine.date}, ${machine.processors}; \`${command}\`.`;

/** Scenarios of all runs, each with its run; of one that was run again the last time counts. */
function latest(runs) {
  const found = new Map();
  for (const run of runs) for (const scenario of run.scenarios) found.set(scenario.name, { ...scenario, run });
  return [...found.values()];
}

/**
 * The whole as text: what was measured on, and the table. Of several runs, each row says of which it is; what stands beside ours in a row is always of
 * the same run.
 */
export function table(runs) {
  const scenarios = latest(runs);
  const used = runs.filter((run) => scenarios.some((scenario) => scenario.run === run));
  const several = used.length > 1;
  const line = (cells, run) => `| ${[...cells, ...(several ? [run] : [])].join(' | ')} |`;
  const columns = ['what', 'ours', 'beside', 'ratio', 'target', 'reached'];
  const lines = [
    ...used.map((run, at) => `${several ? `${at + 1}. ` : ''}${machineText(run)}`),
    '',
    line(columns, 'run'),
    line(
      columns.map(() => '---'),
      '---',
    ),
  ];
  const notes = [];
  for (const { name, rows, failed, skipped, run } of scenarios) {
    for (const { what, unit, ours, reference, ratio, target, reached, note } of rows) {
      const beside = reference ? `${reference.name}: ${number(reference.median)} ${unit}` : '';
      const cells = [
        what,
        `${number(ours.median)} ${unit}`,
        beside,
        ratio === undefined ? '' : quotientText(ratio),
        target ?? '',
        REACHED[reached],
      ];
      lines.push(line(cells, used.indexOf(run) + 1));
      if (note) notes.push(`- ${what}: ${note}`);
    }
    if (skipped) notes.push(`- ${name}: left out, ${skipped}`);
    if (failed) notes.push(`- ${name}: failed, ${failed}`);
  }
  if (notes.length > 0) lines.push('', ...notes);
  return `${lines.join('\n')}\n`;
}
