/**
 * Random sessions: a few allocations with content that the trace tells or keeps to itself, and launches of one kernel on them, with
 * what the host does in between. They start from the kernel's recipe, where parameters, sizes and tables belong together, and
 * are then varied: numbers, pointers, geometry, cluster. A session follows from its seed and its kernel alone.
 */
import { encode } from '../truth/recipes/builder.mjs';
import { Random } from './random.mjs';

/** Each allocation has four GiB of addresses for itself, so that an index of 32 bits rarely reaches another one. */
const SLOT = 2 ** 32;
const FIRST_SLOT = 32;
const ARENA_LOW = 0xf0000000;
/**
 * Bytes around an allocation that execution finds content in, so that an access across its border is not taken as one that
 * finds nothing at all.
 */
export const BORDER = 64;
/** Bytes of an allocation that have content; beyond, reads give noise and writes are only recorded. */
const MAPPED = 1 << 20;
const NOISE = 1 << 16;
const PADDINGS = [0, 0, 0, 256, 4096, 65536];
const SPECIAL = [0, 1, -1, 2, -2, 3, 7, 31, 32, 33, 255, 0x7fffffff, -0x80000000, 0x7ffffffe, 0x10000, 0x40000000];
const GENERIC_BYTES = 1 << 14;

const product = (sizes) => sizes.reduce((total, size) => total * size, 1);

/** A case without recipe: every 64-bit parameter a pointer, everything else small numbers. */
function withoutRecipe({ template }, random) {
  const parameters = new Uint8Array(template.parameterBytes);
  const view = new DataView(parameters.buffer);
  const buffers = [];
  const relocations = [];
  for (const { offset, size } of template.parameters) {
    for (let at = 0; at < size; at += 8) {
      if (size - at >= 8 && random.chance(0.8)) {
        relocations.push(['p', offset + at, `b${buffers.length}`, 16 * random.below(GENERIC_BYTES >> 5)]);
        buffers.push([ARENA_LOW, GENERIC_BYTES]);
      } else if (size - at >= 4) view.setInt32(offset + at, random.below(100), true);
      else view.setUint8(offset + at, random.below(256));
    }
  }
  return {
    launch: { grid: [1, 1, 1], block: [32, 1, 1], sharedMemory: 0, contents: [], relocations },
    parameters,
    buffers,
  };
}

/** One case of the kernel's recipe, encoded; without a usable one, any. */
function baseOf(entry, random, chosen) {
  const { template, recipe, variables } = entry;
  const cases = recipe?.(template).filter(({ only }) => !only || entry.file.includes(`${only}.`)) ?? [];
  const one = chosen ?? (cases.length > 0 ? random.pick(cases) : undefined);
  if (!one) return withoutRecipe(entry, random);
  const block = one.block === 'maximum' ? template.bounds.maximumBlock : one.block;
  const known = variables.map(({ name, initial }) => ({ name, initialised: initial !== undefined, fake: 0n }));
  const made = encode(template, { ...one, block }, (limit) => random.below(limit), known);
  const parameters = new Uint8Array(Buffer.from(made.launch.parameters, 'hex'));
  return { launch: made.launch, parameters, buffers: made.buffers };
}

/** Initial content of a module's variables; what nothing initialises is noise. */
function variablePlaces(variables, random) {
  const byName = new Map(variables.map((variable) => [variable.name, variable]));
  return variables.map(({ name, size, address, initial, relocations }) => {
    const image = random.fill(new Uint8Array(size + 2 * BORDER));
    const bytes = image.subarray(BORDER, BORDER + size);
    if (initial !== undefined) {
      bytes.fill(0, 0, size);
      bytes.set(Buffer.from(initial, 'hex'));
      for (const { offset, bytes: count, shift, addend, name: target } of relocations ?? []) {
        const to = byName.get(target);
        if (!to) continue;
        const value = BigInt.asUintN(64, BigInt(to.address) + BigInt(addend)) >> BigInt(shift);
        for (let at = 0; at < count; at++) bytes[offset + at] = Number((value >> BigInt(8 * at)) & 255n);
      }
    }
    return { name, variable: true, address, size, origin: 0, image, bytes, contents: [] };
  });
}

