/**
 * Which instruction forms touch memory, and how. This is the table that soundness rests on: a form that is in neither
 * list is treated as an unknown instruction that may write anything (GCR3001), so a form added to the instruction table
 * is safe before it is described here.
 *
 * `WITHOUT_EFFECT`: never changes global memory, whatever its operands. Shared, local and tensor memory do not count
 * (they do not outlive the launch); barriers live in shared memory.
 */
export const WITHOUT_EFFECT: ReadonlySet<string> = new Set(
  `add sub mul mad mul24 mad24 sad div rem abs neg min max popc clz bfind fns brev bfe bfi szext bmsk dp4a dp2a
  add.cc addc sub.cc subc mad.cc madc testp copysign fma rcp sqrt rsqrt sin cos lg2 ex2 tanh
  set setp selp slct and or xor not cnot lop3 shf shl shr
  vadd vsub vabsdiff vmin vmax vshl vshr vmad vset
  vadd2 vsub2 vavrg2 vabsdiff2 vmin2 vmax2 vset2 vadd4 vsub4 vavrg4 vabsdiff4 vmin4 vmax4 vset4
  mov shfl shfl.sync prmt isspacep cvta cvta.to cvt cvt.pack mapa getctarank
  createpolicy.range createpolicy.fractional createpolicy.cvt
  prefetch prefetchu applypriority cp.async.bulk.prefetch cp.async.bulk.prefetch.tensor
  cp.async.commit_group cp.async.wait_group cp.async.wait_all cp.async.bulk.commit_group cp.async.bulk.wait_group
  bar.sync barrier.sync bar.arrive barrier.arrive bar.red barrier.red bar.warp.sync
  barrier.cluster.arrive barrier.cluster.wait fence fence.proxy membar membar.proxy
  vote vote.sync match.any.sync match.all.sync activemask redux.sync griddepcontrol elect.sync
  mbarrier.init mbarrier.inval mbarrier.expect_tx mbarrier.complete_tx mbarrier.arrive mbarrier.arrive_drop
  mbarrier.arrive.expect_tx mbarrier.arrive.noComplete mbarrier.arrive_drop.expect_tx mbarrier.arrive_drop.noComplete
  cp.async.mbarrier.arrive mbarrier.test_wait mbarrier.try_wait mbarrier.pending_count
  clusterlaunchcontrol.try_cancel clusterlaunchcontrol.query_cancel
  stacksave stackrestore alloca brkpt nanosleep pmevent setmaxnreg istypep txq suq
  wmma.mma mma mma.block_scale ldmatrix stmatrix movmatrix mma.sp mma.sp::ordered_metadata mma.sp.block_scale
  mma.sp::ordered_metadata.block_scale
  wgmma.mma_async wgmma.mma_async.sp wgmma.fence wgmma.commit_group wgmma.wait_group
  tcgen05.alloc tcgen05.dealloc tcgen05.relinquish_alloc_permit tcgen05.ld tcgen05.ld.red tcgen05.st
  tcgen05.wait::ld tcgen05.wait::st tcgen05.cp tcgen05.shift tcgen05.mma tcgen05.mma.block_scale tcgen05.mma.sp
  tcgen05.mma.sp.block_scale tcgen05.mma.ws tcgen05.mma.ws.sp tcgen05.fence::before_thread_sync
  tcgen05.fence::after_thread_sync tcgen05.commit`
    .split(/\s+/)
    .filter((name) => name !== ''),
);

/** Forms that read or write memory through an operand; `lower/memory.ts` has one function for each. */
export const MEMORY_FORMS = [
  'ld',
  'ld.global.nc',
  'ldu',
  'st',
  'st.async',
  'st.bulk',
  'multimem.ld_reduce',
  'multimem.st',
  'multimem.red',
  'discard',
  'cp.async',
  'cp.async.bulk',
  'cp.reduce.async.bulk',
  'cp.async.bulk.tensor',
  'cp.reduce.async.bulk.tensor',
  'multimem.cp.async.bulk',
  'multimem.cp.reduce.async.bulk',
  'tensormap.replace',
  'tensormap.cp_fenceproxy',
  'atom',
  'red',
  'red.async',
  'wmma.load.a',
  'wmma.load.b',
  'wmma.load.c',
  'wmma.store.d',
  'tex',
  'tld4',
  'suld.b',
  'sust.b',
  'sust.p',
  'sured.b',
  'sured.p',
] as const;

export type MemoryForm = (typeof MEMORY_FORMS)[number];

/** Forms that move control; `lower/control.ts` and the block builder handle them. */
export const CONTROL_FORMS: ReadonlySet<string> = new Set(['bra', 'brx.idx', 'call', 'ret', 'exit', 'trap']);

/** What calling a function of the device runtime does. */
export interface RuntimeFunction {
  /** The kind of its write site. */
  readonly effect: 'runtimeMemory' | 'childLaunch';
  readonly returns: boolean;
}

const RUNTIME_ROWS: readonly (readonly [string, RuntimeFunction['effect'], boolean])[] = [
  ['vprintf', 'runtimeMemory', true],
  ['malloc', 'runtimeMemory', true],
  ['free', 'runtimeMemory', true],
  ['__assertfail', 'runtimeMemory', false],
  ['__assert_fail', 'runtimeMemory', false],
  ['cudaLaunchDevice', 'childLaunch', true],
  ['cudaLaunchDeviceV2', 'childLaunch', true],
  ['__cudaCDP2LaunchDevice', 'childLaunch', true],
  ['__cudaCDP2LaunchDeviceV2', 'childLaunch', true],
  // Memory for a child's parameters: written by the parent through the returned pointer, not by the call.
  ['cudaGetParameterBuffer', 'runtimeMemory', true],
  ['cudaGetParameterBufferV2', 'runtimeMemory', true],
  ['__cudaCDP2GetParameterBuffer', 'runtimeMemory', true],
  ['__cudaCDP2GetParameterBufferV2', 'runtimeMemory', true],
];

/** Functions the device runtime provides (CUDA programming guide, "Dynamic Global Memory Allocation", "CUDA Dynamic Parallelism"). */
export const RUNTIME_FUNCTIONS: ReadonlyMap<string, RuntimeFunction> = new Map(
  RUNTIME_ROWS.map(([name, effect, returns]) => [name, { effect, returns }]),
);
