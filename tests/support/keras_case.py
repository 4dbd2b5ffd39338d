"""What every Keras object of the package must do: the base checks of its tests.

Each check takes a function that makes a new object, since most of them need several. `check_layer` and `check_loss`
train for one step; a layer also on two replicas, where the weights must be the same, but for one that must differ there
(batch normalisation sees half of the batch) and says `same_on_replicas=False`.
"""

import contextlib
import inspect
import json

import numpy as np
import tensorflow as tf

from ddl_tf.training.objective import make_state


@contextlib.contextmanager
def policy(name):
    """A mixed precision policy for some statements."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def value_and_gradient(loss, y_true, y_pred):
    """Tensors; in a graph too."""
    y_pred = tf.convert_to_tensor(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred)
    return value, tape.gradient(value, y_pred)


def loss_and_gradient(loss, y_true, y_pred):
    """A float and an array."""
    value, gradient = value_and_gradient(loss, tf.convert_to_tensor(y_true), y_pred)
    return float(value), gradient.numpy()


def on_replicas(strategy, function, parts, *arrays):
    """What a function returns on each replica, `parts` being each one's slice of the arrays."""

    def part(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(array[parts[context.replica_id_in_sync_group]])
        )

    results = tf.function(lambda *arguments: strategy.run(function, arguments))(*map(part, arrays))
    return tf.nest.map_structure(strategy.experimental_local_results, results)


def check_replicated_loss(strategy, make, rows_of_first, *batch):
    """Two replicas have the loss and the gradient of one device; a batch is labels, predictions, and weights if any."""

    def step(y_true, y_pred, *weights):
        # Keras divides by the number of replicas and sums the gradients.
        loss = make(reduction="sum")
        value, gradient = value_and_gradient(lambda *pair: loss(*pair, *weights) / 2, y_true, y_pred)
        return 2 * value, gradient

    y_true, y_pred, *weights = batch
    expected, expected_gradient = loss_and_gradient(lambda *pair: make()(*pair, *weights), y_true, y_pred)
    losses, gradients = on_replicas(strategy, step, [slice(0, rows_of_first), slice(rows_of_first, None)], *batch)
    np.testing.assert_allclose(np.mean(losses), expected, rtol=1e-5)
    tolerance = 1e-6 * max(1.0, np.abs(expected_gradient).max())
    np.testing.assert_allclose(np.concatenate(gradients), expected_gradient, atol=tolerance)


def assert_weights(weights, expected, rtol=0.0, atol=0.0):
    """The weights of two layers or models are equal, or close."""
    assert len(weights) == len(expected)
    for weight, right in zip(weights, expected):
        values = (value.numpy() if hasattr(value, "numpy") else value for value in (weight, right))
        np.testing.assert_allclose(*values, rtol=rtol, atol=atol, err_msg=getattr(weight, "name", ""))


def check_replicated_training(make_model, rows, strategy):
    """Two epochs change every weight, on replicas as on one device; returns the replicated model."""
    single = make_model()
    start = single.get_weights()
    with strategy.scope():
        replicated = make_model()
        replicated.set_weights(start)
        make_state(replicated)
    single.run_eagerly = True
    logs, replicated_logs = (model.fit(rows, epochs=2, verbose=0).history for model in (single, replicated))
    assert logs.keys() == replicated_logs.keys()
    for key, values in logs.items():
        np.testing.assert_allclose(replicated_logs[key], values, rtol=1e-4, err_msg=key)
    assert_weights(replicated.weights, single.weights, rtol=1e-4, atol=1e-6)
    for weight, old in zip(single.weights, start):
        assert not np.array_equal(weight.numpy(), old), weight.name
    return replicated


def check_config(made):
    """The configuration is JSON, has all arguments, and gives an equal object by `from_config` and registered name."""
    config, arguments = made.get_config(), inspect.signature(type(made)).parameters.values()
    assert {argument.name for argument in arguments if argument.kind is argument.POSITIONAL_OR_KEYWORD} <= config.keys()
    assert json.loads(json.dumps(config)) == json.loads(json.dumps(type(made).from_config(config).get_config()))
    registered = tf.keras.utils.get_registered_name(type(made))
    # Files keep the first name of a class that was renamed.
    first_names = {"PartialFC": "SampledHead"}
    assert registered == f"ddl_tf>{first_names.get(type(made).__name__, type(made).__name__)}"
    again = tf.keras.utils.deserialize_keras_object(tf.keras.utils.serialize_keras_object(made))
    assert type(again) is type(made)
    assert again.get_config() == config