/** Where allocations are: by slots, in an order that `layout` chooses; low halves of addresses stay as the recipe wants them. */
function bufferPlaces(buffers, random, layout, padding) {
  let slot = FIRST_SLOT + 64 * layout;
  const places = buffers.map(([offset, size], index) => {
    const low = (ARENA_LOW + offset) % SLOT;
    const before = Math.min(padding, low);
    const total = before + size + padding;
    const image = new Uint8Array(Math.min(total, MAPPED) + 2 * BORDER);
    random.fill(image.subarray(0, NOISE));
    for (let at = NOISE; at < image.length; at += NOISE) image.copyWithin(at, 0, Math.min(NOISE, image.length - at));
    const bytes = image.subarray(BORDER, image.length - BORDER);
    return {
      name: `b${index}`,
      variable: false,
      low: low - before,
      size: total,
      origin: before,
      image,
      bytes,
      contents: [],
    };
  });
  const order = layout % 2 === 0 ? places : [...places].reverse();
  for (const place of order) {
    place.address = slot * SLOT + place.low;
    slot += 1 + Math.ceil(place.size / SLOT) + layout;
  }
  return places;
}

/** Scalars of the parameter block: what no pointer takes. */
function scalarsOf(template, pointers) {
  const taken = new Set(pointers.flatMap(({ offset }) => Array.from({ length: 8 }, (_, at) => offset + at)));
  const scalars = [];
  for (const { offset, size } of template.parameters) {
    const step = size > 8 ? 4 : size;
    for (let at = offset; at + step <= offset + size; at += step)
      if (!taken.has(at)) scalars.push({ offset: at, size: step });
  }
  return scalars;
}

/** What a session has before any launch. `chosen`: this case of the recipe, without padding. */
export function makeSetting(entry, seed, { layout = 0, chosen } = {}) {
  const random = new Random(seed);
  const base = baseOf(entry, random, chosen);
  const padding = chosen ? 0 : random.pick(PADDINGS);
  const variables = variablePlaces(entry.variables, random);
  const buffers = bufferPlaces(base.buffers, random, layout, padding);
  const nameless = (name) => (name[0] === 'v' ? variables[Number(name.slice(1))] : buffers[Number(name.slice(1))]);
  for (const [name, offset, hex] of base.launch.contents) {
    const place = nameless(name);
    const data = Buffer.from(hex, 'hex');
    if (place.origin + offset + data.length > place.bytes.length) continue;
    place.bytes.set(data, place.origin + offset);
    place.contents.push([place.origin + offset, data.length]);
  }
  const pointers = [];
  for (const [holder, offset, target, addend] of base.launch.relocations) {
    const place = nameless(target);
    const value = BigInt.asUintN(64, BigInt(place.address + place.origin) + BigInt(addend));
    if (holder === 'p') {
      new DataView(base.parameters.buffer).setBigUint64(offset, value, true);
      pointers.push({ offset });
      continue;
    }
    const { bytes, origin } = nameless(holder);
    new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(origin + offset, value, true);
  }
  const tells = chosen ? 'contents' : random.pick(['all', 'contents', 'contents', 'some', 'none', 'none']);
  return {
    random,
    buffers,
    variables,
    tells,
    /** The trace names the module: initial content counts. */
    named: chosen !== undefined || random.chance(0.6),
    // Launches of the same threads, as the steps of a run are: something is kept from one to the next.
    steady: chosen === undefined && random.chance(0.3),
    pointers,
    scalars: scalarsOf(entry.template, pointers),
    grid: [...base.launch.grid],
    block: [...base.launch.block],
    cluster: base.launch.cluster,
    sharedMemory: base.launch.sharedMemory ?? 0,
    parameters: base.parameters,
  };
}

// --- variations ---

function anyNumber(random, old) {
  const kind = random.below(10);
  if (kind < 3) return old > 0 ? random.below(old + 1) : random.below(40);
  if (kind < 5) return old + random.below(5) - 2;
  if (kind < 6) return old >> 1;
  if (kind < 7) return random.below(300);
  if (kind < 9) return random.pick(SPECIAL);
  return random.word() | 0;
}

function varyScalar(random, view, { offset, size }) {
  if (size === 8) {
    const old = view.getBigInt64(offset, true);
    const small = old > -(2n ** 31n) && old < 2n ** 31n ? Number(old) : 100;
    let value = BigInt(anyNumber(random, small));
    if (random.chance(0.1)) value = BigInt.asIntN(64, (BigInt(random.word()) << 32n) | BigInt(random.word()));
    view.setBigInt64(offset, value, true);
  } else if (size === 4) view.setInt32(offset, anyNumber(random, view.getInt32(offset, true)), true);
  else if (size === 2) view.setInt16(offset, anyNumber(random, view.getInt16(offset, true)), true);
  else view.setInt8(offset, anyNumber(random, view.getInt8(offset)));
}

