/**
 * Launches of the hand-written kernels in fixtures/ptx/ideas, and the kernels that are left out with the reason. Names say
 * the idea; what each does is in its file and in inventory-ideas.json.
 */
import { address, buffer, floats, ints, struct, tensorMap } from './builder.mjs';
import { linear, one, over, plain, single, WARPS, warp, warps } from './geometries.mjs';
import { IDEAS_ADDRESSES, unsignedWrap } from './ideas-addresses.mjs';

const stores = {
  k_widths: plain(96),
  k_b128: plain(16),
  k_semantics: linear((t) => [floats(t)]),
  k_hints: linear((t) => [floats(t)]),
  k_generic: linear((t) => [floats(t)]),
  k_either: single(['global', floats(1), 300], ['shared', floats(1), 5]),
  k_isspacep: plain(4),
  k_alloca: single(['one thread', 3]),
  k_cvta_local: single(['one thread', ints(7)]),
  k_cvta_shared: over(WARPS, () => []),
  k_loaded_pointer: single(['a pointer', buffer(24).pointers(16, address(floats(8), 12))]),
  k_shared_only: warps(() => [floats(1)]),
  k_stmatrix: warps(() => []),
  k_wide_number: plain(8),
  k_numbers: single(['one thread', address(buffer(96), 16)]),
  k_discard: over([['four threads', one, [4, 1, 1]]], () => [buffer(512)]),
  k_wmma: () =>
    [16, 20, 32, 100].map((n) => ({
      name: `stride ${n}`,
      grid: one,
      block: warp,
      args: [floats(Math.max(512, 16 * n)), n],
    })),
};

const atomics = {
  k_cas: single(['equal', buffer(48).zero(0, 48)], ['noise', buffer(48)]),
  k_cas_loop: linear((t) => [floats(t)]),
  k_atom: linear(() => [buffer(48)]),
  k_atom_shared: linear(() => []),
  k_slot: linear((_, threads) => [floats(threads), ints(0)]),
  k_red: linear((t) => [buffer(64 * t)]),
  k_leader: warps(() => [floats(1)]),
};

const bulk = {
  k_bulk_loaded: single(['512 bytes', buffer(4096), ints(512)], ['nothing', buffer(4096), ints(0)]),
  k_bulk_param: single(['nothing', buffer(4096), 0], ['16 bytes', buffer(4096), 1], ['everything', buffer(4096), 256]),
  k_bulk_out: over(
    [
      ['one block', one, one],
      ['three blocks', [3, 1, 1], one],
    ],
    (_t, _n, grid) => [buffer(4096 * grid[0])],
  ),
  k_bulk_in: single(['one thread', buffer(4096)]),
  k_bulk_reduce: over(
    [
      ['one block', one, one],
      ['three blocks', [3, 1, 1], one],
    ],
    (_t, _n, grid) => [buffer(1024 * grid[0])],
  ),
  k_bulk_reduce_global: over(
    [
      ['one block', one, [256, 1, 1]],
      ['three blocks', [3, 1, 1], [256, 1, 1]],
    ],
    (_t, _n, grid) => [buffer(2048 * grid[0])],
  ),
  k_cp_async: single(['one thread', buffer(64)]),
  k_async: () => [{ name: 'a cluster', grid: [2, 1, 1], block: one, cluster: [2, 1, 1], args: [] }],
  k_mbarrier: () => [{ name: 'one thread', grid: one, block: one, args: [] }],
  k_tensor_load: single(['a tile', tensorMap(floats(1024), { dimensions: [32, 32], box: [16, 8] })]),
  k_tensor_reduce: single([
    'numbers of 32 bits',
    tensorMap(floats(1024), { type: 'i32', dimensions: [32, 32], box: [16, 8] }),
  ]),
  k_tensor_1d: () =>
    [
      ['overlapping boxes', 1000, 4],
      ['clipped at the end', 300, 100],
    ].map(([name, count, blocks]) => ({
      name,
      grid: [blocks, 1, 1],
      block: one,
      args: [tensorMap(floats(count), { dimensions: [count], box: [256] })],
    })),
  k_tensor_2d: () => [
    {
      name: 'tiles',
      grid: [3, 2, 1],
      block: one,
      args: [tensorMap(floats(800), { dimensions: [40, 20], box: [16, 8] })],
    },
    {
      name: 'clipped',
      grid: [3, 15, 1],
      block: one,
      args: [tensorMap(floats(800), { dimensions: [37, 18], box: [16, 8], strides: [160] })],
    },
    {
      name: 'every second row',
      grid: [2, 3, 1],
      block: one,
      args: [tensorMap(floats(800), { dimensions: [20, 10], box: [8, 4], strides: [320], offset: 64 })],
    },
    {
      name: 'swizzled bytes',
      grid: [2, 2, 1],
      block: one,
      args: [tensorMap(buffer(4096), { type: 'u8', dimensions: [64, 40], box: [32, 16], swizzle: 1 })],
    },
    {
      name: 'stepping elements',
      grid: [2, 2, 1],
      block: one,
      args: [tensorMap(floats(800), { dimensions: [40, 20], box: [16, 8], elementStrides: [1, 2] })],
    },
  ],
  k_tensor_5d: () => [
    {
      name: 'tiles',
      grid: [2, 2, 1],
      block: one,
      args: [tensorMap(floats(1152), { dimensions: [8, 6, 4, 3, 2], box: [4, 2, 2, 2, 1] })],
    },
    {
      name: 'clipped',
      grid: [7, 5, 1],
      block: one,
      args: [tensorMap(floats(1152), { dimensions: [8, 6, 4, 3, 2], box: [4, 2, 3, 2, 2] })],
    },
  ],
  k_im2col: () => {
    const options = { dimensions: [16, 8, 8, 2], box: [16, 16], lower: [0, 0], upper: [0, 0] };
    return [
      {
        name: 'sixteen pixels',
        grid: one,
        block: one,
        args: [buffer(128).tensorMap(0, tensorMap(floats(2048), options))],
      },
    ];
  },
  k_map_copy: over(
    [
      ['one block', one, warp],
      ['three blocks', [3, 1, 1], warp],
    ],
    (_t, _n, grid) => [buffer(128 * grid[0])],
  ),
  k_map_replace: () => {
    const map = buffer(128).tensorMap(0, tensorMap(floats(1024), { dimensions: [32, 32], box: [16, 8] }));
    return [{ name: 'a map', grid: one, block: one, args: [map, floats(4)] }];
  },
};

