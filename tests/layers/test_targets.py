import numpy as np
import tensorflow as tf

from ddl_tf.layers import Targets

MATRIX = tf.reshape(tf.range(12.0), [3, 4])


def test_takes_and_puts_the_target_of_each_row():
    targets = Targets(tf.constant([[2], [-1], [0]]))
    np.testing.assert_array_equal(targets.labelled, [True, False, True])
    np.testing.assert_array_equal(targets.classes, [2, 0, 0])
    np.testing.assert_array_equal(targets.take(MATRIX), [2.0, 4.0, 8.0])
    changed = targets.put(MATRIX, tf.constant([-1.0, -2.0, -3.0]))
    np.testing.assert_array_equal(changed, [[0, 1, -1, 3], [4, 5, 6, 7], [-3, 9, 10, 11]])


def test_counts_and_sums_labelled_rows_without_a_gradient():
    targets = Targets(tf.constant([2, -1, 0]))
    assert float(targets.count()) == 2.0
    values = tf.constant([1.0, np.nan, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = targets.total(values)
    assert float(total) == 4.0
    assert tape.gradient(total, values) is None
