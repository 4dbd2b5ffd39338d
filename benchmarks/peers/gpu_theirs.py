"""A training step of arcface_torch as its train_v2.py makes it, for benchmarks/gpu.py; JSON at the end.

It runs under an interpreter with torch. On a GPU the network is in float16, as there; without one in float32.
"""

import json
import resource
import sys
import tempfile
import time
import warnings

import numpy as np
import torch
from arcface_torch import arcface_torch
from torch import distributed

settings = json.loads(sys.argv[1])
warnings.filterwarnings("ignore", category=FutureWarning)
warnings.filterwarnings("ignore", message=".*CUDA is not available.*")
HAS_GPU = torch.cuda.is_available()
if not HAS_GPU:
    torch.Tensor.cuda = lambda self, **_: self
torch.backends.cudnn.benchmark = True
meeting = f"file://{tempfile.mkdtemp()}/meeting"
distributed.init_process_group("nccl" if HAS_GPU else "gloo", init_method=meeting, rank=0, world_size=1)
place = torch.device("cuda" if HAS_GPU else "cpu")
backbones, partial_fc, losses = (
    arcface_torch(settings["insightface"], file) for file in ("backbones/iresnet.py", "partial_fc_v2.py", "losses.py")
)
network = getattr(backbones, settings["backbone"])(fp16=HAS_GPU, num_features=settings["dim"]).to(place).train()
head = partial_fc.PartialFC_V2(
    losses.CombinedMarginLoss(64, 1.0, 0.5, 0.0), settings["dim"], settings["classes"], 1.0, False
)
head.train().to(place)
groups = [{"params": network.parameters()}, {"params": head.parameters()}]
optimizer = torch.optim.SGD(params=groups, lr=0.1, momentum=0.9, weight_decay=5e-4)
scale = torch.cuda.amp.GradScaler(growth_interval=100, enabled=HAS_GPU)
random = np.random.default_rng(0)
shape = [settings["batch"], 3, settings["image_size"], settings["image_size"]]
images = torch.tensor(random.uniform(-1, 1, shape).astype(np.float32))
labels = torch.tensor(random.integers(0, settings["classes"], settings["batch"]))
if HAS_GPU:
    images, labels = images.pin_memory(), labels.pin_memory()


def step() -> float:
    """Forward, backward and update, from a batch of the host."""
    loss = head(network(images.to(place, non_blocking=True)), labels.to(place, copy=True))
    scale.scale(loss).backward()
    scale.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5)
    scale.step(optimizer)
    scale.update()
    optimizer.zero_grad()
    return loss.item()


begin = time.perf_counter()
step()
first = time.perf_counter() - begin
step()
times = []
for _ in range(settings["steps"]):
    begin = time.perf_counter()
    step()
    times.append(1e3 * (time.perf_counter() - begin))
peak = torch.cuda.max_memory_allocated() / 2**30 if HAS_GPU else resource.getrusage(0).ru_maxrss / 2**20
ms = float(np.median(times))
print(
    json.dumps(
        {
            "device": torch.cuda.get_device_name(0) if HAS_GPU else "CPU",
            "memory": peak,
            "first": first,
            "ms": ms,
            "images_per_second": 1e3 * settings["batch"] / ms,
        }
    )
)
distributed.destroy_process_group()
