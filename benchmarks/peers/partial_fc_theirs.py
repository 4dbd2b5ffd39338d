"""A step of InsightFace's `PartialFC_V2` as its train_v2.py makes it; runs under an interpreter with torch.

One process is one rank. Without a GPU `.cuda()` is made to do nothing; all else is theirs.
"""

import json
import os
import sys
import warnings
from collections.abc import Callable

import torch
from arcface_torch import arcface_torch
from partial_fc_measuring import make_batch, serve
from torch import distributed

settings = json.loads(sys.argv[1])
# Of torch.cuda.amp, on every step.
warnings.filterwarnings("ignore", category=FutureWarning)
warnings.filterwarnings("ignore", message=".*CUDA is not available.*")
torch.set_num_threads(settings["threads"])
place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if place.type == "cpu":
    torch.Tensor.cuda = lambda self: self
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
distributed.init_process_group(
    "gloo" if place.type == "cpu" else "nccl",
    init_method=f"file://{settings['meeting']}",
    rank=settings["rank"],
    world_size=settings["ranks"],
)
partial_fc = arcface_torch(settings["insightface"], "partial_fc_v2.py")
losses = arcface_torch(settings["insightface"], "losses.py")


def build() -> Callable[[], object]:
    """Make the head, and a dense layer that stands for the network."""
    torch.manual_seed(settings["rank"])
    dim, rows = settings["dim"], settings["rows"] // settings["ranks"]
    features, labels = map(torch.tensor, make_batch(settings["rows"], dim, settings["identities"]))
    mine = slice(settings["rank"] * rows, (settings["rank"] + 1) * rows)
    features, labels = features[mine].to(place), labels[mine].to(place)
    network: torch.nn.Module = torch.nn.Linear(dim, dim).to(place)
    if settings["ranks"] > 1:
        network = torch.nn.parallel.DistributedDataParallel(network)
    margin = losses.CombinedMarginLoss(64, 1.0, 0.5, 0.0)
    head = partial_fc.PartialFC_V2(margin, dim, settings["identities"], settings["sample_rate"], False)
    head.train().to(place)
    groups = [{"params": network.parameters()}, {"params": head.parameters()}]
    optimizer = torch.optim.SGD(params=groups, lr=0.1, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        # The head changes the labels that it is given.
        loss = head(network(features), labels.clone())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        # A GPU has done all of it only when this comes.
        loss.item()
        if place.type == "cuda":
            torch.cuda.synchronize()

    return step


serve(build, torch.cuda.max_memory_allocated if place.type == "cuda" else None)
distributed.destroy_process_group()