const guards = {
  k_early: () => linear((t) => [floats(t), Math.ceil(t / 2)])(),
  k_elect: warps((t) => [floats(t)]),
  k_guards: () => linear((t) => [floats(t), Math.ceil(t / 2)])(),
  k_flag: () =>
    [0, 1].flatMap((flag) =>
      linear((t) => [floats(t), ints(flag)])()
        .slice(0, 2)
        .map((c) => ({ ...c, name: `${c.name}, flag ${flag}` })),
    ),
  k_time: linear((t) => [floats(t), ints(1)]),
  k_vote: () =>
    [0, 1].flatMap((flag) =>
      warps((t) => [floats(t), ints(flag)])().map((c) => ({ ...c, name: `${c.name}, flag ${flag}` })),
    ),
  k_trap: single(['goes on', floats(1), ints(1)], ['traps', floats(1), ints(0)]),
  k_assert: single(['holds', 1, floats(1)], ['fails', 0, floats(1)]),
  k_stop: single(['goes on', floats(1), ints(1)], ['stops', floats(1), ints(0)]),
  k_brx: () => [0, 1, 2, 3, 7].map((n) => ({ name: `target ${n}`, grid: one, block: one, args: [floats(3), n] })),
  k_brx_loaded: single(['first', floats(2), ints(0)], ['second', floats(2), ints(1)]),
};

const loops = {
  k_stride: () => [
    { name: 'few threads', grid: [2, 1, 1], block: [32, 1, 1], args: [floats(777), 777] },
    { name: 'more threads', grid: [5, 1, 1], block: [33, 1, 1], args: [floats(100), 100] },
    { name: 'no work', grid: one, block: warp, args: [floats(1), 0] },
    { name: 'negative', grid: one, block: warp, args: [floats(1), -9] },
  ],
  k_irreducible: single(['none', floats(2), 0], ['three', floats(2), 3], ['ten', floats(2), 10]),
  k_nested: () => {
    const { low, high } = unsignedWrap();
    return [
      ...single(
        ['dense', floats(40), 5, 8, 8],
        ['padded', floats(60), 4, 6, 15],
        ['no rows', floats(1), 0, 9, 9],
        ['one place', floats(9), 4, 9, 0],
      )(),
      { name: 'backward rows wrap', grid: one, block: one, args: [low, 3, 5, -9], buffers: [high] },
    ];
  },
  k_pointer: single(['nine', buffer(144), 9], ['none', buffer(1), 0]),
  k_triangular: single(['six', floats(36), 6], ['one', floats(1), 1], ['none', floats(1), 0]),
  k_doubling: () => [
    { name: 'a block', grid: one, block: [40, 1, 1], args: [floats(128), 100] },
    { name: 'one round', grid: one, block: [8, 1, 1], args: [floats(16), 0] },
  ],
  k_same_place: () =>
    [0, 3].map((n) => ({ name: `${n} rounds`, grid: [2, 1, 1], block: [9, 1, 1], args: [floats(18), ints(n)] })),
  k_trips: single(['ten', floats(10), ints(10)], ['none', floats(10), ints(0)]),
  k_two_bounds: single(
    ['data ends it', floats(10), ints([1, 2, 3, 0, 5, 6, 7, 8, 9, 9]), 10],
    ['count ends it', floats(2), ints([1, 2, 3]), 2],
  ),
};

