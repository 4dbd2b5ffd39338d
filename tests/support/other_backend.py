"""Keras 3 on JAX or PyTorch in a process of its own, which computes what a test asks for.

A test gives cases (dictionaries), and gets what `CASES[case["kind"]]` makes of each. The process imports no test.
"""

import importlib.util
import os
import pickle
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ["jax", "torch"]
# Of JAX: two devices, and a compiler that takes a third of the time.
XLA_FLAGS = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
FIT = {"batch_size": 16, "epochs": 8, "shuffle": False, "verbose": 0}


def computed(backend, cases, folder):
    """Return the results of the cases, or skip the test where the backend or Keras 3 is not installed."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    if not version("keras").startswith("3."):
        pytest.skip(f"keras {version('keras')} has no backend but TensorFlow")
    (folder / "cases.pickle").write_bytes(pickle.dumps(cases))
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    environment.update(KERAS_BACKEND=backend, PYTHONPATH=str(ROOT), XLA_FLAGS=XLA_FLAGS)
    command = [sys.executable, __file__, "cases.pickle", "results.pickle"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return pickle.loads((folder / "results.pickle").read_bytes())


def values_and_gradients(function, arrays):
    """The value of a function of float arrays, under jit where there is one, and its gradients as float32 arrays."""
    import keras
    from keras import ops

    tensors = [ops.convert_to_tensor(array) for array in arrays]
    if keras.backend.backend() == "jax":
        import jax

        both = jax.value_and_grad(function, argnums=tuple(range(len(arrays))))
        value, gradients = jax.jit(both)(*tensors)
    else:
        tensors = [tensor.detach().clone().requires_grad_() for tensor in tensors]
        value = function(*tensors)
        value.backward()
        gradients = [tensor.grad for tensor in tensors]
    return float(value), [np.array(ops.convert_to_numpy(ops.cast(gradient, "float32"))) for gradient in gradients]


def of_loss(case):
    """Value and gradient of a loss of ddl_tf.losses."""
    from keras import ops

    from ddl_tf import losses

    loss, y_true = getattr(losses, case["name"])(**case["arguments"]), ops.convert_to_tensor(case["y_true"])
    y_pred = ops.cast(ops.convert_to_tensor(case["y_pred"]), case.get("dtype", "float32"))
    weights = case.get("weights", ())
    value, (gradient,) = values_and_gradients(lambda x: loss(y_true, x, *weights), [y_pred])
    return value, gradient


def of_head(case):
    """Logits of a head that trains, its statistics and directions after it, value and gradients of what it adds up to.

    That is the product of the logits with a constant, and the losses of the head.
    """
    from keras import ops

    from ddl_tf import layers

    head = getattr(layers, case["name"])(**case["arguments"])
    head.build(case["embeddings"].shape)
    head.class_centers.assign(case["centers"])
    labels, cotangent = ops.convert_to_tensor(case["labels"]), ops.convert_to_tensor(case["cotangent"])
    # PyTorch would share the memory of the weights.
    state = [ops.copy(ops.convert_to_tensor(weight)) for weight in head.non_trainable_variables]

    def call(embeddings, centers):
        return head.stateless_call([centers], state, embeddings, labels, training=True, return_losses=True)

    def total(*arguments):
        logits, _, added = call(*arguments)
        return ops.sum(logits * cotangent) + sum(added)

    arrays = case["embeddings"], case["centers"]
    logits, after, _ = call(*map(ops.convert_to_tensor, arrays))
    for weight, value in zip(head.non_trainable_variables, after):
        weight.assign(value)
    values = [head.normalized_centers(), *(getattr(head, name) for name in case["statistics"])]
    values = [ops.convert_to_numpy(value) for value in (logits, *values)]
    return values, *values_and_gradients(total, arrays)


def of_error(case):
    """The message of the error that a statement raises."""
    import keras

    import ddl_tf

    names = {"ddl_tf": ddl_tf, "keras": keras, "np": np, "losses": ddl_tf.losses, "layers": ddl_tf.layers}
    try:
        exec(case["statement"], names)
    except (ValueError, ImportError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def of_examples(case):
    """How many examples in the docstrings of modules fail."""
    import doctest

    failures = 0
    for name in case["modules"]:
        module = importlib.import_module(name)
        runner = doctest.DocTestRunner()
        for example in doctest.DocTestFinder(exclude_empty=True).find(module, globs={"np": np, **vars(module)}):
            runner.run(example, out=sys.stderr.write)
        failures += runner.failures
    return failures


def make_model(head="ArcFace", **arguments):
    """Features to an embedding and logits, with both losses."""
    import keras

    from ddl_tf import layers
    from ddl_tf.losses import DDLLoss, MarginSoftmaxLoss

    keras.utils.set_random_seed(0)
    features, labels = keras.Input([2, 2, 3], name="features"), keras.Input([], dtype="int32", name="labels")
    embedding = layers.FlattenNeck(8, name="embedding")(features)
    logits = getattr(layers, head)(4, scale=16.0, name="logits", **arguments)(embedding, labels)
    model = keras.Model({"features": features, "labels": labels}, {"embedding": embedding, "logits": logits})
    losses = {"embedding": DDLLoss(num_groups=2), "logits": MarginSoftmaxLoss()}
    model.compile(keras.optimizers.SGD(0.05), losses, loss_weights={"embedding": 0.5, "logits": 1.0})
    return model


def of_fit(case):
    """The history of `fit` on one device and, on JAX, on two; what the saved model and the loaded one predict.

    `case["file"]` is the model that a process on TensorFlow has saved, if it has Keras 3.
    """
    import keras

    inputs = {"features": case["features"], "labels": case["labels"]}
    targets = {"embedding": case["rows"], "logits": case["labels"]}

    def start():
        model = keras.saving.load_model(case["file"]) if case["file"] else make_model()
        # The file says False, which TensorFlow made of "auto".
        model.jit_compile = keras.backend.backend() == "jax"
        return model

    model = start()
    result = {"before": model.predict(inputs, verbose=0), "history": model.fit(inputs, targets, **FIT).history}
    model.save("other.keras")
    loaded = keras.saving.load_model("other.keras")
    result.update(after=model.predict(inputs, verbose=0), loaded=loaded.predict(inputs, verbose=0))
    result.update(loss=loaded.loss["embedding"].get_config())
    # It adds a loss of its own.
    result["magface"] = make_model("MagFace", l_a=0.5, u_a=4.0).fit(inputs, targets, **FIT).history
    if keras.backend.backend() == "jax":
        import jax

        assert len(jax.devices()) == 2
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=jax.devices()))
        result["two_devices"] = start().fit(inputs, targets, **FIT).history
    return result


CASES = {"loss": of_loss, "head": of_head, "error": of_error, "examples": of_examples, "fit": of_fit}


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    results = [CASES[case["kind"]](case) for case in pickle.loads(source.read_bytes())]
    target.write_bytes(pickle.dumps(results))
