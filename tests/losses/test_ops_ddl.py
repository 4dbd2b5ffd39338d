"""The losses in `keras.ops`, computed by a process on JAX or PyTorch: equal to TensorFlow's, in this one."""

import numpy as np
import other_backend
import pytest
import tensorflow as tf
from batches import edge_cases, make_batch
from keras_case import value_and_gradient

from ddl_tf import losses

FAR = "similarities far from the nodes"
MODULES = ["ddl_tf.losses.ops_ddl", "ddl_tf.losses.ops_margin_softmax"]


def ddl_case(y_true, y_pred, dtype="float32", **arguments):
    arguments = {"num_groups": 2, **arguments}
    return {
        "kind": "loss",
        "name": "DDLLoss",
        "arguments": arguments,
        "y_true": y_true,
        "y_pred": y_pred,
        "dtype": dtype,
    }


def ddl_cases():
    two, three = make_batch(), make_batch(groups=3, noise=0.5)
    some = two[0].copy()
    some[::3, 1] = -1
    no_pair = two[0].copy()
    student = no_pair[:, 1] == 1
    no_pair[student, 0] = np.arange(student.sum())
    not_a_number = two[1].copy()
    not_a_number[::3] = np.nan
    cases = {
        "the paper's": ddl_case(*two),
        "every argument": ddl_case(
            *two,
            **{"positive_weight": 1.0, "negative_weight": 2.0, "order_weight": 3.0, "overlap_weight": 4.0},
            **{"num_nodes": 50, "similarity_range": (-1.0, 1.0), "bandwidth": 0.05, "positive_threshold": 0.3},
        ),
        "a teacher without gradient": ddl_case(*two, stop_teacher_gradient=True, order_weight=0.0),
        "overlap": ddl_case(*two, overlap_weight=1.0),
        "three groups": ddl_case(*three, num_groups=3, overlap_weight=0.3),
        "the third group takes no part": ddl_case(*three, num_groups=2),
        "a group that the batch lacks": ddl_case(*two, num_groups=4),
        "one group": ddl_case(*two, num_groups=1, overlap_weight=1.0),
        "rows of no group": ddl_case(some, two[1]),
        "rows of no group are not numbers": ddl_case(some, not_a_number),
        "a group without positives": ddl_case(no_pair, two[1], overlap_weight=1.0),
        "all below the threshold": ddl_case(*two, positive_threshold=0.999),
        FAR: ddl_case(*two, similarity_range=(0.8, 1.0), bandwidth=0.03),
        "a row is not a number": ddl_case(two[0], not_a_number),
        "large embeddings": ddl_case(two[0], two[1] * np.float32(1e20)),
        "float16": ddl_case(*two, dtype="float16"),
        "bfloat16": ddl_case(*two, dtype="bfloat16"),
    }
    # Those without gradients that depend on which of several equal similarities is the largest; and an empty batch.
    left_out = {"equal embeddings", "opposite embeddings", "zero embeddings", "no row"}
    edges = {name: batch for name, batch in edge_cases().items() if name not in left_out}
    return {**cases, **{name: ddl_case(*batch) for name, batch in edges.items()}}


def softmax_cases():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=[12, 5]).astype(np.float32) * 20, rng.integers(-1, 5, [12])
    assert (labels < 0).any()
    weights = rng.uniform(size=[12]).astype(np.float32)

    def case(name, labels=labels, logits=logits, weights=None, dtype="float32", **arguments):
        batch = {"y_true": labels, "y_pred": logits, "weights": () if weights is None else (weights,), "dtype": dtype}
        return {"kind": "loss", "name": name, "arguments": arguments, **batch}

    return {
        "softmax": case("MarginSoftmaxLoss"),
        "smoothed labels": case("MarginSoftmaxLoss", label_smoothing=0.1),
        "weights": case("MarginSoftmaxLoss", weights=weights),
        "a column of weights, and of labels": case("MarginSoftmaxLoss", labels[:, None], weights=weights[:, None]),
        "no row has a label": case("MarginSoftmaxLoss", np.full(12, -1)),
        "compact": case("MarginSoftmaxLoss", logits=logits[:, :3], compact=True),
        "softmax of float16": case("MarginSoftmaxLoss", dtype="float16"),
        "softmax of bfloat16": case("MarginSoftmaxLoss", dtype="bfloat16"),
        "focal": case("FocalLoss", gamma=1.5),
        "hard rows": case("OHEMLoss", keep_fraction=0.4),
        "hard rows of none": case("OHEMLoss", np.full(12, -1)),
    }


