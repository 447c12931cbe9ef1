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
 * @param what `what`, `unit` (of ours and reference), `ours` (samples), `reference` ({ name, samples }), `ratio`: `ours/reference`, `reference/ours`,
 *   `pairs` (the median of ours by the reference's sample that was taken right before or after it), or nothing where ours is held against the target by
 *   itself; `atLeast`, `atMost` or `within` (two limits); `note`
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

/** The whole as text: what was measured on, and the table. */
export function table({ machine, command, scenarios }) {
  const lines = [
    `${machine.device}, driver ${machine.driver}, ${machine.date}, ${machine.processors}; \`${command}\`.`,
    '',
    '| what | ours | beside | ratio | target | reached |',
    '| --- | --- | --- | --- | --- | --- |',
  ];
  const notes = [];
  for (const { name, rows, failed, skipped } of scenarios) {
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
      lines.push(`| ${cells.join(' | ')} |`);
      if (note) notes.push(`- ${what}: ${note}`);
    }
    if (skipped) notes.push(`- ${name}: left out, ${skipped}`);
    if (failed) notes.push(`- ${name}: failed, ${failed}`);
  }
  if (notes.length > 0) lines.push('', ...notes);
  return `${lines.join('\n')}\n`;
}
