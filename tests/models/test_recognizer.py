import numpy as np
import pytest
import tensorflow as tf
from keras_case import policy
from tiny_network import tiny_network  # noqa: F401

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_version import IS_KERAS_3
from ddl_tf.layers import ArcFace, CombinedMargin, CosFace, PoolNeck, is_synchronized
from ddl_tf.losses import MarginSoftmaxLoss
from ddl_tf.models import HEADS, build_embedding_model, build_recognizer, embedding_model

SHAPE = (16, 16, 3)


def small_recognizer(backbone="plain_small", **arguments):
    return build_recognizer(backbone, 5, **{"embedding_size": 16, "input_shape": SHAPE, **arguments})


def convolution():
    image = tf.keras.Input(SHAPE)
    return tf.keras.Model(image, tf.keras.layers.Conv2D(4, 3)(image))


IMAGES = np.random.default_rng(0).integers(0, 256, [8, *SHAPE]).astype(np.uint8)
ROWS = {"image": IMAGES, "label": np.array([0, 0, 1, 1, 2, -1, 3, -1])}


def test_outputs_are_those_of_the_parts():
    """The graph equals its three layers applied by hand to the image in [-1, 1]."""
    model = small_recognizer(head="cosface", margin=0.2, scale=10.0)
    outputs = model(ROWS)
    scaled = (IMAGES.astype(np.float32) - 127.5) / 127.5
    embedding = model.get_layer("neck")(model.get_layer("backbone")(scaled))
    head = model.get_layer("head")
    np.testing.assert_allclose(outputs["embedding"], embedding, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs["logits"], head(embedding, ROWS["label"]), rtol=1e-4, atol=1e-4)
    assert (type(head), head.margin, head.scale) == (CosFace, 0.2, 10.0)
    embedder = embedding_model(model)
    assert embedding_model(embedder) is embedder
    np.testing.assert_array_equal(embedder(IMAGES), outputs["embedding"])
    with policy("mixed_float16"):
        model = small_recognizer()
        assert model.get_layer("backbone").output.dtype == "float16"
        assert {output.dtype for output in model(ROWS).values()} == {tf.float32}


@pytest.mark.parametrize("head", HEADS)
def test_trains_with_each_head(head):
    """Two steps; rows without a label among them."""
    if head != "magface":
        assert small_recognizer(convolution(), head=head, margin=0.2).get_layer("head").get_config()["margin"] == 0.2
    model = small_recognizer(backbone=convolution(), head=head, scale=8.0)
    assert type(model.get_layer("head")) is HEADS[head]
    model.compile("sgd", loss={"logits": MarginSoftmaxLoss()})
    before = model.get_weights()
    log = model.fit(ROWS, {"logits": ROWS["label"]}, batch_size=4, shuffle=False, verbose=0).history
    if not IS_KERAS_3:
        # Keras 3 logs a loss that stands alone as the sum only.
        assert log["loss"][0] == pytest.approx(log["logits_loss"][0] + log.get("magnitude_loss", [0.0])[0], rel=1e-4)
    assert ("magnitude_loss" in log) == (head == "magface")
    for weight, old in zip(model.weights, before):
        assert np.all(np.isfinite(weight.numpy())), weight.name
        assert not np.array_equal(weight.numpy(), old), weight.name


def test_own_backbone_neck_and_head():
    backbone = convolution()
    head = CombinedMargin(5, m2=0.2, m3=0.1, name="whatever")
    model = build_recognizer(backbone, 5, head=head, input_shape=SHAPE, neck=PoolNeck(6))
    assert model(ROWS)["embedding"].shape == (8, 6)
    assert (model.get_layer("head").m2, model.get_layer("head").m3) == (0.2, 0.1)
    assert model.get_layer("backbone").count_params() == backbone.count_params()
    for embedder in (model, build_embedding_model(backbone, 6, SHAPE)):
        assert isinstance(embedder.get_layer("neck"), PoolNeck)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"head": "sphereface"}, "unknown head 'sphereface': use one of adaface, arcface, cosface"),
        ({"head": "magface", "margin": 0.5}, "the head magface has no single margin, got 0.5: leave the margin out"),
        ({"head": "adaface", "margin": -0.5}, "head adaface: margin must be in .*, got -0.5"),
        ({"head": ArcFace(6)}, "the head has 6 classes, but num_classes is 5"),
        ({"head": ArcFace(5), "margin": 0.1}, "margin=0.1 would be ignored: give it to the ArcFace that is the head"),
        ({"neck": PoolNeck(6), "embedding_size": 32}, "embedding_size=32 would be .* PoolNeck that is the neck"),
        ({"margin": 4.0}, "head arcface: margin must be an angle in .*, got 4.0"),
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


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"neck": PoolNeck(6)}, "PoolNeck would be a neck behind a finished embedding: leave the neck out"),
        ({"dropout": 0.1}, "dropout=0.1 would be ignored: give it to the network, whose embedding is finished"),
        ({"recompute": True}, "recompute=True needs a backbone that is built here, not the network of a checkpoint"),
        ({"input_shape": (48, 48, 3)}, r"the network takes images \(16, 16, 3\), but input_shape is \(48, 48, 3\)"),
    ],
)
def test_a_network_of_a_checkpoint_is_taken_as_it_is(arguments, message):
    network = build_embedding_model("plain_small", 6, SHAPE)
    assert build_embedding_model(network, input_shape=SHAPE, sync_batch_norm=True) is network
    assert is_synchronized(network)
    with pytest.raises(InputError, match=message):
        build_embedding_model(network, **{"input_shape": SHAPE, **arguments})
