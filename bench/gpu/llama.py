"""A Llama-shaped model with random weights, decoding and training as stock PyTorch does it. 1.1 billion parameters unless --small.

    llama.py [--small] [--seed N] [--sleep S] MODE STEPS [MODE STEPS ...]     runs the steps and prints, after each MODE's, a digest of everything they left behind
    llama.py [--small] [--seed N] --pace      reads commands from standard input, answers each with a line

Modes: decode (eager), replay (a captured CUDA graph of a decode step), compiled (torch.compile), streams (two streams beside each
other), products (nothing but cuBLAS), triton (kernels of our own, see triton_kernels.py), train (AdamW, all parameters), last (AdamW, last layer alone). Commands:
`MODE STEPS`; `stamped MODE STEPS` (a time stamp behind every module: see Stamps); `prepare MODE`; `snapshot` (keeps a copy of all device
memory); `changed` (compares with it, in chunks of 64 KiB); `dump FILE` (writes all device memory); `hooks off` and `hooks on` (see hooks.py); `digest`, which
the end of input prints, too.
Everything is deterministic, so two runs of the same commands print the same digest.
"""
import ctypes
import gc
import hashlib
import json
import os
import sys
import time

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
import torch
import torch.nn.functional as F

import hooks

CHUNK = 65536
# Sequences that are decoded at once: a step then changes between 4 and 6 % of all memory.
DECODED = 12
FULL = {"vocabulary": 32000, "hidden": 2048, "layers": 22, "inner": 5632, "heads": 32, "key_heads": 4, "window": 2048}
SMALL = {"vocabulary": 1000, "hidden": 256, "layers": 2, "inner": 512, "heads": 4, "key_heads": 2, "window": 256}
TRAINED = 8


def rotated(x, cosine, sine):
    a, b = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-b, a), dim=-1) * sine


class Layer(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        hidden, self.heads, self.key_heads = c["hidden"], c["heads"], c["key_heads"]
        self.size = hidden // self.heads
        linear = lambda a, b: torch.nn.Linear(a, b, bias=False)
        self.before, self.between = torch.nn.RMSNorm(hidden), torch.nn.RMSNorm(hidden)
        self.q, self.o = linear(hidden, hidden), linear(hidden, hidden)
        self.k, self.v = (linear(hidden, self.key_heads * self.size) for _ in range(2))
        self.gate, self.up, self.down = linear(hidden, c["inner"]), linear(hidden, c["inner"]), linear(c["inner"], hidden)

    def forward(self, x, cosine, sine, cache=None, slot=None):
        batch, length, _ = x.shape
        y = self.before(x)
        split = lambda t, heads: t.view(batch, length, heads, self.size).transpose(1, 2)
        q, k, v = split(self.q(y), self.heads), split(self.k(y), self.key_heads), split(self.v(y), self.key_heads)
        q, k = rotated(q, cosine, sine), rotated(k, cosine, sine)
        if cache is not None:
            # A window of the last keys and values, the oldest overwritten: the same shapes in every step, as captured graphs need them.
            k, v = cache[0].index_copy_(2, slot, k), cache[1].index_copy_(2, slot, v)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=cache is None, enable_gqa=True)
        x = x + self.o(y.transpose(1, 2).reshape(batch, length, -1))
        y = self.between(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embedding = torch.nn.Embedding(c["vocabulary"], c["hidden"])
        self.layers = torch.nn.ModuleList(Layer(c) for _ in range(c["layers"]))
        self.norm = torch.nn.RMSNorm(c["hidden"])
        self.head = torch.nn.Linear(c["hidden"], c["vocabulary"], bias=False)

    def forward(self, tokens, positions, caches=None, slot=None):
        x = self.embedding(tokens)
        size = self.c["hidden"] // self.c["heads"]
        angles = positions[:, None] * 10000 ** (-torch.arange(0, size, 2, device=x.device) / size)[None, :]
        cosine, sine = (f(torch.cat((angles, angles), dim=-1)).to(x.dtype) for f in (torch.cos, torch.sin))
        for i, layer in enumerate(self.layers):
            x = layer(x, cosine, sine, caches and caches[i], slot)
        return self.head(self.norm(x))


class Decode:
    """One token for each sequence of a batch in every step; the next input is the likeliest token."""

    def __init__(self, c, kind):
        self.model = Llama(c).requires_grad_(False)
        self.position = torch.zeros(1, dtype=torch.long)
        self.tokens = torch.randint(c["vocabulary"], (DECODED, 1))
        shape = (DECODED, c["key_heads"], c["window"], c["hidden"] // c["heads"])
        self.caches = [tuple(torch.randn(shape) for _ in range(2)) for _ in self.model.layers]
        self.run = self.plain
        if kind == "replay":
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    self.plain()
            torch.cuda.current_stream().wait_stream(side)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.plain()
            self.run = self.graph.replay
        elif kind == "compiled":
            for layer in self.model.layers:
                layer.compile()
            self.plain()

    @torch.no_grad()
    def plain(self):
        logits = self.model(self.tokens, self.position, self.caches, self.position % self.caches[0][0].shape[2])
        self.tokens.copy_(logits[:, -1].argmax(-1, keepdim=True))
        self.position += 1

    def left(self):
        return [self.tokens, self.position, *(t for pair in self.caches for t in pair)]


class Train:
    def __init__(self, c, kind):
        self.c, self.model, self.losses = c, Llama(c), []
        if kind == "last":
            self.model.requires_grad_(False)
            self.model.layers[-1].requires_grad_(True)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, 1e-4)
        self.positions = torch.arange(256)

    def run(self):
        tokens = torch.randint(self.c["vocabulary"], (TRAINED, 257), device="cuda")
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.model(tokens[:, :-1], self.positions)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.detach())

    def left(self):
        return [*self.losses, *self.trained]