CASES = {**ddl_cases(), **softmax_cases()}
ERRORS = {
    "losses.DDLLoss()(np.zeros([4, 2], int), np.ones([4, 3]))": r"num_groups must be given on the backend \w+",
    "losses.DDLLoss(num_groups=2)(np.zeros([4, 2]), np.ones([4, 3]))": "must be int32 or int64, got float",
    "losses.DDLLoss(num_groups=2)(np.zeros([4, 3], int), np.ones([4, 3]))": r"of shape \[batch, 2\].*\[4, 3\]",
    "losses.DDLLoss(num_groups=2)(np.zeros([4, 2], int), np.ones([5, 3]))": r"of shape \[4, dim\].*\[5, 3\]",
    "losses.DDLLoss(num_groups=2)(np.zeros([4, 2], int), np.ones([4, 3]), np.ones(4))": "takes no sample_weight",
    "losses.DDLLoss(bandwidth=0.0)": "bandwidth must be above 0",
    "losses.TripletLoss": r"ImportError: ddl_tf.losses.TripletLoss needs Keras on TensorFlow, and .* KERAS_BACKEND",
    "losses.MarginSoftmaxLoss()(np.array([0.5]), np.ones([1, 3]))": "must be int32 or int64, got float64",
    "losses.MarginSoftmaxLoss()(np.array([0, 1]), np.ones([1, 3]))": r"labels \[2\] with 1 rows",
    "losses.MarginSoftmaxLoss(compact=True)(np.array([0]), np.ones([1, 4]))": r"compact=True takes \[batch, 3\]",
    "losses.MarginSoftmaxLoss()(np.array([0]), np.ones([1, 4]), np.ones([2]))": "one weight for each row",
}
OF_JAX = {
    "losses.DDLLoss(num_groups=2)(np.array([[2**32 + 1, 0]]), np.ones([1, 3]))": "fit into int32.*4294967297",
    "losses.MarginSoftmaxLoss()(np.array([2**32]), np.ones([1, 3]))": "fit into int32.*JAX_ENABLE_X64=1",
    "keras.distribution.set_distribution(keras.distribution.DataParallel())\n"
    "losses.DDLLoss(num_groups=2, gather=False)(np.zeros([4, 2], int), np.ones([4, 3]))": "gather=False needs Tensor",
}


@pytest.fixture(scope="module", params=other_backend.BACKENDS)
def results(request, tmp_path_factory):
    errors = {**ERRORS, **(OF_JAX if request.param == "jax" else {})}
    asked = {**CASES, "examples": {"kind": "examples", "modules": MODULES}}
    asked.update({statement: {"kind": "error", "statement": statement} for statement in errors})
    values = other_backend.computed(request.param, list(asked.values()), tmp_path_factory.mktemp(request.param))
    return {**dict(zip(asked, values)), "errors": errors}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_loss_of_tensorflow(results, name):
    case, (value, gradient) = CASES[name], results[name]
    loss = getattr(losses, case["name"])(**case["arguments"])
    y_pred = tf.cast(case["y_pred"], case.get("dtype", "float32"))
    expected, slopes = value_and_gradient(
        lambda y_true, y_pred: loss(y_true, y_pred, *case.get("weights", ())), case["y_true"], y_pred
    )
    slopes = tf.cast(slopes, tf.float32).numpy()
    assert value == pytest.approx(float(expected), rel=1e-5, abs=1e-6, nan_ok=True)
    if np.isnan(value):
        return
    # Gradients of half precision are rounded to it; 60 bandwidths from a node a kernel makes much of rounding.
    tolerance = {"float16": 1e-3, "bfloat16": 1e-2}.get(case.get("dtype"), 1e-5) if name != FAR else 1e-4
    np.testing.assert_allclose(gradient, slopes, rtol=tolerance, atol=tolerance * np.nanmax(np.abs(slopes)))


def test_what_it_refuses(results):
    for statement, message in results["errors"].items():
        with pytest.raises(AssertionError, match=message):
            assert not results[statement], results[statement]


def test_examples(results):
    assert results["examples"] == 0
