"""A training step in PyTorch: arcface_torch's networks and head, taken out of a clone of InsightFace at run time."""

import json
import subprocess
import sys
import types
import warnings

import torch
from ddl_measuring import serve
from step_batch import IDENTITIES, make_batch
from torch import nn

FOLDER = "recognition/arcface_torch"
# Width and number of residual blocks of the stages of plain_small.
PLAIN = ((32, 0), (48, 1), (96, 1), (192, 0))


def taken(clone: str, path: str) -> types.ModuleType:
    """Import a file of the clone, bare or not, that imports no other."""
    shown = ["git", "-C", clone, "show", f"HEAD:{FOLDER}/{path}"]
    source = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    module = types.ModuleType(path)
    exec(compile(source, path, "exec"), module.__dict__)
    return module


class Unit(nn.Sequential):
    """Convolution and normalisation; PReLU follows, unless it is the end of a residual."""

    def __init__(self, inputs: int, width: int, stride: int = 1, ends: bool = False) -> None:
        parts = [nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)]
        super().__init__(*parts, *([] if ends else [nn.PReLU(width)]))


class Block(nn.Module):
    """One residual block of plain_small."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.residual, self.prelu = nn.Sequential(Unit(width, width), Unit(width, width, ends=True)), nn.PReLU(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run it."""
        return self.prelu(x + self.residual(x))


def plain_small(image_size: int) -> nn.Module:
    """The package's plain_small and its neck."""
    parts, inputs = [], 3
    for width, blocks in PLAIN:
        parts += [Unit(inputs, width, 2), *(Block(width) for _ in range(blocks))]
        inputs = width
    last = nn.BatchNorm1d(512)
    last.weight.requires_grad = False
    flat = nn.Linear(inputs * (-(-image_size // 16)) ** 2, 512)
    return nn.Sequential(*parts, nn.BatchNorm2d(inputs), nn.Flatten(), flat, last)


def network_of(settings: dict) -> nn.Module:
    """Make the network that the package has under the same name."""
    name, clone = settings["network"], settings["insightface"]
    if name == "plain_small":
        return plain_small(settings["image_size"])
    if name == "mobilefacenet":
        return taken(clone, "backbones/mobilefacenet.py").get_mbf(False, 512)
    return getattr(taken(clone, "backbones/iresnet.py"), name)()


settings = json.loads(sys.argv[1])
warnings.filterwarnings("ignore", category=FutureWarning)
torch.set_num_threads(settings["threads"])
layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
network = network_of(settings).train().to(memory_format=layout)
head = taken(settings["insightface"], "losses.py").ArcFace()
centers = nn.Parameter(torch.randn(IDENTITIES, 512) * 0.01)
weights = [*network.parameters(), centers]
optimizer = torch.optim.SGD(weights, 0.1, momentum=0.9, weight_decay=5e-4)
images, identity = (torch.tensor(rows) for rows in make_batch(settings["rows"], settings["image_size"]))


def step() -> None:
    """Do one step."""
    scaled = images.permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous(memory_format=layout)
    with torch.autocast("cpu", torch.bfloat16, settings["precision"] == "mixed_bfloat16"):
        embedding = network(scaled)
    unit = nn.functional.normalize(embedding.float()), nn.functional.normalize(centers)
    logits = head(nn.functional.linear(*unit).clamp(-1, 1), identity)
    loss = nn.functional.cross_entropy(logits, identity)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    loss.item()


serve(step, step)
