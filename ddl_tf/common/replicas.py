"""Rows and means of the global batch, from inside a replica."""

import tensorflow as tf


def in_several_replicas() -> bool:
    """Whether the caller runs in one of several replicas, inside `strategy.run` or `fit`."""
    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync > 1


def gather_rows(*tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Concatenate the rows `[rows, ...]` of all replicas, in order; gradients flow back to where they came from."""
    if not in_several_replicas():
        return tensors
    context = tf.distribute.get_replica_context()
    # With one replica a process, a tensor that comes as it was fed has no device, and the copy has.
    return tuple(context.all_gather(tf.identity(tensor), axis=0) for tensor in tensors)


def global_sum(value: tf.Tensor) -> tf.Tensor:
    """Sum a value of the same shape in all replicas, which needs no gradient."""
    if not in_several_replicas():
        return value
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))


def num_replicas() -> int:
    """How many replicas the caller runs beside, itself included; 1 outside of a strategy."""
    return tf.distribute.get_replica_context().num_replicas_in_sync if in_several_replicas() else 1


def replica_number() -> int:
    """Which of the replicas the caller runs in, from 0; 0 outside of a strategy."""
    if not in_several_replicas():
        return 0
    return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))


def mean_of_rows(values: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    """Give the loss that is a mean of `[rows]` float32 over the `counted` rows of the global batch; 0 if none counts.

    Its value is that of the global batch in every replica, also in one without rows: Keras weights the replicas by
    their rows when it logs a loss. Its gradient is that of the replica's own rows, divided by the replicas' even share
    of the counted rows: Keras averages the losses of the replicas, so the gradients add up to those of one device.
    """
    total = tf.reduce_sum(tf.where(counted, values, 0.0))
    number = tf.reduce_sum(tf.cast(counted, tf.float32))
    if not in_several_replicas():
        return tf.math.divide_no_nan(total, number)
    global_total, global_number = tf.unstack(global_sum(tf.stack([tf.stop_gradient(total), number])))
    mean = tf.math.divide_no_nan(global_total, global_number)
    part = tf.math.divide_no_nan(total * num_replicas(), global_number)
    return part + tf.stop_gradient(mean - part)


def average_statistics(model: tf.keras.Model) -> None:
    """Give all replicas of this process the same statistics of batch normalisation, those that a file is to have.

    Each replica has its own. Keras 2 averages them when they are read from outside, Keras 3 reads the first one's; and
    a model that embeds within a replica would use those of that one. For training they do not matter.
    """
    for variable in model.non_trainable_variables:
        # A variable of Keras 3 holds one of TensorFlow.
        copies = variable.value if hasattr(variable, "path") else variable
        if not isinstance(copies, tf.distribute.DistributedValues):
            continue
        if copies.synchronization == tf.VariableSynchronization.ON_READ:
            copies.assign(copies.read_value())
        elif copies.aggregation == tf.VariableAggregation.NONE and copies.dtype.is_floating:
            mean = tf.add_n([tf.convert_to_tensor(copy) for copy in copies.values]) / len(copies.values)
            for copy in copies.values:
                copy.assign(mean)
