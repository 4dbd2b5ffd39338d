"""The heads give the numbers of the authors' code; see tests/golden/make_head_golden.py."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.layers import AdaFace, CurricularFace, MagFace, SubCenterArcFace

HEADS = {
    "curricularface": CurricularFace,
    "adaface": AdaFace,
    "adaface_of_the_batch": lambda num_classes: AdaFace(num_classes, t_alpha=1.0),
    "magface": MagFace,
    "subcenter_arcface": SubCenterArcFace,
}


@pytest.fixture(scope="module")
def golden():
    return np.load(Path(__file__).resolve().parents[1] / "golden" / "head_golden.npz")


@pytest.mark.parametrize("name", HEADS)
def test_two_batches_with_gradients_and_statistics(golden, name):
    head = HEADS[name](6)
    head.build([None, 8])
    head.class_centers.assign(golden[f"{name}/centers" if f"{name}/centers" in golden else "centers"])
    for embeddings, labels, expected in zip(golden["embeddings"], golden["labels"], golden[f"{name}/logits"]):
        embeddings = tf.constant(embeddings)
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            logits = head(embeddings, labels, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            loss += tf.add_n([0.0, *head.losses])
        np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert float(loss) == pytest.approx(float(golden[f"{name}/loss"]), rel=1e-5)
    to_embeddings, to_centers = tape.gradient(loss, [embeddings, head.class_centers])
    np.testing.assert_allclose(to_embeddings, golden[f"{name}/to_embeddings"], atol=1e-5)
    np.testing.assert_allclose(to_centers, golden[f"{name}/to_centers"], atol=1e-5)
    statistics = {"curricularface": ["t"], "adaface": ["norm_mean", "norm_std"]}.get(name.split("_")[0], [])
    for statistic in statistics:
        assert float(getattr(head, statistic)) == pytest.approx(float(golden[f"{name}/{statistic}"]), rel=1e-5)
