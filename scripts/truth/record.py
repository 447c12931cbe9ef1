#!/usr/bin/env python3
"""Records which bytes launches really change on a GPU: python3 scripts/truth/record.py OUTPUT.json [NODE]

Runs the launches of launches.mjs, each twice over complementary random contents of an arena, so that a value that happens
to be there already cannot hide a write in both. Needs PyTorch (for the arena and the comparison) and the driver. A kernel
that faults ends the process' context: the script then goes on in a new process, behind that launch.
"""
import ctypes
import json
import os
import subprocess
import sys
import tempfile

import torch

SIZE = 4 << 30
DYNAMIC_SHARED_MEMORY = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
cuda = ctypes.CDLL("libcuda.so.1")


class Fault(Exception):
    pass


def check(result, what):
    if result:
        name = ctypes.c_char_p()
        cuda.cuGetErrorName(result, ctypes.byref(name))
        raise Fault(f"{what}: {name.value.decode()}")


def launch(function, record):
    parameters = bytes.fromhex(record["parameters"])
    block = ctypes.create_string_buffer(parameters, max(1, len(parameters)))
    size = ctypes.c_size_t(len(parameters))
    pointer = lambda thing: ctypes.cast(thing, ctypes.c_void_p)
    extra = (ctypes.c_void_p * 5)(1, pointer(block), 2, pointer(ctypes.byref(size)), 0)
    shared = record["sharedMemory"]
    if shared:
        check(cuda.cuFuncSetAttribute(function, DYNAMIC_SHARED_MEMORY, shared), "attribute")
    check(cuda.cuLaunchKernel(function, *record["grid"], *record["block"], shared, None, None, extra), "launch")
    check(cuda.cuCtxSynchronize(), "run")


def ranges(offsets, base):
    found = []
    for offset in offsets:
        if found and found[-1][0] + found[-1][1] == offset:
            found[-1][1] += 1
        else:
            found.append([offset, 1])
    return [[hex(base + start), length] for start, length in found]


def record_from(first, work, node):
    arena = torch.zeros(SIZE, dtype=torch.uint8, device="cuda")
    base = arena.data_ptr()
    out = subprocess.run([node, "scripts/truth/launches.mjs", hex(base), str(SIZE)], capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in out.stdout.splitlines()]
    generator = torch.Generator(device="cuda")
    generator.manual_seed(1)
    noise = torch.randint(0, 256, (SIZE // 64,), dtype=torch.uint8, device="cuda", generator=generator).repeat(64)
    contents = [noise, noise ^ 0xFF]
    lanes = torch.arange(8, device="cuda")
    modules = {}
    with open(work, "a") as results:
        for index, record in enumerate(records):
            if index < first:
                continue
            file = record["file"]
            if file not in modules:
                module = ctypes.c_void_p()
                with open(file, "rb") as text:
                    refused = cuda.cuModuleLoadData(ctypes.byref(module), text.read() + b"\0")
                modules[file] = None if refused else module
            function = ctypes.c_void_p()
            if not modules[file] or cuda.cuModuleGetFunction(ctypes.byref(function), modules[file], record["kernel"].encode()):
                continue
            changed = torch.empty(0, dtype=torch.int64, device="cuda")
            try:
                for content in contents:
                    arena.copy_(content)
                    torch.cuda.synchronize()
                    launch(function, record)
                    words = (arena.view(torch.int64) != content.view(torch.int64)).nonzero().flatten()
                    bytes_ = arena.view(-1, 8)[words] != content.view(-1, 8)[words]
                    changed = torch.unique(torch.cat([changed, (words[:, None] * 8 + lanes)[bytes_]]))
            except Fault as fault:
                print(f"{file} {record['kernel']}: {fault}", file=sys.stderr)
                results.flush()
                return index + 1
            del record["pointers"]
            results.write(json.dumps({**record, "written": ranges(changed.cpu().tolist(), base)}, separators=(",", ":")) + "\n")
    return 0


def main():
    output, node = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "node"
    if len(sys.argv) > 4:
        sys.exit(10 if (rest := record_from(int(sys.argv[4]), sys.argv[3], node)) and not print(rest) else 0)
    with tempfile.TemporaryDirectory() as folder:
        work, first = os.path.join(folder, "launches"), 0
        for _ in range(50):
            run = subprocess.run([sys.executable, __file__, output, node, work, str(first)], stdout=subprocess.PIPE, text=True)
            if run.returncode not in (0, 10):
                sys.exit(run.returncode)
            if run.returncode == 0:
                break
            first = int(run.stdout.split()[-1])
        with open(work) as lines:
            launches = [line.strip() for line in lines]
    driver = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(driver))
    head = json.dumps({"device": torch.cuda.get_device_name(0), "driver": driver.value})
    with open(output, "w") as file:
        file.write(head[:-1] + ', "launches": [\n' + ",\n".join(launches) + "\n]}\n")
    print(f"{len(launches)} launches recorded")


main()
