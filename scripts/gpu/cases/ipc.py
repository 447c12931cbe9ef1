"""Two processes on one device that share device memory both ways, as torch.multiprocessing does it (cudaIpcGetMemHandle of the CUDA runtime). ipc.py STEPS SLEEP.
Each writes into the other's memory and computes with what was written into its own. Rank 0 decides when both end. With SIM: the same by the driver's
interface, without PyTorch."""
import ctypes, hashlib, os, struct, sys, time
from common import SIM, Log, wish
WORDS = 1 << (10 if SIM else 20)
LATE = 60  # seconds that one waits for the other

class Torch:
    """A large and a small tensor; the small one lies in a segment with others."""
    def __init__(self, rank):
        import torch
        self.torch, self.device = torch, torch.device("cuda", 0)
        torch.cuda.set_device(0)
        torch.manual_seed(1 + rank)
        self.states = [torch.randint(-(1 << 30), 1 << 30, (n,), dtype=torch.int32).to(self.device) for n in (WORDS, 200)]
        self.boxes = [torch.zeros_like(one) for one in self.states]
    def given(self): return self.boxes
    def take(self, boxes): self.theirs = boxes
    def put(self, k):
        for theirs, state in zip(self.theirs, self.states): theirs.copy_(state + k)
    def mix(self, rank):
        for state, box in zip(self.states, self.boxes): state.mul_(1664525).add_(box).add_(1013904223 + rank)
    def settled(self): self.torch.cuda.synchronize()
    def digest(self):
        h = hashlib.sha256()
        for one in self.states + self.boxes: h.update(one.cpu().numpy().tobytes())
        return h.hexdigest()[:24]
    def close(self):
        del self.theirs
        self.torch.cuda.ipc_collect()

class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_ubyte * 64)]
class Simulated:
    def __init__(self, rank):
        self.cuda, device, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_void_p()
        self.cuda.cuIpcOpenMemHandle_v2.argtypes = [ctypes.c_void_p, Handle, ctypes.c_uint]
        for what in (self.cuda.cuInit(0), self.cuda.cuDeviceGet(ctypes.byref(device), 0), self.cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), self.cuda.cuCtxSetCurrent(context)): self.check(what)
        self.sizes, self.boxes = [4 * WORDS, 800], []
        for size in self.sizes:
            place = ctypes.c_uint64()
            self.check(self.cuda.cuMemAlloc_v2(ctypes.byref(place), ctypes.c_size_t(size)))
            self.check(self.cuda.cuMemsetD8_v2(place, 0, ctypes.c_size_t(size)))
            self.boxes.append(place)
        self.states = [[(i * 2654435761 + rank) & 0xffffffff for i in range(size // 4)] for size in self.sizes]
    def check(self, result):
        if result: raise RuntimeError(f"cuda error {result}")
    def given(self):
        handles = []
        for box in self.boxes:
            handle = Handle()
            self.check(self.cuda.cuIpcGetMemHandle(ctypes.byref(handle), box))
            handles.append(bytes(handle.bytes))
        return handles
    def take(self, handles):
        self.theirs = [ctypes.c_uint64() for _ in handles]
        for place, handle in zip(self.theirs, handles): self.check(self.cuda.cuIpcOpenMemHandle_v2(ctypes.byref(place), Handle.from_buffer_copy(handle), 1))
    def put(self, k):
        for place, state in zip(self.theirs, self.states):
            self.check(self.cuda.cuMemcpyHtoD_v2(place, struct.pack(f"{len(state)}I", *((one + k) & 0xffffffff for one in state)), ctypes.c_size_t(4 * len(state))))
    def content(self, box, size):
        to = ctypes.create_string_buffer(size)
        self.check(self.cuda.cuMemcpyDtoH_v2(to, box, ctypes.c_size_t(size)))
        return to.raw
    def mix(self, rank):
        for which, (box, size) in enumerate(zip(self.boxes, self.sizes)):
            got = struct.unpack(f"{size // 4}I", self.content(box, size))
            self.states[which] = [(one * 1664525 + other + 1013904223 + rank) & 0xffffffff for one, other in zip(self.states[which], got)]
    def settled(self): self.check(self.cuda.cuCtxSynchronize())
    def digest(self):
        h = hashlib.sha256()
        for state, box, size in zip(self.states, self.boxes, self.sizes): h.update(struct.pack(f"{len(state)}I", *state) + self.content(box, size))
        return h.hexdigest()[:24]
    def close(self):
        for place in self.theirs: self.check(self.cuda.cuIpcCloseMemHandle(place))

def run(rank, steps, pause, to, back, barrier, end):
    log = Log(f"rank{rank}")
    memory = (Simulated if SIM else Torch)(rank)
    to.put(memory.given())
    memory.take(back.get(timeout=LATE))
    meet = lambda: barrier.wait(LATE)
    meet()
    k = 0
    while k < steps:
        if rank == 0: end.value = wish() == 1
        meet()
        if end.value: break
        memory.put(k); memory.settled(); meet()
        memory.mix(rank); memory.settled(); k += 1
        if k == 1: log.say("ready", os.getpid())
        log.say("step", k)
        if k % 10 == 0: log.say("digest", k, memory.digest())
        time.sleep(pause)
    meet()
    memory.close()
    meet()
    log.say("end")

if __name__ == "__main__":
    if SIM: import multiprocessing as processes
    else: import torch.multiprocessing as processes
    of = processes.get_context("spawn")
    one, other, barrier, end = of.Queue(), of.Queue(), of.Barrier(2), of.Value("b", 0)
    steps, pause = int(sys.argv[1]), float(sys.argv[2])
    ranks = [of.Process(target=run, args=(rank, steps, pause, *ways, barrier, end)) for rank, ways in enumerate(((one, other), (other, one)))]
    for rank in ranks: rank.start()
    for rank in ranks: rank.join()
    codes = [rank.exitcode for rank in ranks]
    print("codes", codes, flush=True)
    sys.exit(1 if any(codes) else 0)
