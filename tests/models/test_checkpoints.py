import importlib
import io
import json
import re
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf
from keras_case import assert_weights, policy
from needs import LATER_LANES

from ddl_tf.common.errors import InputError
from ddl_tf.layers import CombinedMargin, DepthwiseNeck, GroupedConvolution
from ddl_tf.models import (
    build_embedding_model,
    build_recognizer,
    checkpoints,
    embedding_model,
    initialise_from,
    load_checkpoint,
    save_checkpoint,
)
from ddl_tf.models.checkpoint_guard import check_weights

SHAPE = (32, 32, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, [2, *SHAPE]).astype(np.uint8)
ROWS = {"image": IMAGES, "label": np.array([1, -1])}
ALL = ["backbone", "neck", "head"]


def stack(layers=2, strides=1):
    return tf.keras.Sequential([tf.keras.layers.Conv2D(3, 3, strides) for _ in range(layers)])


def recognizer(backbone=None, num_classes=5, embedding_size=16, **arguments):
    backbone = backbone or stack(strides=3)
    return build_recognizer(backbone, num_classes, embedding_size=embedding_size, input_shape=SHAPE, **arguments)


def saved(model, path):
    """The path of a model, every weight of which is another than at the start, as after training."""
    random = np.random.default_rng(1)
    model.set_weights([weight + random.normal(0, 0.02, weight.shape) for weight in model.get_weights()])
    save_checkpoint(model, path)
    return path


