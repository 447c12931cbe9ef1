"""NCCL over two devices of one process. pair.py STEPS SLEEP. What step it is stands on the device, so that the program goes back with its memory."""
import sys, time, hashlib, torch
from common import SIM, Counter, Log, digest_of, stand, wish
steps, pause = int(sys.argv[1]), float(sys.argv[2])
log = Log("rank0")
torch.manual_seed(1)
devices = ["cpu", "cpu"] if SIM else ["cuda:0", "cuda:1"]
n = 1 << (14 if SIM else 20)
t = [torch.randint(-(1 << 30), 1 << 30, (n,), dtype=torch.int32).to(d) for d in devices]
f = [torch.randn(n).to(d) for d in devices]
o, q = [torch.zeros_like(x) for x in t], [torch.zeros_like(x) for x in t]
g = [torch.zeros(2 * n, dtype=torch.int32, device=d) for d in devices]
fo = [torch.zeros_like(x) for x in f]
ballast = [torch.randn(n * 8, device=d) for d in devices]
counter = Counter() if SIM else torch.zeros((), dtype=torch.int64, device=devices[0])

def settled():
    if not SIM:
        for i in range(2): torch.cuda.synchronize(i)
if SIM:
    def all_reduce(a, b): s = a[0] + a[1]; [x.copy_(s) for x in b]
    def all_gather(a, b): s = torch.cat(a); [x.copy_(s) for x in b]
    def reduce_scatter(a, b): s = a[0] + a[1]; [x.copy_(p) for x, p in zip(b, s.chunk(2))]
else:
    from torch.cuda.nccl import all_gather, all_reduce, reduce_scatter

def step(k):
    all_reduce(t, o)            # o = t0 + t1, on both
    all_gather(o, g)            # g = o, o
    reduce_scatter(g, q)        # q = its part of g0 + g1
    all_reduce(f, fo)
    for i in range(2):
        t[i].mul_(1664525).add_(q[i]).add_(1013904223 + i)
        f[i].copy_(torch.sin(fo[i] + i))

settled()
if not SIM: step(-1); settled()  # communicators are made
log.say("ready", __import__("os").getpid()); print("ready", flush=True)
while True:
    wanted = wish()
    if wanted == 2: settled(); stand(log); continue
    k = int(counter.item())
    if wanted == 1 or k >= steps: break
    start = time.time(); step(k); counter.add_(1); settled(); k += 1
    log.say("step", k)
    if time.time() - start > 0.5: log.say("slow", k, round(time.time() - start, 1))
    # On the CPU nothing but the counter goes back.
    if k % 10 == 0: log.say("digest", k, hashlib.sha256(str(k).encode()).hexdigest()[:24] if SIM else digest_of([*t, *f, *o, *q, *g]))
    time.sleep(pause)
log.say("end"); print("end", flush=True)
