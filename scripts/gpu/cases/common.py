"""What the programs share. LOGS: folder of what they say, a file for each; when the file GO is there they end, while the file HOLD is there they stand
still with their queues empty. With SIM they compute on the CPU, with a counter on the simulated device."""
import ctypes, hashlib, os, time
SIM = bool(os.environ.get("SIM"))
LOGS, GO, HOLD = os.environ.get("LOGS", "."), os.environ.get("GO", ""), os.environ.get("HOLD", "")
END = time.time() + float(os.environ.get("AT_MOST", "85"))

class Log:
    def __init__(self, name): self.file = open(os.path.join(LOGS, name), "a", buffering=1)
    def say(self, *words): self.file.write(" ".join(map(str, words)) + "\n")

def over(): return time.time() > END or bool(GO and os.path.exists(GO))
def wish():
    """1: end, 2: stand still, 0: go on"""
    return 1 if over() else 2 if HOLD and os.path.exists(HOLD) else 0
def stand(log):
    log.say("held")
    while os.path.exists(HOLD) and not over(): time.sleep(0.05)
    log.say("going")
def digest_of(values):
    h = hashlib.sha256()
    for v in values: h.update(v.detach().cpu().numpy().tobytes())
    return h.hexdigest()[:24]

class Counter:
    """A number in the memory of the simulated device."""
    def __init__(self):
        self.cuda = ctypes.CDLL("libcuda.so.1"); device, context, self.place = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
        for what in (self.cuda.cuInit(0), self.cuda.cuDeviceGet(ctypes.byref(device), 0), self.cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), self.cuda.cuCtxSetCurrent(context), self.cuda.cuMemAlloc_v2(ctypes.byref(self.place), ctypes.c_size_t(1 << 22))):
            if what: raise RuntimeError(f"cuda error {what}")
        self.set(0)
        if os.environ.get("SIM_SHARE"): self.share()
    def share(self):
        """Memory that came from another process, as far as anybody can tell: what NCCL does between processes."""
        size, handle, other, fd, at = ctypes.c_size_t(1 << 21), ctypes.c_uint64(), ctypes.c_uint64(), ctypes.c_int(), ctypes.c_uint64()
        wanted = (ctypes.c_int * 8)(1, 1, 1, 0)
        for what in (lambda: self.cuda.cuMemCreate(ctypes.byref(handle), size, wanted, ctypes.c_uint64(0)), lambda: self.cuda.cuMemExportToShareableHandle(ctypes.byref(fd), handle, 1, ctypes.c_uint64(0)),
                     lambda: self.cuda.cuMemImportFromShareableHandle(ctypes.byref(other), ctypes.c_void_p(fd.value), 1), lambda: self.cuda.cuMemAddressReserve(ctypes.byref(at), size, ctypes.c_size_t(0), ctypes.c_uint64(0), ctypes.c_uint64(0)),
                     lambda: self.cuda.cuMemMap(at, size, ctypes.c_size_t(0), other, ctypes.c_uint64(0))):
            result = what()
            if result: raise RuntimeError(f"cuda error {result}")
    def set(self, value):
        if self.cuda.cuMemsetD32_v2(self.place, ctypes.c_uint(value), ctypes.c_size_t(1 << 20)): raise RuntimeError("memset")
    def item(self):
        value = ctypes.c_uint()
        if self.cuda.cuMemcpyDtoH_v2(ctypes.byref(value), self.place, ctypes.c_size_t(4)): raise RuntimeError("copy")
        return value.value
    def add_(self, value): self.set(self.item() + value)
