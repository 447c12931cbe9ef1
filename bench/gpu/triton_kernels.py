"""Triton kernels written by hand, one for each way in which kernels write: rows of their own, places computed from an index in memory (the keys
and values of a decoding step), guarded tiles, sums by atomics, one number. What Triton compiles is machine code, with its PTX in a cache beside it.
"""
import torch
import triton
import triton.language as tl

BLOCK = 1024
ROWS = 64


@triton.jit
def normalized(x, out, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    place = tl.arange(0, BLOCK)
    inside = place < columns
    values = tl.load(x + row * columns + place, mask=inside, other=0.0)
    scale = 1.0 / tl.sqrt(tl.sum(values * values) / columns + 1e-6)
    tl.store(out + row * columns + place, values * scale, mask=inside)


@triton.jit
def scattered(cache, rows, slot, columns, window, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    place = tl.arange(0, BLOCK)
    inside = place < columns
    at = tl.load(slot) % window
    values = tl.load(rows + row * columns + place, mask=inside)
    tl.store(cache + (row * window + at) * columns + place, values, mask=inside)


@triton.jit
def product(a, b, c, m, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    rows = tl.program_id(0) * M + tl.arange(0, M)
    columns = tl.program_id(1) * N + tl.arange(0, N)
    total = tl.zeros((M, N), dtype=tl.float32)
    for start in range(0, k, K):
        inner = start + tl.arange(0, K)
        left = tl.load(a + rows[:, None] * k + inner[None, :], mask=(rows[:, None] < m) & (inner[None, :] < k), other=0.0)
        right = tl.load(b + inner[:, None] * n + columns[None, :], mask=(inner[:, None] < k) & (columns[None, :] < n), other=0.0)
        total += tl.dot(left, right, input_precision="ieee")
    tl.store(c + rows[:, None] * n + columns[None, :], total, mask=(rows[:, None] < m) & (columns[None, :] < n))


@triton.jit
def counted(x, counts, size, bins, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    bin = tl.abs(tl.load(x + place, mask=inside, other=0.0)) * 8
    tl.atomic_add(counts + bin.to(tl.int32) % bins, 1, mask=inside)


@triton.jit
def advanced(slot):
    tl.store(slot, tl.load(slot) + 1)


class Kernels:
    """One step launches each kernel once, and no other: where all of a step's kernels have PTX, what they leave alone can be judged. The state of
    all is on the device."""

    def __init__(self, hidden):
        self.columns, self.window = hidden - 24, 128
        size = (ROWS, self.columns)
        self.x, self.normal = torch.randn(size, dtype=torch.float32), torch.zeros(size, dtype=torch.float32)
        self.weights = torch.randn((self.columns, self.columns), dtype=torch.float32) * 0.05
        self.cache = torch.zeros((ROWS, self.window, self.columns), dtype=torch.float32)
        self.slot, self.counts = torch.zeros(1, dtype=torch.int32), torch.zeros(100, dtype=torch.int32)

    def run(self):
        columns, block = self.columns, triton.next_power_of_2(self.columns)
        normalized[(ROWS,)](self.x, self.normal, columns, BLOCK=block)
        scattered[(ROWS,)](self.cache, self.normal, self.slot, columns, self.window, BLOCK=block)
        grid = (triton.cdiv(ROWS, 32), triton.cdiv(columns, 32))
        product[grid](self.normal, self.weights, self.x, ROWS, columns, columns, M=32, N=32, K=32)
        counted[(triton.cdiv(self.x.numel(), BLOCK),)](self.x, self.counts, self.x.numel(), 100, BLOCK=BLOCK)
        advanced[(1,)](self.slot)

    def left(self):
        return [self.x, self.normal, self.cache, self.slot, self.counts]
