"""Gradients and weights that are not finite, and steps that loss scaling skips, which are none of them."""

import numpy as np
import pytest
import tensorflow as tf
from keras_case import policy

from ddl_tf.common.errors import NotFiniteError
from ddl_tf.common.keras_version import IS_KERAS_3
from ddl_tf.losses import MarginSoftmaxLoss
from ddl_tf.models import build_recognizer
from ddl_tf.training import build_optimizer
from ddl_tf.training.checkpoints import ResumePoint, SaveForResume, Steps


def test_a_gradient_at_the_end_of_an_epoch_spoils_no_file(small_run, undisturbed_outcome, monkeypatch):
    """Its loss is finite: only the weights tell."""
    call, steps = MarginSoftmaxLoss.__call__, tf.Variable(0)

    @tf.custom_gradient
    def poison(values, step):
        return values, lambda upstream: (upstream * tf.where(step == 3, np.nan, 1.0), None)

    def poisoned(self, y_true, y_pred, sample_weight=None):
        return call(self, y_true, poison(y_pred, steps.assign_add(1)), sample_weight)

    with monkeypatch.context() as patch:
        patch.setattr(MarginSoftmaxLoss, "__call__", poisoned)
        with pytest.raises(NotFiniteError, match=r"^weight .* is not finite after step 3; .*/ckpt-2; lower --learning"):
            small_run.run()
    assert small_run.checkpoints() == [1, 2]
    # The epoch's end would have written them.
    assert not list(small_run.folder.glob("checkpoints/*"))
    assert not (small_run.folder / "log.csv").exists()
    small_run.run()
    assert small_run.outcome() == undisturbed_outcome


def test_a_step_that_loss_scaling_skips_is_no_fault(tmp_path):
    with policy("mixed_float16"):
        model = build_recognizer("plain_small", 5, embedding_size=4, input_shape=(16, 16, 3))
        model.compile(build_optimizer("sgd", 0.05), loss={"logits": MarginSoftmaxLoss()})
    # The gradients of the half-precision layers overflow at first; each such step halves the scale.
    if IS_KERAS_3:
        model.optimizer.build(model.trainable_variables)
    scale = model.optimizer.dynamic_scale if IS_KERAS_3 else model.optimizer._loss_scale._current_loss_scale
    scale.assign(2.0**40)
    model.run_eagerly = True
    saver = SaveForResume(ResumePoint(tmp_path, model), Steps(0, 100, 1), lambda: None, lambda number: number)
    start = [weight.numpy() for weight in model.trainable_weights]
    label = np.arange(8) % 5
    images = np.random.default_rng(0).integers(0, 256, [8, 16, 16, 3]).astype(np.float32)
    rows = tf.data.Dataset.from_tensors(({"image": images, "label": label}, {"logits": label})).repeat(2)
    history = model.fit(rows, callbacks=[saver], verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for weight, old in zip(model.trainable_weights, start):
        np.testing.assert_array_equal(weight.numpy(), old)
    # The steps count for the data, and the checkpoint keeps the scale.
    assert saver.step == 2
    scale.assign(2.0**10)
    assert ResumePoint(tmp_path, model).restore() == 2
    assert scale.numpy() == 2.0**38