function varyPointer(random, view, { offset }, setting) {
  const places = [...setting.buffers, ...setting.variables];
  const old = view.getBigUint64(offset, true);
  const kind = random.below(8);
  let value = old;
  if (kind < 3) value = old + BigInt(16 * (random.below(33) - 16));
  else if (kind < 4) value = old + BigInt(random.below(33) - 16);
  else if (kind < 7 && places.length > 0) {
    const place = random.pick(places);
    value = BigInt(place.address) + BigInt(16 * random.below(Math.max(1, Math.floor(place.size / 32))));
  } else if (random.chance(0.3)) value = 0n;
  view.setBigUint64(offset, BigInt.asUintN(64, value), true);
}

/** Makes geometry small enough to execute, whole clusters, as the kernel's bounds want it. */
function fitGeometry(shape, template, maxThreads) {
  const { requiredBlock, maximumBlock, requiredCluster } = template.bounds;
  let block = requiredBlock ? [...requiredBlock] : [...shape.block];
  if (maximumBlock && !requiredBlock && product(block) > product(maximumBlock)) block = [...maximumBlock];
  const cluster = requiredCluster ?? shape.cluster ?? [1, 1, 1];
  const grid = shape.grid.map((size, axis) => Math.ceil(size / cluster[axis]) * cluster[axis]);
  for (let rounds = 0; rounds < 64 && product(grid) * product(block) > maxThreads; rounds++) {
    const axis = grid.indexOf(Math.max(...grid));
    if (grid[axis] <= cluster[axis]) break;
    const limit = Math.floor(maxThreads / (product(block) * (product(grid) / grid[axis])));
    const target = Math.max(limit, Math.ceil(grid[axis] / 2));
    const wanted = grid[axis] > 4096 ? Math.max(1, limit) : Math.min(target, grid[axis] - 1);
    grid[axis] = Math.max(1, Math.floor(wanted / cluster[axis])) * cluster[axis];
  }
  return { grid, block, cluster };
}

function varyGeometry(random, shape, clusters) {
  const size = (limit) => 1 + random.below(limit);
  switch (random.below(6)) {
    case 0:
      return { ...shape, grid: [1, 1, 1], block: [1, 1, 1] };
    case 1:
      return { ...shape, grid: [size(9), 1, 1], block: [size(70), 1, 1] };
    case 2:
      return { ...shape, grid: [size(5), size(4), 1], block: [size(40), size(4), 1] };
    case 3:
      return { ...shape, grid: [size(4), size(3), size(3)], block: [size(33), size(3), size(3)] };
    case 4:
      return { ...shape, grid: shape.grid.map((count) => Math.max(1, count + random.below(3) - 1)) };
    default:
      if (!clusters) return { ...shape, grid: [size(40), 1, 1] };
      return { ...shape, grid: [2 * size(3), 2 * size(2), size(2)], cluster: [size(2), size(2), 1] };
  }
}

/** The next launch of a session; `varied` false gives the recipe's own. */
export function nextLaunch(entry, setting, { maxThreads, varied = true }) {
  const { random } = setting;
  const parameters = setting.parameters.slice();
  const view = new DataView(parameters.buffer);
  let shape = { grid: setting.grid, block: setting.block, cluster: setting.cluster };
  if (varied) {
    if (!setting.steady && random.chance(0.45)) shape = varyGeometry(random, shape, /sm_90|ideas/.test(entry.file));
    if (setting.scalars.length > 0 && random.chance(0.5)) {
      for (let count = 1 + random.below(2); count > 0; count--) varyScalar(random, view, random.pick(setting.scalars));
    }
    if (setting.pointers.length > 0 && random.chance(0.3))
      varyPointer(random, view, random.pick(setting.pointers), setting);
  }
  const fitted = fitGeometry(shape, entry.template, maxThreads);
  const isClustered = product(fitted.cluster) > 1;
  return {
    kernel: entry.name,
    grid: fitted.grid,
    block: fitted.block,
    ...(isClustered && { cluster: fitted.cluster }),
    sharedMemory: setting.sharedMemory,
    parameters,
  };
}
