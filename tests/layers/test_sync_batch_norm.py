import numpy as np
import pytest
import tensorflow as tf
from keras_case import check_layer

from ddl_tf.layers import SyncBatchNorm, synchronize_batch_norm
from ddl_tf.models import BACKBONES, build_recognizer, initialise_from, load_checkpoint, save_checkpoint

BatchNorm = tf.keras.layers.BatchNormalization


@pytest.mark.parametrize("shape", [(6, 5), (6, 3, 3, 5)])
def test_keras_contract(shape, tmp_path, two_replicas):
    rng = np.random.default_rng(0)
    inputs = (3 + rng.normal(size=shape)).astype(np.float32)
    check_layer(SyncBatchNorm, (inputs,), tmp_path, two_replicas, mixed_dtype="compute")


def step(strategy, x, weights, policy):
    """Output, gradients and moving statistics, `x` split unevenly among the replicas."""
    with strategy.scope():
        layer = SyncBatchNorm(momentum=0.9, epsilon=1e-5, dtype=policy)
        layer.build(x.shape)
        layer.gamma.assign(np.linspace(0.5, 2, x.shape[-1]))
    cuts = {1: [0, len(x)], 2: [0, len(x), len(x)] if weights == "none" else [0, 2, len(x)]}
    bounds = cuts[strategy.num_replicas_in_sync]

    def values(context):
        number = context.replica_id_in_sync_group
        return tf.constant(x[bounds[number] : bounds[number + 1]])

    inputs = strategy.experimental_distribute_values_from_function(values)

    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 3)
        return y, *tape.gradient(loss, [x, layer.gamma, layer.beta])

    outputs = strategy.run(run, (inputs,))
    y, dx, dgamma, dbeta = (strategy.experimental_local_results(output) for output in outputs)
    statistics = [
        [part.numpy() for part in strategy.experimental_local_results(moving)]
        for moving in (layer.moving_mean, layer.moving_variance)
    ]
    rows = [np.concatenate([part.numpy().astype(np.float32) for part in parts]) for parts in (y, dx)]
    return [*rows, sum(dgamma).numpy(), sum(dbeta).numpy()], statistics


@pytest.mark.parametrize("shape", [(6, 5), (6, 3, 3, 5)])
@pytest.mark.parametrize("second", ["some", "none"])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_replicas_are_as_one_device(shape, second, policy, two_replicas):
    """Means far from 0, where a difference of squares would lose its digits; rows unlike, so that halves differ."""
    rng = np.random.default_rng(0)
    x = (100 + rng.normal(size=shape) + rng.normal(size=(6,) + (1,) * (len(shape) - 1))).astype(np.float32)
    one, (mean, variance) = step(tf.distribute.get_strategy(), x, "all", policy)
    two, statistics = step(two_replicas, x, second, policy)
    tolerance = 1e-5 if policy == "float32" else 1e-2
    for mine, wanted in zip(two, one):
        np.testing.assert_allclose(mine, wanted, rtol=10 * tolerance, atol=tolerance * np.abs(wanted).max())
    for mine, wanted in zip(statistics, (mean, variance)):
        np.testing.assert_array_equal(mine[0], mine[1])
        np.testing.assert_allclose(mine[0], wanted[0], rtol=1e-4)


def test_another_axis(two_replicas):
    with two_replicas.scope():
        layer = SyncBatchNorm(axis=1, name="norm")
        layer.build([None, 3, 4])
    with pytest.raises(ValueError, match="the axis of norm must be the last to be synchronised"):
        two_replicas.run(lambda: layer(tf.zeros([2, 3, 4]), training=True))


@pytest.mark.parametrize("backbone", [*BACKBONES, "keras_cv:efficientnetv2_b0"])
def test_all_batch_norm_of_a_recognizer(backbone):
    if backbone in ("iresnet34", "iresnet50", "iresnet100"):
        pytest.skip("built of the same blocks as iresnet18")
    plain, synchronised = (
        build_recognizer(backbone, 5, embedding_size=8, input_shape=(32, 32, 3), sync_batch_norm=sync)
        for sync in (False, True)
    )
    kinds = {type(layer) for layer in synchronised.submodules if isinstance(layer, BatchNorm)}
    assert kinds == {SyncBatchNorm}
    assert [weight.shape for weight in synchronised.weights] == [weight.shape for weight in plain.weights]
    assert len([layer for layer in plain.submodules if type(layer) is BatchNorm]) == len(
        [layer for layer in synchronised.submodules if type(layer) is SyncBatchNorm]
    )


def test_checkpoints_of_the_two_kinds_serve_each_other(tmp_path):
    plain, synchronised = (
        build_recognizer("plain_small", 5, embedding_size=8, input_shape=(16, 16, 3), sync_batch_norm=sync)
        for sync in (False, True)
    )
    rows = {"image": tf.random.uniform([4, 16, 16, 3], 0, 255), "label": tf.constant([0, 1, 2, -1])}
    save_checkpoint(plain, tmp_path / "plain.keras")
    save_checkpoint(synchronised, tmp_path / "sync.keras")
    expected = synchronised(rows)["logits"]
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "sync.keras")(rows)["logits"], expected)
    initialise_from(synchronised, tmp_path / "plain.keras")
    np.testing.assert_array_equal(synchronised(rows)["logits"], plain(rows)["logits"])
    initialise_from(plain, tmp_path / "sync.keras")
    np.testing.assert_array_equal(plain(rows)["logits"], expected)


def test_other_layers_stay():
    model = tf.keras.Sequential([tf.keras.layers.LayerNormalization(input_shape=(3,)), BatchNorm()])
    synchronize_batch_norm(model)
    assert [type(layer) for layer in model.layers] == [tf.keras.layers.LayerNormalization, SyncBatchNorm]
