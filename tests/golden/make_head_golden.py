"""What the authors' margin heads say of two made-up batches; see make.py.

It needs PyTorch, and pytorch-metric-learning 2.9.0, whose sub-center ArcFace stands for the published one (for MXNet,
without the code of its head). MagFace's code is asked for without its `easy_margin` (see docs/heads.md).

The embeddings and centers of the two batches are the same for all heads (sub-center: its own centers). For each head
there are the logits of both batches, the gradients of the second batch's mean cross-entropy (MagFace: with
lambda_g times its regulariser) with respect to embeddings and centers, and the statistics after both batches.
"""

import importlib
import sys
import types

import numpy as np
import torch

CHECKOUTS = {"curricularface": "", "adaface": "", "magface": ""}
# It only colours the log.
STUBS = ("termcolor",)
CLASSES, DIM, ROWS, SUB_CENTERS = 6, 8, 10, 3


def batches():
    """Embeddings [2, ROWS, DIM] of all norms, some beside their center and some opposite to it; centers; labels."""
    random = np.random.RandomState(0)
    centers = random.normal(size=[DIM, CLASSES])
    labels = random.randint(CLASSES, size=[2, ROWS])
    directions = random.normal(size=[2, ROWS, DIM])
    directions[:, :3] += 2 * centers.T[labels[:, :3]]
    directions[:, 3] -= 2 * centers.T[labels[:, 3]]
    directions[:, 4] = 0.2 * directions[:, 4] - centers.T[labels[:, 4]]
    norms = np.array([2.0, 12.0, 18.0, 20.0, 24.0, 30.0, 45.0, 70.0, 109.0, 150.0])
    norms = np.stack([random.permutation(norms), random.permutation(norms)])
    embeddings = directions / np.linalg.norm(directions, axis=2, keepdims=True) * norms[:, :, np.newaxis]
    return embeddings.astype(np.float32), centers.astype(np.float32), labels


def run(logits_of, weight, embeddings, labels, regulariser=lambda batch: 0.0):
    """Both batches through a head: logits of both, gradients of the second."""
    made = []
    for batch, label in zip(torch.from_numpy(embeddings), torch.from_numpy(labels)):
        batch.requires_grad_()
        made.append(logits_of(batch, label))
    loss = torch.nn.functional.cross_entropy(made[1], label) + regulariser(batch)
    to_embeddings, to_centers = torch.autograd.grad(loss, [batch, weight])
    return {
        "logits": np.stack([logits.detach().numpy() for logits in made]),
        "loss": loss.item(),
        "to_embeddings": to_embeddings.numpy(),
        "to_centers": to_centers.numpy(),
    }


def imported(folder, module):
    """A module of a checkout; two of them have a package `head`."""
    for name in [name for name in sys.modules if name.split(".")[0] == module.split(".")[0]]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    return importlib.import_module(module)


def curricularface(folder, embeddings, centers, labels):
    """Theirs changes the cosines in place."""
    head = imported(folder, "head.metrics").CurricularFace(DIM, CLASSES)
    head.kernel.data = torch.from_numpy(centers)
    made = run(lambda batch, label: head(batch, label)[0], head.kernel, embeddings, labels)
    return {**made, "t": head.t.item()}


def adaface(folder, embeddings, centers, labels, t_alpha):
    """The t_alpha of their training script is 0.01, that of their class 1."""
    head = imported(folder, "head").AdaFace(DIM, CLASSES, t_alpha=t_alpha)
    head.kernel.data = torch.from_numpy(centers)

    def logits_of(batch, label):
        norms = torch.norm(batch, 2, 1, keepdim=True)
        return head(batch / norms, norms, label)

    made = run(logits_of, head.kernel, embeddings, labels)
    return {**made, "norm_mean": head.batch_mean.item(), "norm_std": head.batch_std.item()}


def magface(folder, embeddings, centers, labels):
    """The parts of their `SoftmaxBuilder` that come after the network."""
    module = imported(folder, "models.magface")
    bounds = types.SimpleNamespace(l_a=10.0, u_a=110.0, l_margin=0.45, u_margin=0.8)
    linear = module.MagLinear(DIM, CLASSES, easy_margin=False)
    linear.weight.data = torch.from_numpy(centers)
    loss = module.MagLoss(bounds.l_a, bounds.u_a, bounds.l_margin, bounds.u_margin)

    def parts(batch):
        return linear(batch, lambda norms: module.SoftmaxBuilder._margin(bounds, norms), bounds.l_a, bounds.u_a)

    def logits_of(batch, label):
        (cosines, margined), _ = parts(batch)
        return torch.where(torch.nn.functional.one_hot(label, CLASSES) == 1, margined, cosines)

    made = run(logits_of, linear.weight, embeddings, labels, lambda batch: 35.0 * loss.calc_loss_G(parts(batch)[1]))
    second = parts(torch.from_numpy(embeddings[1]))
    cross_entropy, g, _ = loss(second[0], torch.from_numpy(labels[1]), second[1])
    np.testing.assert_allclose(made["loss"], cross_entropy.item() + 35.0 * g.item(), rtol=1e-6)
    return made


def subcenter(embeddings, labels):
    """Its margin is in degrees, and its logits go into a cross-entropy that is listened to."""
    losses = importlib.import_module("pytorch_metric_learning.losses")
    centers = np.random.RandomState(1).normal(size=[DIM, CLASSES, SUB_CENTERS]).astype(np.float32)
    head = losses.SubCenterArcFaceLoss(
        num_classes=CLASSES, embedding_size=DIM, margin=float(np.degrees(0.5)), scale=64, sub_centers=SUB_CENTERS
    )
    head.W.data = torch.from_numpy(centers.reshape(DIM, -1))
    heard = []
    head.cross_entropy.register_forward_pre_hook(lambda module, arguments: heard.append(arguments[0]))

    def logits_of(batch, label):
        head(batch, label)
        return heard[-1]

    made = run(logits_of, head.W, embeddings, labels)
    return {**made, "to_centers": made["to_centers"].reshape(centers.shape), "centers": centers}


def make(**folders):
    embeddings, centers, labels = batch = batches()
    heads = {
        "curricularface": curricularface(folders["curricularface"], *batch),
        "adaface": adaface(folders["adaface"], *batch, 0.01),
        "adaface_of_the_batch": adaface(folders["adaface"], *batch, 1.0),
        "magface": magface(folders["magface"], *batch),
        "subcenter_arcface": subcenter(embeddings, labels),
    }
    golden = {f"{head}/{name}": np.asarray(value) for head, values in heads.items() for name, value in values.items()}
    return {"embeddings": embeddings, "centers": centers, "labels": labels, **golden}
