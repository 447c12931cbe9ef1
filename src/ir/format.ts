/** Writes a `KernelProgram` as text, one value a line: for people, debugging and golden files. */
import type { KernelProgram, Value } from './program.js';

function formatValue(value: Value, id: number): string {
  const parts: string[] = [value.op];
  if (value.special) parts.push(value.special);
  if (value.space) parts.push(value.space);
  if (value.immediate !== undefined) parts.push(String(value.immediate));
  if (value.reason) parts.push(value.reason);
  if (value.mode?.relation) parts.push(value.mode.relation);
  parts.push(...value.args.map((arg) => `v${arg}`));
  const { access } = value;
  if (access) {
    parts.push(`[${[access.writes, access.reads, access.space].filter(Boolean).join(' ')}`);
    parts.push(access.length === undefined ? `${access.bytes} bytes` : `v${access.length} bytes`);
    if (access.rows) parts.push(`${access.rows.count} rows v${access.rows.stride} apart`);
    if (access.guard !== undefined) parts.push(`if v${access.guard}`);
    if (access.reason) parts.push(access.reason);
    parts[parts.length - 1] += `] ${access.origin.instruction}`;
  }
  return value.width === 0 ? `  ${parts.join(' ')}` : `  v${id}:${value.width} = ${parts.join(' ')}`;
}

/** The program as text. */
export function formatProgram(program: KernelProgram): string {
  const lines = [`kernel ${program.name} (${program.parameterBytes} bytes of parameters)`];
  for (const [index, block] of program.blocks.entries()) {
    const from = block.predecessors.length > 0 ? ` from ${block.predecessors.join(', ')}` : '';
    lines.push(`block ${index}${from}${block.loop === index ? ' (loop)' : ''}`);
    for (let id = block.first; id < block.first + block.count; id++) lines.push(formatValue(program.values[id]!, id));
    const end = block.terminator;
    if (end.kind === 'jump') lines.push(`  jump ${end.target}`);
    else if (end.kind === 'branch') lines.push(`  if v${end.condition} then ${end.whenTrue} else ${end.whenFalse}`);
    else if (end.kind === 'switch') lines.push(`  switch v${end.index} to ${end.targets.join(', ')}`);
    else lines.push('  exit');
  }
  return `${lines.join('\n')}\n`;
}