class Streams:
    """Two streams that meet now and then."""

    def __init__(self, c, _):
        self.a, self.b = (torch.randn(c["hidden"], c["hidden"]) for _ in range(2))
        self.streams = [torch.cuda.Stream() for _ in range(2)]

    def run(self):
        for t, stream in zip((self.a, self.b), self.streams):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                t.copy_(F.normalize(t @ t.T))
        for stream in self.streams:
            torch.cuda.current_stream().wait_stream(stream)
        self.a, self.b = self.b, self.a + self.b * 0.5

    def left(self):
        return [self.a, self.b]


class Products:
    """Nothing but matrix products: every launch is inside a call of a documented library."""

    def __init__(self, c, _):
        n = c["hidden"]
        # Scaled so that products of products neither grow nor vanish.
        self.a, self.b, self.c = (torch.randn(*shape, n, n) * n**-0.5 for shape in ((), (), (8,)))
        self.x, self.y, self.u, self.v = (torch.randn(*shape, n, n) for shape in ((), (), (8,), (8,)))

    def run(self):
        torch.mm(self.a, self.x, out=self.y)
        torch.mm(self.y, self.b, out=self.x)
        torch.bmm(self.c, self.u, out=self.v)
        self.u, self.v = self.v, self.u

    def left(self):
        return [self.x, self.y, self.u, self.v]


def triton_kernels(c, kind):
    # Not at the top: not every PyTorch has a Triton.
    from triton_kernels import Kernels

    return Kernels(c["hidden"])


KINDS = {
    "decode": Decode,
    "replay": Decode,
    "compiled": Decode,
    "train": Train,
    "last": Train,
    "streams": Streams,
    "products": Products,
    "triton": triton_kernels,
}


class Stamps:
    """Time stamps of the device's own clock, one behind the kernels of every module that has no modules in it (projections, norms: 201 a
    decoding step). Between two of them a kernel ends and the next one starts, so the longest time between two neighbours is no shorter than
    the longest time for which the device stands still."""

    def __init__(self, model):
        self.events = []
        self.hooks = [m.register_forward_hook(self.stamp) for m in model.modules() if not list(m.children())]

    def stamp(self, *_):
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.events.append(event)

    def close(self):
        """Milliseconds between neighbours, sorted."""
        for hook in self.hooks:
            hook.remove()
        torch.cuda.synchronize()
        return sorted(a.elapsed_time(b) for a, b in zip(self.events, self.events[1:]))


