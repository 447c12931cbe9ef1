/**
 * What a supervisor leaves with a process for its successor: the recorder keeps it, unread, and hands it to whoever takes the process over
 * (`keep` and `kept` in docs/formats/runtime-protocol.md). It is with the process wherever that goes, also through a checkpoint of its host memory.
 */

export interface Kept {
  /** The upper half of the process's allocation numbers in a store. */
  readonly tag: number;
  readonly command: readonly string[];
  /** The checkpoint that holds the memory of a suspended process. */
  readonly checkpoint?: string;
}

const VERSION = 1;
/** A message has at most 65,536 bytes. */
const MAX_COMMAND = 32_768;

export function encodeKept({ tag, command, checkpoint }: Kept): string {
  const short: string[] = [];
  let bytes = 0;
  for (const word of command) {
    bytes += Buffer.byteLength(JSON.stringify(word));
    if (bytes > MAX_COMMAND) break;
    short.push(word);
  }
  return JSON.stringify({ version: VERSION, tag, command: short, ...(checkpoint !== undefined && { checkpoint }) });
}

/** Undefined for what is not of this version. */
export function decodeKept(text: string): Kept | undefined {
  let value: Partial<Kept> & { readonly version?: unknown };
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || value.version !== VERSION) return undefined;
  const { tag, command, checkpoint } = value;
  if (!Number.isInteger(tag) || tag! < 0 || tag! >= 2 ** 32) return undefined;
  if (!Array.isArray(command) || command.some((word) => typeof word !== 'string')) return undefined;
  if (checkpoint !== undefined && typeof checkpoint !== 'string') return undefined;
  return { tag: tag!, command, ...(checkpoint !== undefined && { checkpoint }) };
}