const calls = {
  k_call: linear((t) => [buffer(8 * t)]),
  k_maybe: single(['called', floats(1), ints(1)], ['not called', floats(1), ints(0)]),
  k_indirect: single(['set', floats(3), 0], ['clear', floats(3), 1]),
  k_targets: single(['set', floats(4), ints(0)], ['clear', floats(4), ints(1)]),
  k_malloc: linear(() => []),
  k_printf: single(['one thread']),
  k_pure: single(['thirteen', floats(1), 13]),
  k_recursive: single(['six', floats(7), 6], ['none', floats(1), 0]),
  k_regparam: linear((_t, _n, _g, block) => [floats(block[0])]),
  k_place: linear((t) => [floats(t)]),
  k_struct: linear((_t, _n, _g, block) => [floats(block[0])]),
};

const others = {
  k_braces: linear(() => []),
  k_empty: linear(() => []),
  k_prefetch: single(['one thread', buffer(256)]),
  k_alone: plain(4),
  k_first: plain(4),
  k_module: linear(() => []),
  k_module_pointer: single(['one thread']),
  k_bins: single(['the last', ints(255)], ['the first', ints(0)]),
};

const language = {
  k_addresses: single(['one thread', address(floats(8), 16)]),
  k_alias: plain(4),
  k_attribute: single(['one thread']),
  k_calls: plain(256),
  k_comments: plain(8),
  k_expressions: plain(300),
  k_crlf: plain(4),
  k_debug: plain(4),
  k_loc: plain(4),
  k_nul: plain(4),
  k_dense: plain(64),
  k_pragma: plain(4),
  k_init: () => [{ name: 'a block', grid: one, block: [8, 1, 1], args: [], noise: ['nested', 'packed'] }],
  k_hidden: () => [{ name: 'shared memory', grid: one, block: one, shared: 64, args: [floats(1)] }],
  k_order: plain(64),
  k_names: () => [
    { name: 'five', grid: one, block: [16, 1, 1], args: [floats(20), 5] },
    { name: 'none', grid: one, block: warp, args: [floats(1), 0] },
  ],
  k_none: single(['one thread']),
  k_empty_list: single(['one thread']),
  k_parameters: single(['one thread', buffer(16), buffer(16), 0, struct(), 1.5, 7, -3]),
  k_old_call: linear((_t, _n, _g, block) => [floats(block[0] + 8)]),
  k_registers: () => [{ name: 'a block', grid: one, block: [16, 1, 1], args: [buffer(16)] }],
  k_scopes: () => [{ name: 'a block', grid: one, block: [8, 1, 1], args: [floats(4), floats(4)] }],
  k_sink: () => [{ name: 'a warp', grid: one, block: warp, args: [buffer(48)] }],
  k_same_first: plain(4),
  k_same_second: plain(8),
  k_variadic: plain(4),
};

export const IDEAS = {
  ...stores,
  ...atomics,
  ...bulk,
  ...IDEAS_ADDRESSES,
  ...guards,
  ...loops,
  ...calls,
  ...others,
  ...language,
};

const MULTICAST = 'needs a multicast object of several devices';
const SURFACE = 'writes a CUDA array through a surface, which has no addresses to compare';
const NOT_PTX = 'not PTX: an instruction that does not exist';
/** Kernels that are not launched, beyond those that need another device. */
export const LEFT_OUT = {
  k_absolute: 'writes to a fixed address where nothing is',
  k_extern: 'calls a function of another module',
  k_foreign: 'calls a function of another module',
  k_late: 'refused by ptxas',
  k_parent: 'needs the device runtime library linked in',
  k_forward: 'names a variable of another module',
  k_multimem: MULTICAST,
  k_multimem_bulk: MULTICAST,
  k_reads: 'reads textures and surfaces that are not bound',
  k_sust: SURFACE,
  k_sust_p: SURFACE,
  k_sured: SURFACE,
  k_undefined: 'writes to an address that is undefined',
  k_unreachable: 'does nothing but trap',
  k_modifier: NOT_PTX,
  k_frobnicate: NOT_PTX,
};
