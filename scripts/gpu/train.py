"""Trains a small network with stock PyTorch, replays a CUDA graph, and prints a digest of all losses and weights.

    train.py STEPS [SECONDS]      SECONDS: pause after each step
"""
import hashlib
import sys
import time

import torch

steps, pause = int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0
torch.manual_seed(1)
torch.use_deterministic_algorithms(True, warn_only=True)
net = torch.nn.Sequential(
    torch.nn.Linear(1024, 2048), torch.nn.GELU(), torch.nn.LayerNorm(2048), torch.nn.Linear(2048, 1024)
).cuda()
optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
x, y = (torch.randn(256, 1024, device="cuda") for _ in range(2))
digest = hashlib.sha256()
start = time.time()
for _ in range(steps):
    optimizer.zero_grad(set_to_none=True)
    loss = ((net(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    digest.update(loss.detach().cpu().numpy().tobytes())
    time.sleep(pause)
seconds = time.time() - start

graph, side, a = torch.cuda.CUDAGraph(), torch.cuda.Stream(), torch.ones(1 << 20, device="cuda")
with torch.cuda.stream(side):
    for _ in range(3):
        b = a * 2 + 1
torch.cuda.current_stream().wait_stream(side)
with torch.cuda.graph(graph):
    b = a * 2 + 1
    a.copy_(b * 0.5)
for _ in range(20):
    graph.replay()
for tensor in [a, *net.parameters()]:
    digest.update(tensor.detach().cpu().numpy().tobytes())
print("digest", digest.hexdigest())
print(f"seconds {seconds:.3f}", file=sys.stderr)
