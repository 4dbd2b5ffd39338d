import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.training import build_optimizer


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_are_summed_but_for_shards(sparse, two_replicas):
    pairs = aggregated(two_replicas, sparse, [1.0, 2.0])
    np.testing.assert_array_equal(pairs["head/class_shard"], [np.full([2, 2], 1.0), np.full([2, 2], 2.0)])
    np.testing.assert_array_equal(pairs["kernel"], np.full([2, 2, 2], 3.0))


@pytest.mark.parametrize("sparse", [False, True])
def test_what_is_not_finite_in_one_shard_is_so_in_all(sparse, two_replicas):
    pairs = aggregated(two_replicas, sparse, [1.0, np.inf])
    assert not np.any(np.isfinite(pairs["head/class_shard"]))


def aggregated(strategy, sparse, values):
    """The gradients of both replicas, by weight; every value of a replica's is the one given."""
    with strategy.scope():
        weights = [tf.Variable(tf.zeros([2, 2]), name=name) for name in ("head/class_shard", "kernel")]
        optimizer = build_optimizer("sgd", 0.1)

    def step(value):
        gradient = tf.fill([2, 2], value)
        if sparse:
            gradient = tf.IndexedSlices(gradient, tf.range(2), tf.constant([2, 2]))
        pairs = optimizer.aggregate_gradients((gradient, weight) for weight in weights)
        return [tf.convert_to_tensor(gradient) for gradient, _ in pairs]

    of_replica = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(values[context.replica_id_in_sync_group])
    )
    results = strategy.run(tf.function(step), (of_replica,))
    names = (weight.name.split(":")[0] for weight in weights)
    return {name: np.stack(strategy.experimental_local_results(result)) for name, result in zip(names, results)}
