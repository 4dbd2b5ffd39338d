import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.replicas import global_sum, mean_of_rows, num_replicas

VALUES = tf.constant([1.0, 2.0, 6.0, 5.0, 7.0, 8.0])


def test_mean_of_rows_is_that_of_the_global_batch(two_replicas):
    @tf.function
    def run(batch):
        # Keras averages over the replicas.
        parts = two_replicas.run(mean_of_rows, args=batch)
        return two_replicas.reduce("SUM", parts, axis=None) / 2

    for counted, expected in (([True] * 6, 29 / 6), ([True, False, True, *[False] * 3], 3.5), ([False] * 6, 0.0)):
        counted = tf.constant(counted)
        assert float(mean_of_rows(VALUES, counted)) == pytest.approx(expected)
        rows = tf.data.Dataset.from_tensors((VALUES, counted)).unbatch().batch(6)
        (batch,) = two_replicas.experimental_distribute_dataset(rows)
        assert float(run(batch)) == pytest.approx(expected)


def test_rows_that_do_not_count_may_be_anything():
    values = tf.constant([2.0, np.nan])
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = mean_of_rows(values**2, tf.constant([True, False]))
    assert float(loss) == 4.0
    np.testing.assert_array_equal(tape.gradient(loss, values)[0], 4.0)


def test_outside_of_a_strategy_there_is_one_replica():
    assert num_replicas() == 1
    assert float(global_sum(tf.constant(3.0))) == 3.0
