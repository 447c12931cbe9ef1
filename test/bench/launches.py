"""Launches a kernel through libcuda.so.1 as Python's ctypes sees it, at the commands of bench/gpu/llama.py: `MODE STEPS`, a launch a step, `hooks off` and
`hooks on`, `digest`, which the end of input prints, too."""
import ctypes
import os
import sys
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.append(os.path.join(ROOT, "bench", "gpu"))
import hooks

COUNT = 256


class Program:
    def __init__(self):
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.steps = 0
        self.context, module, self.kernel = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        self.data = ctypes.c_uint64()
        self.check(self.cuda.cuInit(0))
        self.check(self.cuda.cuDevicePrimaryCtxRetain(ctypes.byref(self.context), 0))
        self.check(self.cuda.cuCtxSetCurrent(self.context))
        with open(os.path.join(ROOT, "fixtures", "apps", "kernels", "apps.ptx"), "rb") as file:
            text = file.read()
        self.check(self.cuda.cuModuleLoadData(ctypes.byref(module), text))
        self.check(self.cuda.cuModuleGetFunction(ctypes.byref(self.kernel), module, b"init"))
        self.check(self.cuda.cuMemAlloc_v2(ctypes.byref(self.data), ctypes.c_size_t(4 * COUNT)))

    def check(self, result):
        if result != 0:
            sys.exit(f"CUDA error {result}")

    def step(self):
        self.steps += 1
        arguments = [self.data, ctypes.c_uint32(COUNT), ctypes.c_uint32(self.steps)]
        parameters = (ctypes.c_void_p * 3)(*(ctypes.cast(ctypes.pointer(a), ctypes.c_void_p) for a in arguments))
        self.check(self.cuda.cuLaunchKernel(self.kernel, 1, 1, 1, COUNT, 1, 1, 0, None, parameters, None))

    def digest(self):
        found = ctypes.create_string_buffer(4 * COUNT)
        self.check(self.cuda.cuMemcpyDtoH_v2(found, self.data, ctypes.c_size_t(len(found.raw))))
        return f"digest {found.raw[:16].hex()}"

    def command(self, word, argument=None):
        if word == "hooks":
            return hooks.command(argument)
        if word == "digest":
            return self.digest()
        if word == "prepare":
            return f"prepared {argument}"
        begin = time.perf_counter()
        for _ in range(int(argument)):
            self.step()
        self.check(self.cuda.cuCtxSynchronize())
        milliseconds = 1000 * (time.perf_counter() - begin)
        return f"did {word} {argument} {milliseconds / 1000:.6f} {milliseconds:.3f} {milliseconds / int(argument):.3f}"


program = Program()
program.step()
print("ready", flush=True)
for line in sys.stdin:
    print(program.command(*line.split()), flush=True)
print(program.digest(), flush=True)