@pytest.mark.parametrize(
    "backbone, arguments",
    [
        ("plain_small", {"head": "cosface"}),
        (
            tf.keras.Sequential([tf.keras.layers.Conv2D(4, 3, 3), GroupedConvolution(2)]),
            {"head": "subcenter_arcface", "neck": DepthwiseNeck(16), "embedding_size": None},
        ),
        ("keras_cv:mobilenet_v3_small", {"head": "arcface"}),
        (None, {"head": "adaface"}),
        (None, {"head": "curricularface", "sample_rate": 0.5}),
        # A head of one's own.
        (None, {"head": CombinedMargin(5, 1.1, 0.3, 0.1, name="head")}),
    ],
)
def test_round_trip(backbone, arguments, tmp_path, monkeypatch):
    model = recognizer(backbone, **arguments)
    path = saved(model, tmp_path / "new" / "model.keras")
    loaded, expected = load_checkpoint(path), model(ROWS)
    assert loaded.get_layer("head").get_config() == model.get_layer("head").get_config()
    for name, output in loaded(ROWS).items():
        np.testing.assert_allclose(output, expected[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(embedding_model(loaded)(IMAGES), expected["embedding"], rtol=1e-5, atol=1e-5)
    before = model.get_weights()
    model.set_weights([weight + 1 if weight.dtype == np.float32 else weight for weight in before])
    monkeypatch.setattr(checkpoints, "load_checkpoint", {path: loaded}.get)
    for checkpoint in (path, loaded):
        assert initialise_from(model, checkpoint) == ALL
        assert_weights(model.weights, before)
        model.set_weights([np.zeros_like(weight) for weight in before])


def test_an_embedding_model(tmp_path):
    """Sorted, conv2d_10 stands before conv2d_9; these layers have one shape."""
    source, model = build_embedding_model(stack(12), 16, SHAPE), recognizer(stack(12))
    path = saved(source, tmp_path / "model.keras")
    np.testing.assert_array_equal(load_checkpoint(path)(IMAGES), source(IMAGES))
    assert initialise_from(model, path) == ["backbone", "neck"]
    np.testing.assert_array_equal(model(ROWS)["embedding"], source(IMAGES))
    headless = load_checkpoint(saved(embedding_model(model), tmp_path / "headless.keras"))
    assert headless(IMAGES).shape == (2, 16)


def test_a_trained_model_is_saved_without_its_optimizer_whole_or_not(tmp_path, monkeypatch):
    model, path = recognizer(), tmp_path / "model.keras"
    with pytest.raises(InputError, match=r"ends in .keras, got .*model.h5"):
        save_checkpoint(model, path.with_suffix(".h5"))
    save_checkpoint(model, path)
    size = path.stat().st_size
    model.compile("adam", loss={"embedding": "mse"})
    model.optimizer.build(model.trainable_variables)
    save_checkpoint(model, path)
    before = path.read_bytes()
    assert len(before) < 1.1 * size

    def fail(self, aside, **kwargs):
        aside.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(tf.keras.Model, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(recognizer(), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_mixed_precision_checkpoint_starts_a_float32_model(tmp_path):
    with policy("mixed_bfloat16"):
        path = saved(recognizer(), tmp_path / "model.keras")
    model = recognizer()
    for part in ("backbone", "neck"):
        model.get_layer(part).trainable = False
    assert initialise_from(model, path) == ALL
    half = load_checkpoint(path)(ROWS)["embedding"].numpy()
    np.testing.assert_allclose(model(ROWS)["embedding"], half, atol=0.05 * half.std())


# 15 identities with one center each are not 5 with three.
@pytest.mark.parametrize("theirs, ours", [("arcface 5", "arcface 6"), ("subcenter_arcface 5", "arcface 15")])
def test_initialise_from_leaves_a_head_of_other_identities_or_centers(theirs, ours, tmp_path):
    source, model = (recognizer(head=head, num_classes=int(number)) for head, number in (theirs.split(), ours.split()))
    before = model.get_layer("head").get_weights()
    assert initialise_from(model, saved(source, tmp_path / "model.keras")) == ["backbone", "neck"]
    np.testing.assert_array_equal(model(ROWS)["embedding"], source(ROWS)["embedding"])
    assert_weights(model.get_layer("head").weights, before)


@pytest.mark.parametrize("rates", [(1.0, 0.5), (0.5, 0.9)])
def test_initialise_from_takes_the_centers_of_full_and_sampled_heads_alike(rates, tmp_path):
    # As many identities as the embedding has numbers: the shape does not tell a class from a dimension.
    source, model = (recognizer(num_classes=16, head="adaface", sample_rate=rate) for rate in rates)
    assert initialise_from(model, saved(source, tmp_path / "model.keras")) == ALL
    heads = [made.get_layer("head") for made in (model, source)]
    np.testing.assert_array_equal(*(head.centers_by_class() for head in heads))
    assert_weights(*([weight for weight in head.weights if "norm_" in weight.name] for head in heads))


def test_initialise_from_another_head_leaves_the_statistics(tmp_path):
    source, model = (recognizer(head=name) for name in ("arcface", "curricularface"))
    start = [weight.numpy() for weight in model.get_layer("head").non_trainable_weights]
    assert start
    assert initialise_from(model, saved(source, tmp_path / "arcface.keras")) == ALL
    np.testing.assert_array_equal(model.get_layer("head").class_centers, source.get_layer("head").class_centers)
    assert_weights(model.get_layer("head").non_trainable_weights, start)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"backbone": stack(1, 3)}, "the backbone has 2 weights, the checkpoint's 4; use its backbone"),
        (
            {"backbone": tf.keras.layers.Conv2D(4, 3, 3)},
            r"the backbone's weight .* has the shape \(3, 3, 3, 4\), the checkpoint's \(.*\) \(3, 3, 3, 3\); use its",
        ),
        ({"embedding_size": 17}, r"the neck's weight .* has the shape \(3, 17\), .*\(3, 16\); use its"),
    ],
)
def test_initialise_from_another_network(arguments, message, tmp_path):
    path, model = saved(recognizer(), tmp_path / "model.keras"), recognizer(**arguments)
    before = model.get_weights()
    with pytest.raises(InputError, match=message):
        initialise_from(model, path)
    assert_weights(model.weights, before)


