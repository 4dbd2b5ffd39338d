"""Make loss_golden.npz: the losses that DDL is compared with, from their authors' code, in float64.

Run by hand, with PyTorch, NumPy and SciPy, and on checkouts of

- https://github.com/lenscloth/RKD (relational distillation),
- https://github.com/HobbitLong/RepDistiller (similarity-preserving, "verified by original author"; RKD with weights),
- https://github.com/madkn/HistogramLoss (histogram loss: a Caffe layer for Python 2, run here without Caffe):

    python tests/golden/make_loss_golden.py --rkd=PATH --rep_distiller=PATH --histogram=PATH

For each case the file holds the inputs, the losses, and their gradients with respect to the student's points or to the
similarities.
"""

import argparse
import importlib
import re
import sys
import types
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).with_name("loss_golden.npz")
# Points, dimension of the student (the teacher's is 8), seed.
RELATIONAL_CASES = {"few": (3, 8, 0), "some": (7, 8, 1), "wider": (12, 5, 2)}
# Distance of two nodes, positive pairs, negative pairs, seed.
HISTOGRAM_CASES = {"fine": (0.01, 30, 200, 0), "coarse": (0.25, 20, 60, 1), "one positive": (0.1, 1, 40, 2)}


def relational(losses):
    """Each loss, called with student and teacher, with its gradient for the student."""
    golden = {}
    for case, (points, dim, seed) in RELATIONAL_CASES.items():
        rng = np.random.default_rng(seed)
        teacher, student = rng.normal(size=(points, 8)), rng.normal(size=(points, dim))
        golden.update({f"relational/{case}/teacher": teacher, f"relational/{case}/student": student})
        for name, loss in losses.items():
            variable = torch.tensor(student, requires_grad=True)
            value = loss(variable, torch.tensor(teacher)).sum()
            value.backward()
            golden[f"relational/{case}/{name}"] = value.item()
            golden[f"relational/{case}/{name}_gradient"] = variable.grad.numpy()
    return golden


def histogram_layer(path):
    """The authors' layer class, from Python 2, with stand-ins for Caffe and YAML."""
    source = (path / "python_layers" / "distribution_loss_layer.py").read_text()
    source = re.sub(r"^(\s*)print (.*)$", r"\1print(\2)", source, flags=re.MULTILINE)
    sys.modules["caffe"] = types.SimpleNamespace(Layer=object)
    sys.modules["yaml"] = types.SimpleNamespace(load=lambda parameters: parameters)
    scope = {"xrange": range}
    exec(compile(source, str(path), "exec"), scope)
    return scope["DistributionLossLayer"]


def blob(values):
    values = np.asarray(values, np.float64).reshape(-1, 1, 1, 1)
    return types.SimpleNamespace(data=values, diff=np.zeros_like(values))


def histogram(layer_class):
    golden = {}
    for case, (step, positives, negatives, seed) in HISTOGRAM_CASES.items():
        rng = np.random.default_rng(seed)
        similarities = np.concatenate([rng.normal(0.4, 0.3, positives), rng.normal(0.0, 0.3, negatives)]).clip(-1, 1)
        if case == "coarse":  # Exactly on nodes, both ends included.
            similarities[:3], similarities[-3:] = [1.0, 0.5, -1.0], [1.0, -0.25, -1.0]
        same = np.arange(len(similarities)) < positives
        layer = layer_class()
        layer.param_str = {"grid_delta": step, "loss": "simple", "distr_type": "hist"}
        bottom, top = [blob(similarities), blob(np.where(same, 1, -1))], [blob([0.0])]
        layer.setup(bottom, top)
        layer.forward(bottom, top)
        layer.backward(top, [True, False], bottom)
        golden.update(
            {
                f"histogram/{case}/similarities": similarities,
                f"histogram/{case}/same": same,
                f"histogram/{case}/num_bins": len(layer.grid),
                f"histogram/{case}/loss": top[0].data.item(),
                f"histogram/{case}/gradient": bottom[0].diff.reshape(-1),
            }
        )
    return golden


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("rkd", "rep_distiller", "histogram"):
        parser.add_argument(f"--{name}", required=True, type=Path, help="checkout")
    args = parser.parse_args()
    sys.path[:0] = [str(args.rkd), str(args.rep_distiller)]
    rkd = importlib.import_module("metric.loss")
    losses = {
        "rkd_distance": rkd.RkdDistance(),
        "rkd_angle": rkd.RKdAngle(),
        "weighted_rkd": importlib.import_module("distiller_zoo.RKD").RKDLoss(w_d=25, w_a=50),
        "similarity_preserving": importlib.import_module("distiller_zoo.SP").Similarity().similarity_loss,
    }
    golden = {**relational(losses), **histogram(histogram_layer(args.histogram))}
    for key, value in golden.items():
        if np.ndim(value) == 0:
            print(f"{key}: {value:.6g}")
    np.savez_compressed(GOLDEN, **golden)


if __name__ == "__main__":
    main()
