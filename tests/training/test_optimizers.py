import numpy as np
import pytest
import tensorflow as tf
from keras_case import assert_weights, check_config, policy

from ddl_tf.common.keras_version import IS_KERAS_3
from ddl_tf.layers.sharded import copies_of
from ddl_tf.training.optimizers import L2SGD, build_optimizer, build_schedule

BASE, TOTAL, WARM = 0.4, 100, 10


def naive_rate(name, step):
    """The learning rate of a step, counted from 0."""
    if step < WARM:
        return BASE * (step + 1) / WARM
    share = (step - WARM) / (TOTAL - WARM)
    return {
        "constant": BASE,
        "cosine": 0.01 + (BASE - 0.01) * 0.5 * (1 + np.cos(np.pi * share)),
        "polynomial": 0.01 + (BASE - 0.01) * (1 - share) ** 2,
        "step": BASE * 0.1 ** sum(step >= boundary for boundary in (40, 70)),
    }[name]


@pytest.mark.parametrize("name", ["constant", "cosine", "polynomial", "step"])
def test_schedules_equal_the_naive_twin(name):
    schedule = build_schedule(name, BASE, TOTAL, WARM, 0.01, 2.0, [40, 70], 0.1)
    rates = [float(schedule(step)) for step in range(TOTAL)]
    np.testing.assert_allclose(rates, [naive_rate(name, step) for step in range(TOTAL)], rtol=1e-4)


def make_model():
    layers = tf.keras.layers
    normalised = layers.BatchNormalization(), layers.PReLU()
    return tf.keras.Sequential([tf.keras.Input([6]), layers.Dense(4), *normalised, layers.Dense(3)])


def naive_sgd(weights, gradients, names, steps, rate, momentum, decay):
    """PyTorch's SGD: weight decay enters the gradient, and so the momentum."""
    velocity = [np.zeros_like(w) for w in weights]
    for _ in range(steps):
        for k, name in enumerate(names):
            spared = any(part in name for part in ("gamma", "beta", "bias"))
            gradient = gradients[k] + (0 if spared else decay * weights[k])
            velocity[k] = momentum * velocity[k] + gradient
            weights[k] = weights[k] - rate * velocity[k]
    return weights


def test_sgd_equals_the_naive_twin():
    model = make_model()
    names = [v.name for v in model.trainable_variables]
    before = [v.numpy() for v in model.trainable_variables]
    gradients = [np.full_like(w, 0.1 * (k + 1)) for k, w in enumerate(before)]
    optimizer = build_optimizer("sgd", 0.05, momentum=0.9, weight_decay=0.3)
    for _ in range(5):
        optimizer.apply_gradients(zip(map(tf.constant, gradients), model.trainable_variables))
    expected = naive_sgd(before, gradients, names, 5, 0.05, 0.9, 0.3)
    for name, variable, value in zip(names, model.trainable_variables, expected):
        np.testing.assert_allclose(variable, value, rtol=1e-4, atol=1e-5, err_msg=name)


def naive_row_steps(weight, steps, rate, momentum, decay, clip_norm, nesterov):
    """Row by row: only a row that has a gradient decays, moves, and changes its momentum."""
    velocity = np.zeros_like(weight)
    for rows, values in steps:
        summed = {row: sum(value for each, value in zip(rows, values) if each == row) for row in set(rows)}
        norm = np.sqrt(sum(np.sum(value**2) for value in summed.values()))
        shrink = min(1.0, clip_norm / norm) if clip_norm else 1.0
        for row, value in summed.items():
            gradient = shrink * value + decay * weight[row]
            velocity[row] = momentum * velocity[row] + gradient
            weight[row] -= rate * (momentum * velocity[row] + gradient if nesterov else velocity[row])
    return weight


@pytest.mark.parametrize("clip_norm, nesterov", [(None, False), (0.5, True)])
def test_sgd_of_some_rows_equals_the_naive_twin(clip_norm, nesterov):
    random = np.random.default_rng(0)
    start = random.normal(size=[9, 4])
    steps = [(rows, random.normal(size=[4, 4])) for rows in ([1, 4, 4, 7], [4, 2, 1, 1], [2, 2, 2, 2], [0, 1, 4, 7])]
    variable = tf.Variable(start, dtype=tf.float32, name="class_centers")
    optimizer = L2SGD(0.1, momentum=0.9, l2=0.3, nesterov=nesterov, global_clipnorm=clip_norm)
    for rows, values in steps:
        gradient = tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows), tf.constant([9, 4]))
        optimizer.apply_gradients([(gradient, variable)])
    expected = naive_row_steps(start.copy(), steps, 0.1, 0.9, 0.3, clip_norm, nesterov)
    np.testing.assert_allclose(variable, expected, rtol=1e-4, atol=1e-5)
    for row in (3, 5, 6, 8):
        np.testing.assert_array_equal(variable[row], start[row].astype(np.float32))


