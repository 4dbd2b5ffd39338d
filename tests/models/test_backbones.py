import numpy as np
import pytest
import tensorflow as tf
from keras_case import policy
from needs import LATER_LANES, needs_tf_keras

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_cv_import import import_keras_cv
from ddl_tf.common.keras_version import IS_KERAS_3
from ddl_tf.models import build_backbone
from ddl_tf.models.keras_cv_backbones import ARCHITECTURES

# As published for the networks without their classifier.
KERAS_CV_COUNTS = {
    "resnet18_v2": 11_183_488,
    "ResNet50Backbone": 23_561_152,
    "DenseNet121Backbone": 7_037_504,
    "csp_darknet_tiny": 2_380_416,
    "yolo_v8_xs_backbone": 1_277_680,
    # 3,321,962 with its classifier of 256 x 10 + 10.
    "mit_b0": 3_319_392,
    "efficientnetv1_b0": 4_049_564,
    "EfficientNetV2B0Backbone": 5_919_312,
    "MobileNetV3SmallBackbone": 939_120,
    "vgg16": 14_714_688,
}
# They take seconds to build.
DEEP = {*KERAS_CV_COUNTS} - {"yolo_v8_xs_backbone", "MobileNetV3SmallBackbone", "vgg16"}


@pytest.mark.parametrize("name", ["iresnet18", "mobilefacenet", "plain_small"])
def test_feature_map_is_a_sixteenth_of_any_image_and_no_two_layers_begin_alike(name):
    model = build_backbone(name, (50, 37, 1))
    assert model.output_shape[1:3] == (4, 3)
    features = model(np.random.default_rng(0).uniform(-1, 1, [2, 50, 37, 1]).astype(np.float32))
    assert features.shape[1:] == model.output_shape[1:]
    assert np.all(np.isfinite(features))
    assert name != "plain_small" or 400_000 < model.count_params() < 500_000
    # Keras gives the same numbers again if one initializer serves two layers of one shape.
    kernels = [weight.numpy() for weight in model.weights if "kernel" in weight.name]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)


def _depthwise_dtypes(precision):
    with policy(precision):
        model = build_backbone("mobilefacenet", (32, 32, 3))
    kind = tf.keras.layers.DepthwiseConv2D
    return {(layer.strides[0], layer.compute_dtype) for layer in model.layers if isinstance(layer, kind)}


def test_depthwise_precision_of_mobilefacenet(monkeypatch):
    """On CPUs alone those with strides are float32 in mixed bfloat16."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    assert _depthwise_dtypes("mixed_bfloat16") == {(1, "bfloat16"), (2, "float32")}
    assert _depthwise_dtypes("mixed_float16") == {(1, "float16"), (2, "float16")}
    assert _depthwise_dtypes("float32") == {(1, "float32"), (2, "float32")}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["a GPU"])
    assert _depthwise_dtypes("mixed_bfloat16") == {(1, "bfloat16"), (2, "bfloat16")}


@needs_tf_keras
def test_layers_of_keras_3_are_refused():
    with pytest.raises(InputError, match="KerasCV's vgg16 is made of layers of Keras 3"):
        build_backbone("keras_cv:vgg16", (64, 64, 3))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.heavy if name in DEEP else ())
        for name in KERAS_CV_COUNTS
        if not (LATER_LANES and not IS_KERAS_3 and name == "vgg16")
    ],
)
def test_keras_cv_architecture(name):
    model = build_backbone(f"keras_cv:{name}", (64, 64, 3))
    assert (model.name, model.output_shape[1:3]) == ("backbone", (2, 2))
    assert model.count_params() == KERAS_CV_COUNTS[name]
    assert not any(isinstance(layer, tf.keras.layers.Rescaling) for layer in model.layers)


def test_keras_cv_names_are_its_presets():
    for name, (class_name, _) in ARCHITECTURES.items():
        # VGG16 has one size only, hence no preset.
        assert name in getattr(import_keras_cv().models, class_name).presets or name == "vgg16"


@pytest.mark.parametrize(
    "name, shape, message",
    [
        ("resnet51", (112, 112, 3), "unknown backbone 'resnet51': use one of iresnet100, .*plain_small, keras_cv:NAME"),
        ("keras_cv:resnet19", (112, 112, 3), "unknown KerasCV backbone 'resnet19': use one of csp_darknet_l, "),
        ("iresnet18", (112, 112), r"input_shape must be \(height, width, channels\), got \(112, 112\)"),
        ("iresnet18", (112, 0, 3), r"\(height, width, channels\), got \(112, 0, 3\)"),
    ],
)
def test_bad_names_and_shapes(name, shape, message):
    with pytest.raises(InputError, match=message):
        build_backbone(name, shape)