def check_layer(make, inputs, tmp_path, two_replicas, mixed_dtype="float32", trains=True, same_on_replicas=True):
    """A layer, called with `inputs`: a tuple of arrays `[batch, ...]`, an even batch.

    `mixed_dtype` is the output's under a mixed precision policy; "compute" stands for the policy's own.
    """
    check_config(make())
    inputs = [tf.constant(array) for array in inputs]

    def make_model():
        placeholders = [tf.keras.Input(array.shape[1:], dtype=array.dtype) for array in inputs]
        return tf.keras.Model(placeholders, make()(*placeholders))

    model = make_model()
    outputs = model(inputs).numpy()
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(tf.function(model)(inputs), outputs, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "layer.keras")
    np.testing.assert_array_equal(tf.keras.models.load_model(tmp_path / "layer.keras")(inputs), outputs)
    for dtype in ("float16", "bfloat16"):
        with policy(f"mixed_{dtype}"):
            mixed = make()(*inputs)
        assert mixed.dtype == (dtype if mixed_dtype == "compute" else mixed_dtype)
        assert np.all(np.isfinite(tf.cast(mixed, tf.float32)))
    if trains:
        strategies, targets = (tf.distribute.get_strategy(), two_replicas), np.zeros_like(outputs)
        steps = [_check_step(make_model, "mse", inputs, targets, strategy) for strategy in strategies]
        for single, replicated in zip(*steps) if same_on_replicas else ():
            atol = 1e-5 * max(1.0, np.abs(single).max(initial=0))
            np.testing.assert_allclose(replicated, single, rtol=1e-4, atol=atol)


def check_loss(make, y_true, y_pred, tmp_path):
    """A loss on `y_true` `[batch, ...]` and `y_pred` `[batch, dim]`, an even batch."""
    check_config(make())
    loss = make()
    value = loss(y_true, y_pred)
    assert value.shape == ()
    for dtype in (tf.float16, tf.bfloat16, tf.float64):
        other, gradient = value_and_gradient(loss, y_true, tf.cast(y_pred, dtype))
        assert other.dtype == tf.float32
        np.testing.assert_allclose(other, value, rtol=0.02, atol=1e-3)
        assert np.all(np.isfinite(tf.cast(gradient, tf.float32)))

    def make_model():
        inputs = tf.keras.Input(y_pred.shape[1:])
        return tf.keras.Model(inputs, tf.keras.layers.Dense(y_pred.shape[-1], kernel_initializer="identity")(inputs))

    model = make_model()
    model.compile("sgd", make())
    model.save(tmp_path / "loss.keras")
    assert tf.keras.models.load_model(tmp_path / "loss.keras").loss.get_config() == loss.get_config()
    # An identity, so that the first step in a graph has the loss of the predictions.
    _check_step(make_model, make, y_pred, y_true, first_loss=value)


def check_metric(make, y_true, y_pred, two_replicas=None):
    """A metric on arrays `[batch, ...]`, an even batch; with `two_replicas`, each sees half of the rows."""
    check_config(make())
    metric = make()
    metric.update_state(y_true, y_pred)
    value = np.asarray(metric.result())
    assert np.all(np.isfinite(value))
    metric.reset_state()

    @tf.function
    def update(*batch):
        metric.update_state(*batch)

    update(tf.constant(y_true), tf.constant(y_pred))
    np.testing.assert_allclose(metric.result(), value, rtol=1e-5, atol=1e-6)
    metric.reset_state()
    for policy_dtype in (tf.float16, tf.bfloat16):
        metric.update_state(y_true, tf.cast(y_pred, policy_dtype))
    assert np.all(np.isfinite(np.asarray(metric.result())))
    if two_replicas is None:
        return
    with two_replicas.scope():
        metric = make()
    rows = tf.data.Dataset.from_tensor_slices((y_true, y_pred)).batch(len(y_pred))

    @tf.function
    def update_replicas(batch):
        two_replicas.run(metric.update_state, args=batch)

    for batch in two_replicas.experimental_distribute_dataset(rows):
        update_replicas(batch)
    np.testing.assert_allclose(metric.result(), value, rtol=1e-5, atol=1e-6)


def _check_step(make_model, make_loss, inputs, targets, strategy=None, first_loss=None):
    """One step changes every trainable weight, to finite values; returns the weights."""
    tf.keras.utils.set_random_seed(0)
    with (strategy or tf.distribute.get_strategy()).scope():
        model = make_model()
        start = model.get_weights()
        model.compile(tf.keras.optimizers.SGD(0.1), make_loss if isinstance(make_loss, str) else make_loss())
        make_state(model)
    # tf.data takes a list for one array.
    inputs = tuple(inputs) if isinstance(inputs, list) else inputs
    rows = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(len(targets))
    log = model.fit(rows, epochs=1, verbose=0).history
    if first_loss is not None:
        np.testing.assert_allclose(log["loss"], [first_loss], rtol=1e-5, atol=1e-6)
    assert model.trainable_weights, "nothing to train"
    for weight, old in zip(model.weights, start):
        assert np.all(np.isfinite(weight.numpy())), f"{weight.name} is not finite"
        assert not weight.trainable or not np.array_equal(weight.numpy(), old), f"{weight.name} was not trained"
    return model.get_weights()
