"""What differs under Keras 3, row by row of docs/versions.md; what ddl_tf does about it is tested on both."""

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.keras_version import IS_KERAS_3, tf_variable
from ddl_tf.common.replicas import gather_rows
from ddl_tf.layers.sharded import copies_of
from ddl_tf.losses import DDLLoss, MarginSoftmaxLoss
from ddl_tf.models import build_recognizer, load_checkpoint, save_checkpoint
from ddl_tf.training.optimizers import NO_DECAY, build_optimizer

needs_keras_3 = pytest.mark.skipif(not IS_KERAS_3, reason="Keras 2 is tf.keras here")
FEATURES = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
SHAPE = (16, 16, 3)


class Spy(tf.keras.losses.Loss):
    """Notes the types of the targets that it is given, and is one number."""

    def __init__(self):
        super().__init__(name="spy")
        self.types = set()

    def call(self, y_true, y_pred):
        self.types.add(tf.as_dtype(y_true.dtype).name)
        return tf.reduce_mean(y_pred)


def dense_model(loss, optimizer="sgd", use_bias=True):
    inputs = tf.keras.Input([4])
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(3, use_bias=use_bias, kernel_initializer="ones")(inputs))
    model.compile(optimizer, loss)
    return model


def kernel_after_a_step(strategy, loss, optimizer):
    with strategy.scope():
        model = dense_model(loss(), optimizer(), use_bias=False)
    model.fit(tf.data.Dataset.from_tensor_slices((FEATURES, np.zeros([8], np.int64))).batch(8), verbose=0)
    return model.weights[0].numpy()


def test_identities_are_whole_numbers_of_any_size():
    groups = np.tile([0, 1], 8)
    embeddings = np.random.default_rng(1).normal(size=(16, 4)).astype(np.float32)
    small = np.repeat([1, 2, 3, 4], 4)
    losses = [
        float(DDLLoss()(np.stack([identity, groups], 1).astype(np.int64), embeddings))
        for identity in (small, small + 2**24, small + 2**40)
    ]
    assert losses == [losses[0]] * 3
    if IS_KERAS_3:
        spy = Spy()
        spy(np.array([2**24 + 1]), np.zeros([1, 3], np.float32))
        assert spy.types == {"float32"}


@needs_keras_3
def test_a_loss_of_one_number_counts_once_for_each_replica(two_replicas):
    one, two = (
        kernel_after_a_step(strategy, Spy, lambda: tf.keras.optimizers.SGD(0.1))
        for strategy in (tf.distribute.get_strategy(), two_replicas)
    )
    np.testing.assert_allclose(1 - two, 2 * (1 - one), rtol=1e-4)


@pytest.mark.parametrize("loss", [MarginSoftmaxLoss, pytest.param(Spy, marks=needs_keras_3)])
def test_what_is_clipped_on_replicas(loss, two_replicas):
    """The sum of the replicas' gradients by `build_optimizer`; each one's part by Keras 3."""
    norms = []
    for make in (
        lambda: build_optimizer("sgd", 1.0, momentum=0.0, weight_decay=0.0, clip_norm=1e-3),
        lambda: tf.keras.optimizers.SGD(1.0, global_clipnorm=1e-3),
    ):
        norms.append(np.linalg.norm(1 - kernel_after_a_step(two_replicas, loss, make)))
    assert norms[0] == pytest.approx(1e-3, rel=1e-2)
    if IS_KERAS_3:
        assert norms[1] > 1.2e-3


def test_files_have_the_mean_of_the_replicas_statistics(two_replicas, tmp_path):
    with two_replicas.scope():
        model = build_recognizer("plain_small", 5, embedding_size=8, input_shape=SHAPE)
    mean = model.get_layer("neck").feature_norm.moving_mean
    for number, copy in enumerate(copies_of(mean)):
        copy.assign(tf.fill(copy.shape, float(number)))
    assert np.mean(mean.numpy()) == (0.0 if IS_KERAS_3 else 0.5)
    save_checkpoint(model, tmp_path / "model.keras")
    saved = load_checkpoint(tmp_path / "model.keras").get_layer("neck").feature_norm.moving_mean
    np.testing.assert_array_equal(saved.numpy(), np.full(saved.shape, 0.5))


@needs_keras_3
def test_dropout_has_the_same_mask_on_all_replicas(two_replicas):
    with two_replicas.scope():
        dropout = tf.keras.layers.Dropout(0.5)
        dropout.build([None, 100])
    masks = two_replicas.run(tf.function(lambda: dropout(tf.ones([1, 100]), training=True)))
    first, second = (part.numpy() for part in two_replicas.experimental_local_results(masks))
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first)) == 2


@needs_keras_3
def test_fit_shows_losses_the_mean_of_the_replicas_targets(two_replicas):
    spy, targets = Spy(), np.zeros([8], np.int64)
    spy.__class__ = type("Seen", (Spy,), {"__call__": lambda self, y_true, y_pred, _=None: self.call(y_true, y_pred)})
    with two_replicas.scope():
        model = dense_model(spy)
    model.fit(tf.data.Dataset.from_tensor_slices((FEATURES, targets)).batch(8), verbose=0)
    assert spy.types == {"float64", "int64"}


