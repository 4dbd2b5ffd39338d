import tensorflow as tf

from ddl_tf.data.pipeline import untuned_options


def test_no_thread_tunes_the_pipeline():
    pipeline = tf.data.Dataset.range(4).map(lambda x: 2 * x, num_parallel_calls=2).with_options(untuned_options())
    assert pipeline.options().autotune.enabled is False
    assert list(pipeline.as_numpy_iterator()) == [0, 2, 4, 6]
