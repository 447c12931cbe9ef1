"""preempt.py long: kernels that take half a second each, one after the other. preempt.py short: how long one short kernel takes beside them, in ms."""
import os, sys, time, torch
from common import SIM, Counter, Log, over
role = sys.argv[1]
log = Log(role)
counter = Counter() if SIM else None
x = None if SIM else torch.zeros(1, device="cuda")
CYCLES = 900_000_000  # of the H200's clock, 1.98 GHz at most

def settled():
    if not SIM: torch.cuda.synchronize()
def short():
    if SIM: counter.add_(1)
    else: x.add_(1)
def long():
    if SIM: time.sleep(0.4)
    else: torch.cuda._sleep(CYCLES)

short(); settled()
log.say("ready", os.getpid())
while not over():
    start = time.perf_counter()
    if role == "long": long()
    else: short()
    settled()
    log.say("ms", round((time.perf_counter() - start) * 1000, 3))
    if role == "short": time.sleep(0.003)
log.say("end")