def test_our_losses_are_trained_on_replicas(two_replicas):
    """Whatever `fit` shows them before."""
    with two_replicas.scope():
        model = dense_model(MarginSoftmaxLoss())
    history = model.fit(
        tf.data.Dataset.from_tensor_slices((FEATURES, np.zeros([8], np.int64))).batch(8), verbose=0
    ).history
    assert history["loss"][0] == pytest.approx(np.log(3), rel=1e-4)


@needs_keras_3
def test_predict_on_batch_gives_the_rows_once_for_each_replica(two_replicas):
    with two_replicas.scope():
        model = dense_model("mse")
    assert model.predict_on_batch(FEATURES).shape == (16, 3)
    assert model.predict(FEATURES, batch_size=8, verbose=0).shape == (8, 3)


@needs_keras_3
def test_the_third_argument_of_compile_weights_losses():
    model = dense_model("mse")
    model.compile("sgd", "mse", [0.0])
    assert model.evaluate(FEATURES, np.zeros([8, 3]), verbose=0) == 0.0


def test_weight_decay_spares_batch_norm_and_biases_by_their_names():
    with tf.name_scope("bn"):
        gamma = tf.Variable(np.ones(3, np.float32), name="gamma")
    named = dense_model("mse").layers[-1].bias
    for variable in (gamma, named, tf_variable(named)):
        assert tf.strings.regex_full_match(variable.name, ".*" + NO_DECAY).numpy()
    if IS_KERAS_3:
        assert named.name == "bias"


@needs_keras_3
def test_weights_of_rows_are_given_for_all_outputs():
    model = build_recognizer("plain_small", 5, embedding_size=8, input_shape=SHAPE)
    model.compile("sgd", {"embedding": DDLLoss(), "logits": MarginSoftmaxLoss()})
    label = np.arange(4)
    rows = {"image": np.zeros([4, *SHAPE], np.float32), "label": label}
    targets = {"embedding": np.stack([label, label % 2], 1), "logits": label}
    with pytest.raises(ValueError, match="one `sample_weight` array per output"):
        model.fit(rows, targets, sample_weight={"logits": np.ones(4)}, verbose=0)
    with pytest.raises(ValueError, match="mix tensors and non-tensors"):
        model({**rows, "label": tf.constant(label)})
    model.compile("sgd", {"logits": MarginSoftmaxLoss()})
    assert set(model.fit(rows, {"logits": label}, verbose=0).history) == {"loss"}
    assert not hasattr(model, "submodules")


@needs_keras_3
def test_a_first_batch_that_does_not_divide_stops_fit(two_replicas):
    with two_replicas.scope():
        model = dense_model("mse")
    rows = tf.data.Dataset.from_tensor_slices((FEATURES[:5], np.zeros([5, 3])))
    with pytest.raises(tf.errors.InvalidArgumentError):
        model.fit(rows.batch(5), verbose=0)
    assert np.isfinite(model.fit(rows.batch(4), verbose=0).history["loss"][0])


@needs_keras_3
def test_a_smaller_last_batch_counts_as_much_in_the_log_of_the_terms_of_a_loss():
    inputs = tf.keras.Input([4])
    dense = [tf.keras.layers.Dense(1, kernel_initializer="ones", name=name)(inputs) for name in ("a", "b")]
    model = tf.keras.Model(inputs, dict(zip(("a", "b"), dense)))
    model.compile(tf.keras.optimizers.SGD(0.0), {"a": "mse", "b": "mse"})
    targets = {"a": np.zeros([8, 1]), "b": np.zeros([8, 1])}
    rows = tf.data.Dataset.from_tensor_slices((FEATURES, targets)).batch(6)
    log = {key: values[0] for key, values in model.fit(rows, verbose=0).history.items()}
    first, last = (np.mean(FEATURES[rows].sum(axis=1) ** 2) for rows in (slice(6), slice(6, 8)))
    assert log["a_loss"] == pytest.approx((first + last) / 2, rel=1e-5)
    assert log["loss"] == pytest.approx(2 * (6 * first + 2 * last) / 8, rel=1e-5)


@needs_keras_3
def test_losses_that_layers_add_are_those_of_other_replicas_too(two_replicas):
    """The layer waits for the other replica before it adds its own."""

    class Adds(tf.keras.layers.Layer):
        def call(self, x):
            self.add_loss(tf.cast(tf.size(gather_rows(x)[0]), tf.float32))
            return x

    logs = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            inputs = tf.keras.Input([4])
            model = tf.keras.Model(inputs, tf.keras.layers.Dense(3, kernel_initializer="ones")(Adds()(inputs)))
            model.compile(tf.keras.optimizers.SGD(0.0), Spy())
        rows = tf.data.Dataset.from_tensor_slices((FEATURES, np.zeros([8], np.int64))).batch(8)
        logs.append(model.fit(rows, verbose=0).history["loss"][0])
    # One replica has its own, the other both.
    assert logs[1] == pytest.approx(logs[0] + 16, abs=2)