class Memory:
    """All of the allocator's memory, by the driver; of an allocator that does not tell what it has, the tensors that steps leave behind."""

    def __init__(self, parts):
        self.parts = parts
        self.read = ctypes.CDLL("libcuda.so.1").cuMemcpyDtoH_v2
        self.read.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t]
        self.kept = {}

    def segments(self):
        if torch.cuda.get_allocator_backend() != "cudaMallocAsync":
            return [(segment["address"], segment["total_size"]) for segment in torch.cuda.memory_snapshot()]
        storages = [tensor.untyped_storage() for part in self.parts.values() for tensor in part.left()]
        return sorted({(storage.data_ptr(), storage.nbytes()) for storage in storages})

    def copies(self):
        torch.cuda.synchronize()
        for address, size in self.segments():
            copy = torch.empty(size, dtype=torch.uint8)
            if self.read(copy.data_ptr(), address, size) != 0:
                sys.exit(f"{size} bytes at {address:#x} cannot be read")
            yield (address, size), copy

    def snapshot(self):
        self.kept = dict(self.copies())
        return f"snapshot {sum(size for _, size in self.kept)}"

    def changed(self):
        total = chunks = 0
        for key, copy in self.copies():
            before = self.kept.get(key)
            total += key[1]
            words = lambda t: t.view(torch.int64).view(-1, CHUNK // 8)
            chunks += key[1] // CHUNK if before is None else int((words(copy) != words(before)).any(1).sum())
        self.kept = {}
        return f"changed {chunks * CHUNK} {total}"

    def dump(self, path):
        segments = []
        with open(path, "wb") as file:
            for key, copy in self.copies():
                file.write(memoryview(copy.numpy()))
                segments.append(key)
        return f"dumped {json.dumps(segments)}"


class Program:
    def __init__(self, sizes, sleep):
        self.sizes, self.sleep, self.parts = sizes, sleep, {}
        self.memory = Memory(self.parts)

    def part(self, kind):
        if kind not in self.parts:
            with torch.device("cuda"):
                self.parts[kind] = KINDS[kind](self.sizes, kind)
            # As programs that serve do it: what was made at the start is not looked at in the middle of a step.
            gc.collect()
            gc.freeze()
        return self.parts[kind]

    def steps(self, kind, count):
        """Seconds for all; and how long steps took on the device, from one's end to the next one's: longest and median, milliseconds."""
        run = self.part(kind).run
        ends = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
        torch.cuda.synchronize()
        start = time.perf_counter()
        ends[0].record()
        for end in ends[1:]:
            run()
            end.record()
            if self.sleep:
                time.sleep(self.sleep)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        each = sorted(a.elapsed_time(b) for a, b in zip(ends, ends[1:]))
        return f"did {kind} {count} {seconds:.6f} {each[-1]:.3f} {each[count // 2]:.3f}"

    def stamped(self, kind, count):
        """The longest time between two stamps of some steps, and the median of all, in milliseconds."""
        part = self.part(kind)
        stamps = Stamps(part.model)
        start = time.perf_counter()
        for _ in range(count):
            part.run()
        times = stamps.close()
        return f"stamped {kind} {count} {time.perf_counter() - start:.6f} {times[-1]:.3f} {times[len(times) // 2]:.3f}"

    def command(self, line):
        word, *rest = line.split()
        if word == "snapshot":
            return self.memory.snapshot()
        if word == "changed":
            return self.memory.changed()
        if word == "dump":
            return self.memory.dump(rest[0])
        if word == "digest":
            return f"digest {self.digest()}"
        if word == "hooks":
            return hooks.command(rest[0])
        if word == "stamped":
            return self.stamped(rest[0], int(rest[1]))
        if word == "prepare":
            self.part(rest[0])
            torch.cuda.synchronize()
            return f"prepared {rest[0]}"
        return self.steps(word, int(rest[0]))

    def digest(self):
        digest = hashlib.sha256()
        for kind in sorted(self.parts):
            for tensor in self.parts[kind].left():
                digest.update(memoryview(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()))
        return digest.hexdigest()


def main():
    words = sys.argv[1:]
    sizes, pace, seed, sleep = FULL, False, 1, 0.0
    while words and words[0].startswith("--"):
        option = words.pop(0)
        if option == "--small":
            sizes = SMALL
        elif option == "--pace":
            pace = True
        elif option == "--seed":
            seed = int(words.pop(0))
        elif option == "--sleep":
            sleep = float(words.pop(0))
        else:
            sys.exit(__doc__)
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.bfloat16)
    torch.use_deterministic_algorithms(True)
    # That would fill whatever is allocated, which no program does that is not looked into.
    torch.utils.deterministic.fill_uninitialized_memory = False
    # Its gradients differ from run to run.
    torch.backends.cuda.enable_cudnn_sdp(False)
    program = Program(sizes, sleep)
    torch.zeros(1, device="cuda")
    if pace:
        print("ready", flush=True)
        for line in sys.stdin:
            print(program.command(line), flush=True)
        print("digest", program.digest(), flush=True)
    else:
        for kind, count in zip(words[::2], words[1::2]):
            print(program.command(f"{kind} {count}"), file=sys.stderr, flush=True)
            print("digest", program.digest(), flush=True)


main()
