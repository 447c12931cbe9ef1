/**
 * What recipes are written with: buffers with fixed contents, addresses, structs and tensor maps as arguments, and their
 * encoding into a plan's launch (docs/formats/truth.md). Nothing here is random but the gaps between buffers, which are
 * seeded, so that equal recipes give equal plans.
 */

export const MiB = 1 << 20;
export const GiB = 2 ** 30;
/**
 * The arena: asked for 256 MiB below a multiple of 4 GiB, so that a buffer can lie across one. Two more pieces 8 and 16 GiB
 * further take what indices of 32 bits reach when they wrap.
 */
export const ARENA = {
  base: 0x10f0000000,
  size: 17 * GiB,
  segments: [
    [0, 512 * MiB],
    [8 * GiB, 64 * MiB],
    [16 * GiB, 64 * MiB],
  ],
};
/** Offset in the arena where the low 32 bits of an address are zero. */
const CROSSING = 256 * MiB;

/** A place with fixed contents: a buffer or a module variable. */
class Place {
  contents = [];
  relocations = [];
  maps = [];

  bytes(offset, data) {
    this.contents.push([offset, Buffer.from(data)]);
    return this;
  }
  i32(offset, ...values) {
    return this.bytes(offset, Buffer.from(Int32Array.from(values.flat(Infinity), (v) => v | 0).buffer));
  }
  f32(offset, ...values) {
    return this.bytes(offset, Buffer.from(Float32Array.from(values.flat(Infinity)).buffer));
  }
  i64(offset, ...values) {
    return this.bytes(
      offset,
      Buffer.from(BigInt64Array.from(values.flat(Infinity), (v) => BigInt.asIntN(64, BigInt(v))).buffer),
    );
  }
  zero(offset, size) {
    return this.bytes(offset, Buffer.alloc(size));
  }
  /** Addresses, eight bytes each: places or `address(place, addend)`. */
  pointers(offset, ...targets) {
    for (const [index, target] of targets.flat(Infinity).entries()) {
      this.bytes(offset + 8 * index, Buffer.alloc(8));
      this.relocations.push([offset + 8 * index, address(target)]);
    }
    return this;
  }
  tensorMap(offset, map) {
    this.bytes(offset, Buffer.alloc(128));
    this.maps.push([offset, map]);
    return this;
  }
}

class DeviceBuffer extends Place {
  constructor(size, options) {
    super();
    this.size = size;
    this.options = options;
  }
}

class Variable extends Place {
  constructor(name) {
    super();
    this.name = name;
  }
}

/** `size` bytes of noise; `at`: offset in the arena; `crossing`: this byte of it lies at a multiple of 4 GiB. */
export const buffer = (size, options = {}) => new DeviceBuffer(Math.max(size, 1), options);
export const floats = (count, options) => buffer(4 * count, options);
export const ints = (...values) => buffer(4 * Math.max(1, values.flat(Infinity).length)).i32(0, values);
export const longs = (...values) => buffer(8 * Math.max(1, values.flat(Infinity).length)).i64(0, values);
export const variable = (name) => new Variable(name);

export class Address {
  constructor(place, addend) {
    this.place = place;
    this.addend = addend;
  }
}
export const address = (place, addend = 0) => (place instanceof Address ? place : new Address(place, addend));

/** A parameter passed by value: `[offset, type, value]`; types `i32 f32 i64 u8` and `p` for addresses. */
export class Struct {
  constructor(parts) {
    this.parts = parts;
  }
}
export const struct = (...parts) => new Struct(parts);

/** Numbers of cuda.h. */
export const MAP_TYPES = { u8: 0, i32: 3, f16: 6, f32: 7 };
const MAP_SIZES = { u8: 1, i32: 4, f16: 2, f32: 4 };
/** A tensor map over a dense or pitched tensor, innermost dimension first. */
export class TensorMap {
  constructor(place, options) {
    const { type = 'f32', dimensions, box, offset = 0, swizzle = 0, interleave = 0 } = options;
    const size = MAP_SIZES[type];
    let stride = size;
    const dense = dimensions.map((count) => (stride *= count)).slice(0, -1);
    this.place = place;
    this.fields = {
      bufferOffset: offset,
      dataType: MAP_TYPES[type],
      dimensions,
      strides: options.strides ?? dense,
      box,
      elementStrides: options.elementStrides ?? dimensions.map(() => 1),
      interleave,
      swizzle,
      ...(options.lower && { lower: options.lower, upper: options.upper }),
    };
  }
}
export const tensorMap = (place, options) => new TensorMap(place, options);

export const ceil = (n, d) => Math.max(1, Math.ceil(n / d));

