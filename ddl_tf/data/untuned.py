"""tf.data pipelines whose parallelism is set, not tuned while they run."""

import tensorflow as tf

# Batches that are ready before they are asked for.
PREFETCHED = 2


def untuned_options() -> tf.data.Options:
    """Give the options of a pipeline that says itself how much of it runs side by side.

    TensorFlow's own tuning (`tf.data.AUTOTUNE`) is done by a thread that sleeps for up to a minute at a time, and a
    pipeline waits for it when it ends. It is to be woken then, but the call is lost where the thread looks before it
    counts as cancelled: nearly always on one core, often on busy ones. An epoch, an evaluation, or a mining of seconds
    takes that minute longer.

    Returns:
        The options; numbers of parallel calls and of prefetched elements have to be given.

    Example:
        >>> tf.data.Dataset.range(3).prefetch(1).with_options(untuned_options()).cardinality().numpy()
        3
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options
