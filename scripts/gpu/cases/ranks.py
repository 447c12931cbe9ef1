"""Two processes, a device each, by torch.distributed with NCCL. ranks.py STEPS SLEEP PORT starts both. Rank 0 decides when both end."""
import os, subprocess, sys, time
if "RANK" not in os.environ:
    here = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": sys.argv[3]}
    kids = [subprocess.Popen([sys.executable, *sys.argv], env={**here, "RANK": str(r), "LOCAL_RANK": str(r)}) for r in range(2)]
    codes = [k.wait() for k in kids]
    print("codes", codes, flush=True)
    sys.exit(1 if any(codes) else 0)
import torch, torch.distributed as dist
from common import SIM, Counter, Log, digest_of, wish
r = int(os.environ["RANK"]); steps, pause = int(sys.argv[1]), float(sys.argv[2])
log = Log(f"rank{r}")
torch.manual_seed(1 + r)
dev = torch.device("cpu") if SIM else torch.device("cuda", r)
if SIM: dist.init_process_group("gloo", rank=r, world_size=2)
else:
    torch.cuda.set_device(r)
    dist.init_process_group("nccl", rank=r, world_size=2, device_id=dev)
n = 1 << (14 if SIM else 20)
t = torch.randint(-(1 << 30), 1 << 30, (n,), dtype=torch.int32).to(dev)
f = torch.randn(n).to(dev)
big = torch.zeros(2 * n, dtype=torch.int32, device=dev)
o, a, s = (torch.zeros(n, dtype=torch.int32, device=dev) for _ in range(3))
ballast = torch.randn(n * 8, device=dev)
flag = torch.zeros(1, dtype=torch.int32, device=dev)
counter = Counter() if SIM else None

def settled():
    if not SIM: torch.cuda.synchronize()
def gather():
    if not SIM: return dist.all_gather_into_tensor(big, t)
    parts = list(big.chunk(2)); dist.all_gather(parts, t)
def scatter():
    if not SIM: return dist.reduce_scatter_tensor(o, big)
    whole = big.clone(); dist.all_reduce(whole); o.copy_(whole.chunk(2)[r])
def exchange():
    if not SIM: return dist.all_to_all_single(a, o)
    parts = [torch.zeros_like(big) for _ in range(2)]; dist.all_gather(parts, torch.cat([o, o])); a.copy_(torch.cat([p[:n].chunk(2)[r] for p in parts]))

def step(k):
    dist.all_reduce(t); dist.all_reduce(f)
    gather(); scatter()
    dist.broadcast(o, 0); exchange()
    half = n // 2
    if r == 0: dist.send(t[:half], 1); dist.recv(s[half:], 1)
    else: dist.recv(s[half:], 0); dist.send(t[:half], 0)
    t.mul_(1664525).add_(a).add_(s).add_(1013904223 + r)
    f.copy_(torch.sin(f + r))
    if counter: counter.add_(1)

if not SIM: step(-1); settled()
log.say("ready", os.getpid())
k = 0
while k < steps:
    flag.fill_(1 if r == 0 and wish() == 1 else 0)
    dist.broadcast(flag, 0)
    if int(flag.item()): break
    step(k); settled(); k += 1
    log.say("step", k)
    if k % 10 == 0: log.say("digest", k, digest_of([t, f, big, o, a, s]))
    time.sleep(pause)
log.say("end")
dist.barrier() if SIM else settled()
dist.destroy_process_group()
