"""The losses that DDL is compared with, from their authors' code, in float64; see make.py. It needs PyTorch.

RKD is relational distillation; RepDistiller has similarity-preserving distillation, "verified by original author", and
RKD with weights; HistogramLoss is a Caffe layer for Python 2, run here without Caffe. For each case the file holds the
inputs, the losses, and their gradients with respect to the student's points or to the similarities.
"""

import importlib
import re
import sys
import types

import numpy as np
import torch

CHECKOUTS = {"rkd": "", "rep_distiller": "", "histogram": "python_layers"}
# Points, dimension of the student (the teacher's is 8), seed.
RELATIONAL_CASES = {"few": (3, 8, 0), "some": (7, 8, 1), "wider": (12, 5, 2)}
# Distance of two nodes, positive pairs, negative pairs, seed.
HISTOGRAM_CASES = {"fine": (0.01, 30, 200, 0), "coarse": (0.25, 20, 60, 1), "one positive": (0.1, 1, 40, 2)}


def _relational(losses):
    """Each loss, called with student and teacher, with its gradient for the student."""
    for case, (points, dim, seed) in RELATIONAL_CASES.items():
        rng = np.random.default_rng(seed)
        teacher, student = rng.normal(size=(points, 8)), rng.normal(size=(points, dim))
        yield from {f"relational/{case}/teacher": teacher, f"relational/{case}/student": student}.items()
        for name, loss in losses.items():
            variable = torch.tensor(student, requires_grad=True)
            value = loss(variable, torch.tensor(teacher)).sum()
            value.backward()
            yield f"relational/{case}/{name}", value.item()
            yield f"relational/{case}/{name}_gradient", variable.grad.numpy()


def _histogram_layer(folder):
    """The authors' layer class, from Python 2, with stand-ins for Caffe and YAML."""
    source = (folder / "distribution_loss_layer.py").read_text()
    source = re.sub(r"^(\s*)print (.*)$", r"\1print(\2)", source, flags=re.MULTILINE)
    sys.modules["caffe"] = types.SimpleNamespace(Layer=object)
    sys.modules["yaml"] = types.SimpleNamespace(load=lambda parameters: parameters)
    scope = {"xrange": range}
    exec(compile(source, str(folder), "exec"), scope)
    return scope["DistributionLossLayer"]


def _blob(values):
    values = np.asarray(values, np.float64).reshape(-1, 1, 1, 1)
    return types.SimpleNamespace(data=values, diff=np.zeros_like(values))


def _histogram(layer_class):
    for case, (step, positives, negatives, seed) in HISTOGRAM_CASES.items():
        rng = np.random.default_rng(seed)
        similarities = np.concatenate([rng.normal(0.4, 0.3, positives), rng.normal(0.0, 0.3, negatives)]).clip(-1, 1)
        if case == "coarse":  # Exactly on nodes, both ends included.
            similarities[:3], similarities[-3:] = [1.0, 0.5, -1.0], [1.0, -0.25, -1.0]
        same = np.arange(len(similarities)) < positives
        layer = layer_class()
        layer.param_str = {"grid_delta": step, "loss": "simple", "distr_type": "hist"}
        bottom, top = [_blob(similarities), _blob(np.where(same, 1, -1))], [_blob([0.0])]
        layer.setup(bottom, top)
        layer.forward(bottom, top)
        layer.backward(top, [True, False], bottom)
        values = {"similarities": similarities, "same": same, "num_bins": len(layer.grid)}
        values.update(loss=top[0].data.item(), gradient=bottom[0].diff.reshape(-1))
        yield from ((f"histogram/{case}/{name}", value) for name, value in values.items())


def make(rkd, rep_distiller, histogram):
    loss = importlib.import_module("metric.loss")
    losses = {
        "rkd_distance": loss.RkdDistance(),
        "rkd_angle": loss.RKdAngle(),
        "weighted_rkd": importlib.import_module("distiller_zoo.RKD").RKDLoss(w_d=25, w_a=50),
        "similarity_preserving": importlib.import_module("distiller_zoo.SP").Similarity().similarity_loss,
    }
    return dict([*_relational(losses), *_histogram(_histogram_layer(histogram))])