def test_weight_decay_of_adamw_spares_batch_norm_and_biases():
    model = make_model()
    optimizer = build_optimizer("adamw", 0.1, weight_decay=0.5)
    before = [v.numpy() + 0.5 for v in model.trainable_variables]
    for variable, value in zip(model.trainable_variables, before):
        variable.assign(value)
    optimizer.apply_gradients((tf.zeros_like(v), v) for v in model.trainable_variables)
    for variable, value in zip(model.trainable_variables, before):
        decays = "kernel" in variable.name or "alpha" in variable.name
        assert np.array_equal(variable.numpy(), value) != decays, variable.name


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_spares_them_on_every_replica(name, two_replicas):
    with two_replicas.scope():
        inputs = tf.keras.Input([4])
        normalised = tf.keras.layers.BatchNormalization(name="bn")(inputs)
        model = tf.keras.Model(inputs, tf.keras.layers.Dense(2, name="dense")(normalised))
        model.compile(build_optimizer(name, 0.1, weight_decay=0.5), "mse")
    features = np.random.default_rng(0).normal(size=[8, 4]).astype(np.float32)
    rows = tf.data.Dataset.from_tensor_slices((features, np.ones([8, 2]))).batch(8)
    model.fit(rows, epochs=2, verbose=0)
    for weight in model.trainable_weights:
        first, second = copies_of(weight)
        np.testing.assert_array_equal(first, second, err_msg=weight.name)


@pytest.mark.parametrize("build", [lambda: build_optimizer("adam", 0.1), lambda: build_schedule("linear", 0.1, 10)])
def test_unknown_names_are_said(build):
    with pytest.raises(ValueError, match=r"got '(adam|linear)'"):
        build()


def test_sgd_and_its_schedule_are_keras_objects_and_are_saved_with_a_model(tmp_path):
    schedule = build_schedule("cosine", BASE, TOTAL, WARM)
    check_config(schedule)
    optimizer = L2SGD(schedule, momentum=0.9, l2=5e-4, global_clipnorm=3.0)
    assert tf.keras.utils.get_registered_name(L2SGD) == "ddl_tf>L2SGD"
    model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))])
    model.compile(optimizer, "mse")
    model.fit(np.ones([4, 3]), np.ones([4, 2]), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is L2SGD
    assert (loaded.optimizer.l2, loaded.optimizer.momentum, loaded.optimizer.global_clipnorm) == (5e-4, 0.9, 3.0)
    for each in (model, loaded):
        each.fit(np.ones([4, 3]), np.ones([4, 2]), verbose=0)
    assert_weights(loaded.weights, model.weights)


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_are_summed_but_for_shards_which_are_not_finite_together(sparse, two_replicas):
    pairs = aggregated(two_replicas, sparse, [1.0, 2.0])
    np.testing.assert_array_equal(pairs["head/class_shard"], [np.full([2, 2], 1.0), np.full([2, 2], 2.0)])
    np.testing.assert_array_equal(pairs["kernel"], np.full([2, 2, 2], 3.0))
    assert not np.any(np.isfinite(aggregated(two_replicas, sparse, [1.0, np.inf])["head/class_shard"]))


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


@pytest.mark.skipif(not IS_KERAS_3, reason="Keras 2 looks at the sum of the replicas' gradients")
@pytest.mark.parametrize("ours", [True, False])
def test_a_step_is_left_out_if_any_replica_overflows(ours, two_replicas):
    """The second replica's rows are too large for float16; Keras's own scale sees the first's alone."""
    from ddl_tf.training.optimizers import LossScale

    scale = LossScale if ours else tf.keras.mixed_precision.LossScaleOptimizer
    with two_replicas.scope(), policy("mixed_float16"):
        inputs = tf.keras.Input([2])
        model = tf.keras.Model(inputs, tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs))
        model.compile(scale(build_optimizer("sgd", 0.1, momentum=0.0, weight_decay=0.0)), "mse")
    features = np.array([[1e-4, 1e-4], [6e4, 6e4]], np.float32)
    model.fit(tf.data.Dataset.from_tensor_slices((features, np.zeros([2, 1], np.float32))).batch(2), verbose=0)
    kernel, dynamic_scale = model.weights[0].numpy(), float(model.optimizer.dynamic_scale.numpy())
    assert np.all(np.isfinite(kernel)) == ours
    if ours:
        np.testing.assert_array_equal(kernel, np.ones([2, 1]))
        assert dynamic_scale == 2.0**14
