"""The heads in `keras.ops`, computed by a process on JAX or PyTorch: equal to TensorFlow's, in this one."""

import numpy as np
import other_backend
import pytest
import tensorflow as tf

from ddl_tf import layers, losses
from ddl_tf.common.keras_version import IS_KERAS_3

HEADS = {
    "none": ("MarginHead", {}),
    "arcface": ("ArcFace", {"margin": 0.5}),
    "arcface, past pi": ("ArcFace", {"margin": 2.5, "scale": 30.0}),
    "cosface": ("CosFace", {"margin": 0.2}),
    "combined": ("CombinedMargin", {"m1": 1.2, "m2": 0.3, "m3": 0.1}),
    "curricularface": ("CurricularFace", {"momentum": 0.5}),
    "adaface": ("AdaFace", {"t_alpha": 0.5}),
    "magface": ("MagFace", {"l_a": 0.5, "u_a": 4.0, "lambda_g": 2.0}),
    "subcenter": ("SubCenterArcFace", {"sub_centers": 3}),
}
STATISTICS = {"CurricularFace": ["t"], "AdaFace": ["norm_mean", "norm_std"], "SubCenterArcFace": ["chosen"]}
LABELS = np.array([0, 3, -1, 6, 6, -1, 2, 7, -2])
ERRORS = {
    "layers.ArcFace(7, margin=4.0)": r"margin must be an angle in \[0, pi\), got 4.0",
    "layers.ArcFace(7)(np.ones([2, 3]), np.array([0.0, 1.0]))": "labels must be int32 or int64, got float32",
    "layers.ArcFace(7)(np.ones([2, 3]), np.array([0, 1, 2]))": r"labels \[3\] with 2 rows",
    "layers.PartialFC": r"ImportError: ddl_tf.layers.PartialFC needs Keras on TensorFlow, and .* KERAS_BACKEND",
    "from ddl_tf.layers import Nothing": "ImportError: cannot import name 'Nothing'",
}


def head_cases():
    rng = np.random.default_rng(0)
    embeddings, centers = rng.normal(size=[9, 5]).astype(np.float32), rng.normal(size=[5, 7, 3]).astype(np.float32)
    # Towards a center, and away from it.
    embeddings[:2] = np.stack([2 * centers[:, 0, 0], -centers[:, 3, 0]])
    batch = {"embeddings": embeddings, "labels": LABELS.clip(-1, 6)}
    batch["cotangent"] = rng.normal(size=[9, 7]).astype(np.float32)

    cases = {}
    for name, (head, arguments) in HEADS.items():
        own_centers = centers if head == "SubCenterArcFace" else centers[..., 0]
        own = {"centers": own_centers, "statistics": STATISTICS.get(head, [])}
        cases[name] = {"kind": "head", "name": head, "arguments": {"num_classes": 7, **arguments}, **batch, **own}
    return {**cases, "a column of labels": {**cases["arcface"], "labels": LABELS.clip(-1, 6)[:, None]}}


def fit_case(folder):
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(4), 8).astype(np.int32)
    features = rng.normal(size=[4, 2, 2, 3])[labels] + 0.7 * rng.normal(size=[32, 2, 2, 3])
    groups = np.tile(np.repeat([0, 0, 1, 1], 4), 2)
    rows = np.stack([labels, groups], 1)
    labels[5] = rows[9, 1] = -1
    file = "tensorflow.keras" if IS_KERAS_3 else ""
    if file:
        other_backend.make_model().save(folder / file)
    return {"kind": "fit", "features": features.astype(np.float32), "labels": labels, "rows": rows, "file": file}


CASES = head_cases()


@pytest.fixture(scope="module", params=other_backend.BACKENDS)
def results(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    out_of_range = {**CASES["arcface"], "labels": LABELS}
    asked = {**CASES, "fit": fit_case(folder), "out of range": out_of_range}
    asked["examples"] = {"kind": "examples", "modules": ["ddl_tf.layers.ops_margin", "ddl_tf.layers.ops_statistics"]}
    asked.update({statement: {"kind": "error", "statement": statement} for statement in ERRORS})
    values = other_backend.computed(request.param, list(asked.values()), folder)
    return {**dict(zip(asked, values)), "asked": asked, "folder": folder, "backend": request.param}


def head_of(case):
    head = getattr(layers, case["name"])(**case["arguments"])
    head.build(case["embeddings"].shape)
    head.class_centers.assign(case["centers"])
    return head


@pytest.mark.parametrize("name", CASES)
def test_equals_the_head_of_tensorflow(results, name):
    case, ((logits, *others), value, gradients) = CASES[name], results[name]
    head = head_of(case)
    embeddings = tf.constant(case["embeddings"])
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        expected = head(embeddings, case["labels"], training=True)
        total = tf.reduce_sum(expected * case["cotangent"]) + sum(head.losses)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5 * head.scale)
    assert value == pytest.approx(float(total), rel=1e-5)
    expected = [head.normalized_centers(), *(getattr(head, name) for name in case["statistics"])]
    slopes = tape.gradient(total, [embeddings, head.trainable_variables[0]])
    for array, right in zip([*others, *gradients], [*expected, *slopes]):
        right = np.array(right)
        np.testing.assert_allclose(array, right, rtol=1e-5, atol=1e-5 * np.abs(right).max())


def test_labels_out_of_range_give_what_is_no_number(results):
    (logits, *_), value, _ = results["out of range"]
    assert np.isnan(value)
    np.testing.assert_array_equal(np.isnan(logits).all(1), (LABELS < -1) | (LABELS >= 7))
    assert np.isfinite(logits[(LABELS >= -1) & (LABELS < 7)]).all()


def test_what_it_refuses(results):
    for statement, message in ERRORS.items():
        with pytest.raises(AssertionError, match=message):
            assert not results[statement], results[statement]


def test_examples(results):
    assert results["examples"] == 0


def test_fit_save_and_load(results):
    made = results["fit"]
    history = made["history"]
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    assert history["embedding_loss"][-1] < history["embedding_loss"][0]
    assert made["magface"]["loss"][-1] < 0.9 * made["magface"]["loss"][0]
    for name, values in made.get("two_devices", {}).items():
        np.testing.assert_allclose(values, history[name], rtol=1e-5, err_msg=name)
    for name, values in made["after"].items():
        np.testing.assert_allclose(made["loaded"][name], values, rtol=1e-5, atol=1e-5)
    # Keras 2 calls the same reduction "auto".
    assert made["loss"] == {**losses.DDLLoss(num_groups=2).get_config(), "reduction": "sum_over_batch_size"}


def test_files_and_training_are_those_of_tensorflow(results):
    made, case = results["fit"], results["asked"]["fit"]
    if not case["file"]:
        pytest.skip("Keras 2 reads no file of Keras 3")
    inputs = {name: case[name] for name in ("features", "labels")}
    for file, expected in ((case["file"], made["before"]), ("other.keras", made["after"])):
        model = tf.keras.models.load_model(results["folder"] / file)
        assert type(model.get_layer("logits")) is layers.ArcFace
        assert type(model.loss["embedding"]) is losses.DDLLoss
        for name, values in model.predict(inputs, verbose=0).items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-5)
    model = tf.keras.models.load_model(results["folder"] / case["file"])
    history = model.fit(inputs, {"embedding": case["rows"], "logits": case["labels"]}, **other_backend.FIT).history
    for name, values in history.items():
        np.testing.assert_allclose(made["history"][name], values, rtol=1e-4, err_msg=name)