class Doubled(tf.keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2


def test_a_layer_of_ones_own_is_loaded_by_its_class(tmp_path):
    path = saved(recognizer(tf.keras.Sequential([Doubled(), tf.keras.layers.Conv2D(3, 3)])), tmp_path / "model.keras")
    with pytest.raises(InputError, match=r"Doubled.*give load_checkpoint its classes as custom_objects"):
        load_checkpoint(path)
    assert load_checkpoint(path, {"Doubled": Doubled})(ROWS)["embedding"].shape == (2, 16)


def _flipped(path):
    content = bytearray(saved(recognizer(), path).read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _zip(compression=zipfile.ZIP_STORED, **members):
    def make(path):
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return make


def _config(content, compression=zipfile.ZIP_STORED):
    return _zip(compression, **{"config.json": content, "metadata.json": "{}"})


NONSENSE = '{"class_name": "Functional", "module": "keras", "config": {"layers": 3}}'
NESTED = '{"module": "keras", "a": ' + "[" * 300 + "]" * 300 + "}"
LAYERS = tf.keras.layers


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: None, "no checkpoint at "),
        (lambda path: path.mkdir(), "is not a checkpoint: give a .keras file.*ONNX .*TensorFlow Lite .*weights`$"),
        (lambda path: path.write_bytes(b"x" * 1000), "cannot be read as a checkpoint"),
        (_flipped, "cannot be read as a checkpoint .* is damaged"),
        (_zip(**{"notes.txt": "hello"}), "is refused: it holds 'notes.txt' beside"),
        (_config(NONSENSE), "cannot be read as a checkpoint"),
        (_config(NESTED), "is refused: its config.json is nested too deeply"),
        (_config(NESTED.replace("[" * 300, "[" * 100_000)), "is refused: its config.json is nested too deeply"),
        (_config(NONSENSE, zipfile.ZIP_DEFLATED), "is refused: its config.json is compressed, which Keras does not do"),
        # A Lambda layer holds Python bytecode, which Keras runs if it is let.
        (
            lambda path: tf.keras.Sequential([tf.keras.Input(SHAPE), LAYERS.Lambda(lambda x: x * 2)]).save(path),
            "is refused: .* 'keras.layers.Lambda', which is no layer of",
        ),
        (
            lambda path: tf.keras.Sequential([tf.keras.Input(SHAPE), LAYERS.Dense(2)]).save(path),
            "neither a recognizer nor an embedding model of ddl_tf",
        ),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_one_line(make, message, tmp_path):
    path = tmp_path / "model.keras"
    make(path)
    with pytest.raises(InputError, match=message) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


KERAS = tf.keras.Model.__module__.split(".")[0]


@pytest.mark.parametrize(
    "layer, named",
    [
        ({"module": "a_module_of_mine", "class_name": "Dense", "registered_name": "Dense"}, "a_module_of_mine.Dense"),
        ({"module": "kerasx.layers", "class_name": "Dense"}, "kerasx.layers.Dense"),
        ({"module": f"{KERAS}.layers", "class_name": "TFSMLayer"}, f"{KERAS}.layers.TFSMLayer"),
        ({"module": f"{KERAS}.layers", "class_name": "Dense", "registered_name": "mine>Layer"}, "mine>Layer"),
        ({"module": "ddl_tf.layers", "class_name": "X", "registered_name": "ddl_tf>NoSuchLayer"}, "ddl_tf>NoSuchLayer"),
        ({"module": None, "class_name": "Lambda"}, "Lambda"),
        ({"class_name": "__lambda__", "config": {"value": "x"}}, "__lambda__"),
        ({"class_name": "Dense", "config": {"a": [{"b": {"module": "mine", "class_name": "C"}}]}}, "mine.C"),
    ],
)
def test_a_class_of_another_package_is_named_and_not_imported(layer, named, tmp_path, monkeypatch):
    imported = []
    monkeypatch.setattr(importlib, "import_module", lambda name, *_: imported.append(name))
    config = {"class_name": "Functional", "config": {"layers": [{"config": {}, **layer}]}}
    _config(json.dumps({"module": f"{KERAS}.models", **config}))(tmp_path / "model.keras")
    with pytest.raises(InputError, match=f"model.keras is refused: it names .*{re.escape(named)}.* may run") as caught:
        load_checkpoint(tmp_path / "model.keras")
    assert "\n" not in str(caught.value)
    assert not imported


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda file: file.update(layer=h5py.ExternalLink("other.h5", "/layer")), "its weights hold a link, 'layer'"),
        (lambda file: file.create_dataset("layer", [1 << 30], "f4", compression="gzip"), "would take 4,294,967,296 b"),
    ],
)
def test_weights_are_in_the_file_and_of_its_size(write, message, tmp_path):
    content, path = io.BytesIO(), tmp_path / "model.keras"
    with h5py.File(content, "w") as file:
        write(file)
    _zip(**{"model.weights.h5": content.getvalue()})(path)
    with zipfile.ZipFile(path) as archive, pytest.raises(InputError, match=message):
        check_weights(archive, path.stat().st_size)


@pytest.mark.skipif(LATER_LANES, reason="these read what Keras 2.15 wrote; it is the one that cannot")
def test_a_checkpoint_of_a_later_tensorflow_is_told(tmp_path):
    path = tmp_path / "model.keras"
    _config('{"module": "tf_keras.src.engine.functional"}')(path)
    with pytest.raises(InputError, match=f"written under a later TensorFlow than {tf.__version__}"):
        load_checkpoint(path)
