"""Triton kernels that write in every way: places of their own, through an index in memory, by atomics, through tensor maps made by the host and by the kernel.
Every step launches each once and nothing else. tri.py STEPS SLEEP"""
import os, sys, time
if os.environ.get("SIM"): os.environ["TRITON_INTERPRET"] = "1"
import torch, triton, triton.language as tl
from common import SIM, Counter, Log, digest_of, over

if SIM and not hasattr(torch.Tensor, "untyped_storage"): torch.Tensor.untyped_storage = lambda x: x.storage().untyped() if hasattr(x.storage(), "untyped") else x.storage()._storage

@triton.jit
def stir(u, n, k, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(u + i, tl.load(u + i, i < n, 0) * 1664525 + 1013904223 + k, i < n)
@triton.jit
def axpy(u, y, n, alpha, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(y + i, i < n, 0.0) * 0.5 + alpha * (tl.load(u + i, i < n, 0) & 1023).to(tl.float32), i < n)
@triton.jit
def softmax(x, y, columns, stride, BLOCK: tl.constexpr):
    r = tl.program_id(0)
    i = tl.arange(0, BLOCK)
    v = tl.load(x + r * stride + i, i < columns, other=-float("inf"))
    e = tl.exp((v - tl.max(v, 0)) * 0.001)
    tl.store(y + r * stride + i, (e / tl.sum(e, 0) * 512).to(tl.float16), i < columns)
@triton.jit
def product(a, b, c, m, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, j = tl.program_id(0) * M + tl.arange(0, M), tl.program_id(1) * N + tl.arange(0, N)
    s = tl.zeros((M, N), tl.float32)
    for at in range(0, k, K):
        l = at + tl.arange(0, K)
        s += tl.dot(tl.load(a + i[:, None] * k + l[None, :], (i[:, None] < m) & (l[None, :] < k), other=0.0), tl.load(b + l[:, None] * n + j[None, :], (l[:, None] < k) & (j[None, :] < n), other=0.0))
    tl.store(c + i[:, None] * n + j[None, :], s.to(tl.float16), (i[:, None] < m) & (j[None, :] < n))
@triton.jit
def scatter(index, x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + tl.load(index + i, i < n), tl.load(x + i, i < n), i < n)
@triton.jit
def rows_scatter(slots, x, cache, width, BLOCK: tl.constexpr):
    r = tl.program_id(0)
    i = tl.arange(0, BLOCK)
    tl.store(cache + tl.load(slots + r) * width + i, tl.load(x + r * width + i, i < width), i < width)
@triton.jit
def histogram(x, h, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(h + tl.load(x + i, i < n, 0), 1, i < n)
@triton.jit
def histogram_masked(x, h, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(h + ((tl.load(x + i, i < n, 0) >> 8) & 4095), 1, i < n)
@triton.jit
def largest(index, x, h, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_max(h + tl.load(index + i, i < n, 0), tl.load(x + i, i < n, 0), i < n)
@triton.jit
def persistent(x, y, n, BLOCK: tl.constexpr):
    for tile in range(tl.program_id(0), tl.cdiv(n, BLOCK), tl.num_programs(0)):
        i = tile * BLOCK + tl.arange(0, BLOCK)
        tl.store(y + i, tl.load(x + i, i < n) + 1.0, i < n)
@triton.jit
def map_by_kernel(a, b, rows, columns, factor, R: tl.constexpr, C: tl.constexpr):
    p = tl.make_tensor_descriptor(a, [rows, columns], [columns, 1], [R, C])
    q = tl.make_tensor_descriptor(b, [rows, columns], [columns, 1], [R, C])
    at = tl.program_id(0) * R
    to = tl.program_id(1) * C
    q.store([at, to], p.load([at, to]) * factor)
@triton.jit
def map_by_host(p, q, factor, R: tl.constexpr, C: tl.constexpr):
    at = tl.program_id(0) * R
    to = tl.program_id(1) * C
    q.store([at, to], p.load([at, to]) * factor)
@triton.jit
def map_sum(p, q, R: tl.constexpr, C: tl.constexpr):
    at = tl.program_id(0) * R
    to = tl.program_id(1) * C
    q.atomic_add([at, to], p.load([at, to]))

def main():
    steps, pause = int(sys.argv[1]), float(sys.argv[2])
    log, dev = Log("rank0"), "cpu" if SIM else "cuda"
    torch.manual_seed(1)
    counter = Counter() if SIM else None
    side = 64 if SIM else 1024
    n, block, cdiv = side * side, 1024, triton.cdiv
    if hasattr(triton, "set_allocator"): triton.set_allocator(lambda size, align, stream: torch.empty(size, device=dev, dtype=torch.int8))
    random = lambda low, high, *shape: torch.randint(low, high, shape, dtype=torch.int32).to(dev)
    zeros = lambda *shape, dtype=torch.float32: torch.zeros(*shape, dtype=dtype, device=dev)
    u, y, t, b, c = random(-(1 << 30), 1 << 30, n), zeros(n), zeros(n, dtype=torch.float16), torch.randn(side, side).to(dev, torch.float16), zeros(n, dtype=torch.float16)
    index, z = torch.randperm(n).to(torch.int32).to(dev), zeros(n)
    slots, cache = torch.randperm(4 * side)[:side].to(torch.int32).to(dev), zeros(4 * side * side)
    bins, h, h2, top, w = random(0, 4096, n), zeros(4096, dtype=torch.int32), zeros(4096, dtype=torch.int32), zeros(4096, dtype=torch.int32), zeros(n)
    d, e, g, s = y.view(side, side), zeros(side, side), zeros(side, side), zeros(side, side)
    ballast = torch.randn((1 if SIM else 64) << 18).to(dev)
    try:
        from triton.tools.tensor_descriptor import TensorDescriptor
        tile = 32 if SIM else 64
        maps = [TensorDescriptor.from_tensor(x, [tile, tile]) for x in (d, g, s)]
    except Exception as error: maps = None; log.say("skip", "maps by the host:", repr(error)[:150])
    grid = (cdiv(n, block),)
    tiles = (cdiv(side, 32 if SIM else 64),) * 2
    T = 32 if SIM else 64
    def work(k):
        yield "stir", lambda: stir[grid](u, n, k, BLOCK=block)
        yield "axpy", lambda: axpy[grid](u, y, n, 0.25 + (k % 7) / 8, BLOCK=block)
        yield "softmax", lambda: softmax[(side,)](y, t, side, side, BLOCK=side)
        yield "product", lambda: product[tiles](t, b, c, side, side, side, M=T, N=T, K=32)
        yield "scatter", lambda: scatter[grid](index, y, z, n, BLOCK=block)
        yield "rows_scatter", lambda: rows_scatter[(side,)](slots, y, cache, side, BLOCK=side)
        yield "histogram", lambda: histogram[grid](bins, h, n, BLOCK=block)
        yield "histogram_masked", lambda: histogram_masked[grid](u, h2, n, BLOCK=block)
        yield "largest", lambda: largest[grid](bins, u, top, n, BLOCK=block)
        yield "persistent", lambda: persistent[(16,)](y, w, n, BLOCK=block)
        yield "map_by_kernel", lambda: map_by_kernel[tiles](d, e, side, side, 0.5, R=T, C=T)
        if maps:
            yield "map_by_host", lambda: map_by_host[tiles](maps[0], maps[1], 0.25, R=T, C=T)
        if maps and not SIM:
            yield "map_sum", lambda: map_sum[tiles](maps[0], maps[2], R=T, C=T)
    left_out = set()
    def step(k):
        for name, launch in work(k):
            if name in left_out: continue
            try: launch()
            except Exception as error:
                left_out.add(name); log.say("skip", name, repr(error).replace("\n", " ")[:220])
        if not SIM: torch.cuda.synchronize()
        if counter: counter.add_(1)
    step(3)
    log.say("ready", os.getpid()); print("ready", flush=True)
    for k in range(steps):
        if over(): break
        step(k)
        log.say("step", k + 1)
        if (k + 1) % 10 == 0: log.say("digest", k + 1, digest_of([u, y, t, c, z, cache, h, h2, top, w, e, g, s]))
        time.sleep(pause)
    log.say("end"); print("end", flush=True)
if __name__ == "__main__": main()