/** A generator of small numbers, the same every time. */
export function random(seed) {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/** Encodes one case as a launch of the plan; also gives what the check needs: parameters as they will be, and extents. */
export function encode(kernel, recipe, below, known) {
  const buffers = [];
  const names = new Map();
  const variables = known.map(({ name, initialised }) => [name, initialised && !recipe.noise?.includes(name)]);
  let next = MiB + 256 * below(1024);
  const contents = [];
  const relocations = [];
  const maps = [];
  const pending = [];

  function nameOf(place) {
    const old = names.get(place);
    if (old) return old;
    let name;
    if (place instanceof Variable) {
      const index = known.findIndex((one) => one.name === place.name);
      if (index < 0) throw new Error(`no variable ${place.name}`);
      name = `v${index}`;
    } else {
      const { at, crossing } = place.options;
      const offset = at ?? (crossing === undefined ? next : CROSSING - crossing);
      if (at === undefined && crossing === undefined)
        next = (Math.ceil((next + place.size) / 256) + 2 + below(14)) * 256;
      name = `b${buffers.length}`;
      buffers.push([offset, place.size]);
    }
    names.set(place, name);
    pending.push(place);
    return name;
  }

  const block = Buffer.alloc(kernel.parameterBytes);
  const fake = Buffer.alloc(kernel.parameterBytes);
  function addressOf({ place, addend }) {
    const name = nameOf(place);
    const from =
      name[0] === 'v' ? known[Number(name.slice(1))].fake : BigInt(ARENA.base + buffers[Number(name.slice(1))][0]);
    return BigInt.asUintN(64, from + BigInt(addend));
  }
  function put(offset, size, type, value) {
    if (value instanceof Place || value instanceof Address) {
      const target = address(value);
      relocations.push(['p', offset, nameOf(target.place), target.addend]);
      fake.writeBigUInt64LE(addressOf(target), offset);
      return;
    }
    if (value instanceof TensorMap) {
      maps.push({ place: 'p', offset, buffer: nameOf(value.place), ...value.fields });
      return;
    }
    for (const to of [block, fake]) {
      if (Buffer.isBuffer(value)) value.copy(to, offset);
      else if (type === 'f32') to.writeFloatLE(Number(value), offset);
      else if (type === 'f64') to.writeDoubleLE(Number(value), offset);
      else writeInteger(to, offset, size, BigInt(value));
    }
  }
  const PARTS = { i32: 4, f32: 4, i64: 8, u8: 1, p: 8 };
  if (recipe.args.length !== kernel.parameters.length)
    throw new Error(
      `${kernel.name} ${recipe.name}: ${recipe.args.length} arguments for ${kernel.parameters.length} parameters`,
    );
  for (const [index, value] of recipe.args.entries()) {
    const { offset, size, type } = kernel.parameters[index];
    if (value === undefined) continue; // the second half of what stands before it
    if (value instanceof Struct) for (const [at, kind, part] of value.parts) put(offset + at, PARTS[kind], kind, part);
    else put(offset, size, type, value);
  }
  for (const place of [...(recipe.variables ?? []), ...(recipe.buffers ?? [])]) nameOf(place);
  for (let index = 0; index < pending.length; index++) {
    const place = pending[index];
    const name = nameOf(place);
    for (const [offset, data] of merged(place.contents)) contents.push([name, offset, data.toString('hex')]);
    for (const [offset, target] of place.relocations)
      relocations.push([name, offset, nameOf(target.place), target.addend]);
    for (const [offset, map] of place.maps)
      maps.push({ place: name, offset, buffer: nameOf(map.place), ...map.fields });
  }
  const launch = {
    kernel: kernel.name,
    case: recipe.name,
    grid: recipe.grid,
    block: recipe.block,
    ...(recipe.cluster && { cluster: recipe.cluster }),
    ...(recipe.cooperative && { cooperative: true }),
    sharedMemory: recipe.shared ?? 0,
    ...(recipe.timeout && { timeout: recipe.timeout }),
    parameters: block.toString('hex'),
    // A tensor map is aligned to 64 bytes: the driver's block differs from PTX's.
    ...(maps.some(({ place }) => place === 'p') && {
      layout: kernel.parameters.map(({ offset, size }) => [offset, size]),
    }),
    buffers,
    variables,
    contents,
    relocations,
    ...(maps.length > 0 && { maps }),
  };
  return { launch, parameters: new Uint8Array(fake), buffers };
}

function writeInteger(to, offset, size, value) {
  let bits = BigInt.asUintN(8 * size, value);
  for (let index = 0; index < size; index++, bits >>= 8n) to[offset + index] = Number(bits & 255n);
}

/** Contents that touch or overlap as one; later ones win. */
function merged(contents) {
  const bytes = new Map();
  for (const [offset, data] of contents) for (const [index, byte] of data.entries()) bytes.set(offset + index, byte);
  const result = [];
  for (const at of [...bytes.keys()].sort((a, b) => a - b)) {
    const last = result[result.length - 1];
    if (last && last[0] + last[1].length === at) last[1].push(bytes.get(at));
    else result.push([at, [bytes.get(at)]]);
  }
  return result.map(([offset, list]) => [offset, Buffer.from(list)]);
}
