/**
 * LZ4 block decompression (the raw block format, without frames): what fatbin entries hold. Every length is checked against
 * both ends, so hostile input can neither read nor write outside, nor produce more than the announced size.
 */

/** Decompresses a block to exactly `size` bytes; undefined when the block is not valid or gives another size. */
export function decompressLz4(input: Buffer, size: number): Buffer | undefined {
  const output = Buffer.alloc(size);
  let from = 0;
  let to = 0;
  /** Lengths of 15 and more go on in further bytes. */
  const extend = (length: number): number => {
    let total = length;
    for (let byte = 255; byte === 255; ) {
      if (from >= input.length) return -1;
      byte = input[from++]!;
      total += byte;
    }
    return total;
  };
  while (from < input.length) {
    const token = input[from++]!;
    let literals = token >> 4;
    if (literals === 15) literals = extend(literals);
    if (literals < 0 || from + literals > input.length || to + literals > size) return undefined;
    input.copy(output, to, from, from + literals);
    from += literals;
    to += literals;
    // The last sequence has literals only.
    if (from === input.length) return to === size ? output : undefined;
    if (from + 2 > input.length) return undefined;
    const distance = input.readUInt16LE(from);
    from += 2;
    let match = token & 15;
    if (match === 15) match = extend(match);
    match += 4;
    if (match < 4 || distance === 0 || distance > to || to + match > size) return undefined;
    // Source and destination may overlap: bytes are copied one by one.
    for (let i = 0; i < match; i++, to++) output[to] = output[to - distance]!;
  }
  return undefined;
}
