import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.keras_version import all_layers
from ddl_tf.layers import is_synchronized, synchronize_batch_norm
from ddl_tf.models import build_recognizer, load_checkpoint, save_checkpoint

BatchNorm = tf.keras.layers.BatchNormalization


def kinds(model):
    """Whether each batch normalisation of a model is synchronised, those inside of layers included."""
    return {layer.synchronized for layer in all_layers(model) if isinstance(layer, BatchNorm)}


def training_step(strategy, x, trainable=True):
    """Output and moving statistics, `x` split among the replicas."""
    with strategy.scope():
        model = tf.keras.Sequential([tf.keras.Input(x.shape[1:]), BatchNorm(momentum=0.9)])
        synchronize_batch_norm(model)
        model.trainable = trainable
    rows = len(x) // strategy.num_replicas_in_sync
    inputs = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(x[context.replica_id_in_sync_group * rows :][:rows])
    )
    outputs = strategy.run(tf.function(lambda x: model(x, training=True)), (inputs,))
    outputs = np.concatenate([part.numpy() for part in strategy.experimental_local_results(outputs)])
    return outputs, *(weight.numpy() for weight in model.layers[0].non_trainable_weights[-2:])


@pytest.mark.parametrize("shape", [(6, 5), (6, 3, 3, 5)])
def test_replicas_are_as_one_device(shape, two_replicas):
    rng = np.random.default_rng(0)
    # Rows unlike, so that halves differ.
    x = (3 + rng.normal(size=shape) + rng.normal(size=(6,) + (1,) * (len(shape) - 1))).astype(np.float32)
    for replicated, single in zip(training_step(two_replicas, x), training_step(tf.distribute.get_strategy(), x)):
        np.testing.assert_allclose(replicated, single, atol=1e-5)


def test_frozen_it_is_inference_on_replicas_too(two_replicas):
    x = np.random.default_rng(0).normal(3, 2, [6, 5]).astype(np.float32)
    outputs, mean, variance = training_step(two_replicas, x, trainable=False)
    np.testing.assert_allclose(outputs, x / np.sqrt(1.001), rtol=1e-5)
    np.testing.assert_array_equal(mean, np.zeros(5))
    np.testing.assert_array_equal(variance, np.ones(5))


def test_all_batch_norm_of_a_recognizer_and_of_a_loaded_one(tmp_path):
    """That of its neck too, in whose configuration it is."""
    model = build_recognizer("plain_small", 5, embedding_size=8, input_shape=(32, 32, 3))
    assert (kinds(model), is_synchronized(model)) == ({False}, False)
    synchronize_batch_norm(model)
    assert (kinds(model), is_synchronized(model)) == ({True}, True)
    save_checkpoint(model, tmp_path / "sync.keras")
    assert kinds(load_checkpoint(tmp_path / "sync.keras")) == {True}


def test_files_that_name_the_old_layer_can_be_read():
    config = {"name": "norm", "axis": [1], "momentum": 0.9, "epsilon": 1e-5, "trainable": True, "dtype": "float32"}
    layer = tf.keras.utils.deserialize_keras_object(
        {
            "module": "ddl_tf.layers.sync_batch_norm",
            "class_name": "SyncBatchNorm",
            "config": config,
            "registered_name": "ddl_tf>SyncBatchNorm",
            "build_config": {"input_shape": [None, 3]},
        }
    )
    assert type(layer) is BatchNorm
    assert (layer.synchronized, layer.momentum, layer.name) == (True, 0.9, "norm")
