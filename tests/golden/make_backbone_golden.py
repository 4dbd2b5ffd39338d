"""Make backbone_golden.npz: the embeddings of InsightFace's PyTorch networks with made-up weights.

Run by hand, with PyTorch and on a checkout of https://github.com/deepinsight/insightface:

    python tests/golden/make_backbone_golden.py --insightface=PATH

For each network the file holds the names and shapes of its state dict, from which the test makes the same weights,
and the embeddings of two fixed images in eval mode.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).with_name("backbone_golden.npz")
# Our name -> theirs.
NETWORKS = {"iresnet18": "r18", "iresnet34": "r34", "iresnet50": "r50", "iresnet100": "r100", "mobilefacenet": "mbf"}
EMBEDDING_SIZE = 64

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from insightface_state import made_up_images, made_up_tensor  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--insightface", required=True, type=Path, help="checkout of deepinsight/insightface")
    sys.path.insert(0, str(parser.parse_args().insightface / "recognition" / "arcface_torch"))
    get_model = importlib.import_module("backbones").get_model
    images = torch.from_numpy(made_up_images().transpose(0, 3, 1, 2)).float().div(255).sub(0.5).div(0.5)
    golden = {}
    for ours, theirs in NETWORKS.items():
        network = get_model(theirs, fp16=False, num_features=EMBEDDING_SIZE).eval()
        shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
        network.load_state_dict({name: torch.from_numpy(made_up_tensor(name, s)) for name, s in shapes.items()})
        with torch.no_grad():
            embeddings = network(images).numpy()
        golden[f"{ours}/embeddings"] = embeddings
        golden[f"{ours}/shapes"] = np.frombuffer(json.dumps(shapes).encode(), np.uint8)
        print(
            f"{ours}: {len(shapes)} tensors, spread {embeddings.std():.3g}, cosine of the two images "
            f"{np.dot(*embeddings) / np.prod(np.linalg.norm(embeddings, axis=1)):.3f}"
        )
    np.savez_compressed(GOLDEN, **golden)


if __name__ == "__main__":
    main()
