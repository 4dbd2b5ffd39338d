"""Embeddings of InsightFace's PyTorch networks with made-up weights; see make.py. It needs PyTorch.

For each network the file holds the names and shapes of its state dict, from which the test makes the same weights,
and the embeddings of two fixed images in eval mode.
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

CHECKOUTS = {"insightface": "recognition/arcface_torch"}
# Our name -> theirs.
NETWORKS = {"iresnet18": "r18", "iresnet34": "r34", "iresnet50": "r50", "iresnet100": "r100", "mobilefacenet": "mbf"}


def make(insightface):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
    from insightface_state import made_up_images, made_up_tensor

    get_model = importlib.import_module("backbones").get_model
    images = torch.from_numpy(made_up_images().transpose(0, 3, 1, 2)).float().div(255).sub(0.5).div(0.5)
    golden = {}
    for ours, theirs in NETWORKS.items():
        network = get_model(theirs, fp16=False, num_features=64).eval()
        shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
        network.load_state_dict({name: torch.from_numpy(made_up_tensor(name, s)) for name, s in shapes.items()})
        with torch.no_grad():
            golden[f"{ours}/embeddings"] = network(images).numpy()
        golden[f"{ours}/shapes"] = np.frombuffer(json.dumps(shapes).encode(), np.uint8)
    return golden
