import numpy as np
import pytest
import tensorflow as tf
from keras_case import policy
from tiny_network import tiny_network  # noqa: F401

from ddl_tf.common.errors import InputError
from ddl_tf.layers import ArcFace, CombinedMargin, CosFace, PoolNeck
from ddl_tf.losses import DDLLoss, MarginSoftmaxLoss
from ddl_tf.models import HEADS, build_embedding_model, build_recognizer, embedding_model

SHAPE = (16, 16, 3)


def small_recognizer(backbone="plain_small", **arguments):
    return build_recognizer(backbone, 5, **{"embedding_size": 16, "input_shape": SHAPE, **arguments})


def convolution():
    image = tf.keras.Input(SHAPE)
    return tf.keras.Model(image, tf.keras.layers.Conv2D(4, 3)(image))


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    return {
        "image": random.integers(0, 256, [8, *SHAPE]).astype(np.uint8),
        "label": np.array([0, 0, 1, 1, 2, -1, 3, -1]),
    }


def test_outputs_are_those_of_the_parts(rows):
    """The graph equals its three layers applied by hand to the image in [-1, 1]."""
    model = small_recognizer(head="cosface", margin=0.2, scale=10.0)
    outputs = model(rows)
    scaled = (rows["image"].astype(np.float32) - 127.5) / 127.5
    embedding = model.get_layer("neck")(model.get_layer("backbone")(scaled))
    head = model.get_layer("head")
    np.testing.assert_allclose(outputs["embedding"], embedding, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs["logits"], head(embedding, rows["label"]), rtol=1e-4, atol=1e-4)
    assert isinstance(head, CosFace)
    assert (head.margin, head.scale) == (0.2, 10.0)
    assert sorted(model.input) == ["image", "label"]
    assert (outputs["embedding"].shape, outputs["logits"].shape) == ((8, 16), (8, 5))


def test_trains_with_a_loss_on_each_output(rows):
    model = small_recognizer()
    model.compile("sgd", loss={"embedding": DDLLoss(), "logits": MarginSoftmaxLoss()})
    before = model.get_weights()
    groups = np.stack([np.array([0, 0, 1, 1, 2, 2, 3, 3]), np.array([0, 0, 0, 0, 1, 1, 1, 1])], axis=1)
    log = model.fit(rows, {"embedding": groups, "logits": rows["label"]}, verbose=0).history
    assert log["loss"][0] == pytest.approx(log["embedding_loss"][0] + log["logits_loss"][0], rel=1e-4)
    for weight, old in zip(model.weights, before):
        assert np.all(np.isfinite(weight.numpy()))
        assert not weight.trainable or not np.array_equal(weight.numpy(), old), weight.name


def test_outputs_of_mixed_precision_are_float32(rows):
    with policy("mixed_float16"):
        model = small_recognizer()
        assert model.get_layer("backbone").output.dtype == "float16"
        assert {output.dtype for output in model(rows).values()} == {tf.float32}


@pytest.mark.parametrize("head", HEADS)
def test_trains_with_each_head(rows, head):
    """Two steps; rows without a label among them."""
    if head != "magface":
        assert small_recognizer(convolution(), head=head, margin=0.2).get_layer("head").get_config()["margin"] == 0.2
    model = small_recognizer(backbone=convolution(), head=head, scale=8.0)
    assert type(model.get_layer("head")) is HEADS[head]
    model.compile("sgd", loss={"logits": MarginSoftmaxLoss()})
    before = model.get_weights()
    log = model.fit(rows, {"logits": rows["label"]}, batch_size=4, shuffle=False, verbose=0).history
    assert log["loss"][0] == pytest.approx(log["logits_loss"][0] + log.get("magnitude_loss", [0.0])[0], rel=1e-4)
    assert ("magnitude_loss" in log) == (head == "magface")
    for weight, old in zip(model.weights, before):
        assert np.all(np.isfinite(weight.numpy())), weight.name
        assert not np.array_equal(weight.numpy(), old), weight.name


def test_embedding_model_shares_the_weights(rows):
    model = small_recognizer()
    embedder = embedding_model(model)
    np.testing.assert_array_equal(embedder(rows["image"]), model(rows)["embedding"])
    model.get_layer("neck").embedding_norm.beta.assign_add(tf.ones(16))
    np.testing.assert_array_equal(embedder(rows["image"]), model(rows)["embedding"])
    assert embedding_model(embedder) is embedder


def test_own_backbone_neck_and_head(rows):
    backbone = convolution()
    head = CombinedMargin(5, m2=0.2, m3=0.1, name="whatever")
    model = build_recognizer(backbone, 5, head=head, input_shape=SHAPE, neck=PoolNeck(6))
    assert model(rows)["embedding"].shape == (8, 6)
    assert isinstance(model.get_layer("neck"), PoolNeck)
    assert (model.get_layer("head").m2, model.get_layer("head").m3) == (0.2, 0.1)
    assert model.get_layer("backbone").count_params() == backbone.count_params()
    default = build_embedding_model(backbone, 6, SHAPE)
    assert isinstance(default.get_layer("neck"), PoolNeck)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"head": "sphereface"}, "unknown head 'sphereface': use one of adaface, arcface, cosface"),
        ({"head": "magface", "margin": 0.5}, "the head magface has no single margin, got 0.5: leave the margin out"),
        ({"head": "adaface", "margin": -0.5}, "head adaface: margin must be in .*, got -0.5"),
        ({"head": ArcFace(6)}, "the head has 6 classes, but num_classes is 5"),
        ({"head": ArcFace(5), "margin": 0.1}, "margin=0.1 would be ignored: give it to the ArcFace that is the head"),
        ({"head": ArcFace(5), "scale": 16.0}, "scale=16.0 would be ignored: give it to the ArcFace that is the head"),
        (
            {"neck": PoolNeck(6), "embedding_size": 32},
            "embedding_size=32 would be ignored: .* PoolNeck that is the neck",
        ),
        (
            {"neck": PoolNeck(6), "embedding_size": None, "dropout": 0.4},
            "dropout=0.4 would be ignored: give it to the PoolNeck",
        ),
        ({"margin": 4.0}, "head arcface: m2 must be an angle in .*, got 4.0"),
        ({"scale": 0.0}, "head arcface: scale must be above 0 and finite, got 0.0"),
        ({"dropout": 1.5}, "dropout must be in .*, got 1.5"),
        ({"embedding_size": 0}, "embedding_size must be a whole number, at least 1, got 0"),
        ({"backbone": convolution(), "dropout": 0.4}, "the neck of a Keras model has no dropout: .*, got 0.4"),
        ({"sample_rate": 1.5}, "sample_rate must be above 0 and at most 1, got 1.5"),
        ({"sample_rate": 0.5, "head": "subcenter_arcface"}, "SubCenterArcFace cannot be sampled"),
        ({"sharded_head": True, "head": "curricularface"}, "CurricularFace cannot be sharded"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        small_recognizer(**arguments)
