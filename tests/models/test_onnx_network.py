"""ONNX networks as Keras models: onnxruntime says what they compute."""

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from onnx_builder import SIDE, Network, end

from ddl_tf.common.errors import InputError
from ddl_tf.models import load_checkpoint, save_checkpoint
from ddl_tf.models.onnx_network import convert_onnx, read_onnx_network

FLAT = ("batch", "dim", 1, 1)


@pytest.fixture
def network():
    return Network()


def check(path, channels_last=False):
    """Convert, and compare with onnxruntime on the same images; all weights that train have a gradient."""
    model = read_onnx_network(path)
    images = np.random.default_rng(1).normal(0, 1, (3, *model.input_shape[1:])).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"image": images if channels_last else images.transpose(0, 3, 1, 2)})
    embeddings = model(images).numpy()
    assert embeddings.shape == (3, np.prod(expected.shape[1:]))
    np.testing.assert_allclose(embeddings, expected.reshape(embeddings.shape), rtol=1e-5, atol=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images, training=True) ** 2)
    assert all(gradient is not None for gradient in tape.gradient(loss, model.trainable_weights))
    return model


def test_a_residual_network(network, tmp_path):
    """Padding, strides, batch norm, PReLU, an addition, and the order in which a feature map is flattened."""
    image = network.conv("image", 3, 8, pads=[1, 1, 1, 1], strides=[2, 2], bias=False)
    statistics = [network.weight(8) for _ in range(3)] + [network.weight(values=np.linspace(0.5, 2, 8))]
    image = network.add("BatchNormalization", image, *statistics, epsilon=1e-3)
    image = network.add("PRelu", image, network.weight(8, 1, 1))
    branch = network.conv(image, 8, 8, pads=[1, 1, 1, 1], group=8)
    branch = network.add("Dropout", network.conv(branch, 8, 8, size=1))
    image = network.add("Add", image, branch)
    model = check(network.write(tmp_path / "net.onnx", end(network, image, 8, 5, alpha=0.5, beta=2.0)))
    assert {layer.name for layer in model.layers} >= {"layer.Conv_0", "layer.BatchNormalization_1", "layer.PRelu_2"}
    # Its weights train: kernels, gamma and beta, slopes, the matrix.
    assert len(model.trainable_weights) == 1 + 2 + 1 + 2 + 2 + 2


@pytest.mark.parametrize("operation, shape", [("Add", (8, 1, 1)), ("Sub", (1, 8, 1, 1)), ("Sub", ())])
@pytest.mark.parametrize("use", ["alone", "twice"])
def test_a_prelu_that_is_spelled_out(network, tmp_path, operation, shape, use):
    """As tf2onnx writes it; where a part of it goes elsewhere too, the parts stay."""
    image = network.conv("image", 3, 8)
    negative = network.add("Relu", network.add("Neg", image))
    scaled = network.add("Mul", network.weight(*shape), negative)
    total = network.add(operation, network.add("Relu", image), scaled)
    total = network.add("Add", total, negative) if use == "twice" else total
    model = check(network.write(tmp_path / "net.onnx", end(network, total, 8, SIDE - 2)))
    prelus = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.PReLU)]
    assert len(prelus) == (1 if use == "alone" else 0)


ACTIVATIONS = {
    **{name: {} for name in ("Clip", "Relu", "Sigmoid", "Tanh", "HardSwish", "Neg", "Identity")},
    **{"LeakyRelu": {"alpha": 0.2}, "Elu": {"alpha": 0.7}, "HardSigmoid": {"alpha": 0.3, "beta": 0.4}},
}


@pytest.mark.parametrize("operation", ACTIVATIONS)
def test_an_activation(network, tmp_path, operation):
    bounds = [network.weight(values=value) for value in (0.0, 0.6)] if operation == "Clip" else []
    image = network.add(operation, "image", *bounds, **ACTIVATIONS[operation])
    check(network.write(tmp_path / "net.onnx", end(network, image, 3, SIDE), opset=14))


@pytest.mark.parametrize(
    "operation, attributes, side",
    [
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, 5),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}, 4),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, SIDE),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, SIDE),
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, 5),
        ("GlobalMaxPool", {}, 1),
    ],
)
def test_a_pool(network, tmp_path, operation, attributes, side):
    image = network.add(operation, network.add("Relu", "image"), **attributes)
    check(network.write(tmp_path / "net.onnx", end(network, image, 3, side)))


def test_a_gate_on_channels_and_a_concatenation(network, tmp_path):
    mean = network.add("GlobalAveragePool", "image")
    gate = network.add("Sigmoid", network.conv(mean, 3, 3, size=1))
    gated = network.add("Mul", "image", gate)
    image = network.add("Concat", gated, "image", axis=1)
    check(network.write(tmp_path / "net.onnx", network.add("ReduceMean", image, axes=[2, 3], keepdims=0)))


@pytest.mark.parametrize("group, strides, bias", [(2, [1, 1], False), (2, [2, 2], True), (6, [1, 1], True)])
def test_a_grouped_convolution(network, tmp_path, group, strides, bias):
    image = network.conv("image", 3, 6, size=1)
    image = network.conv(image, 6, 12, group=group, pads=[1, 1, 1, 1], strides=strides, bias=bias)
    check(network.write(tmp_path / "net.onnx", network.add("GlobalAveragePool", image), output_shape=FLAT))


def test_scaling_by_the_network_itself_stays_as_it_is(network, tmp_path):
    """Numbers at the image are not trained, those of each channel further on are."""
    image = network.add("Mul", network.add("Sub", "image", network.weight(values=127.5)), network.weight(values=0.0078))
    image = network.add("Div", image, network.weight(values=np.float32([[[0.2]], [[0.3]], [[0.4]]])))
    image = network.conv(image, 3, 4)
    image = network.add("Add", network.add("Mul", network.weight(4, 1, 1), image), network.weight(1, 4, 1, 1))
    model = check(network.write(tmp_path / "net.onnx", network.add("GlobalAveragePool", image), output_shape=FLAT))
    assert len(model.trainable_weights) == 2 + 4


def test_channels_last(tmp_path):
    """As networks of TensorFlow come."""
    network = Network(("batch", SIDE, SIDE, 3))
    image = network.add("Transpose", "image", perm=[0, 3, 1, 2])
    image = network.conv(image, 3, 4, auto_pad="SAME_UPPER", strides=[2, 2])
    image = network.add("Transpose", image, perm=[0, 2, 3, 1])
    image = network.add("Pad", image, network.weight(values=np.array([0, 1, 0, 0, 0, 0, 2, 0])))
    check(network.write(tmp_path / "net.onnx", network.add("ReduceMean", image, axes=[1, 2], keepdims=0)), True)


@pytest.mark.parametrize("kind", ["ReduceL2", "LpNormalization", "squares", "rsqrt"])
def test_a_unit_embedding(network, tmp_path, kind):
    vector = end(network, "image", 3, SIDE)
    small = network.weight(values=np.float32([1e-12]))
    if kind == "LpNormalization":
        network.add(kind, vector, axis=1, p=2)
    elif kind == "ReduceL2":
        norm = network.add("Clip", network.add(kind, vector, axes=[1], keepdims=1), small)
        shape = network.add("Shape", vector)
        network.add("Div", vector, network.add("Expand", norm, shape))
    else:
        squares = network.add("Mul", vector, vector)
        total = network.add("ReduceSum", squares, network.weight(values=np.array([-1])), keepdims=1)
        norm = network.add("Sqrt", network.add("Max" if kind == "rsqrt" else "Add", total, small))
        operation = "Mul" if kind == "rsqrt" else "Div"
        network.add(operation, vector, network.add("Reciprocal", norm) if kind == "rsqrt" else norm)
    network.nodes[-1].output[0] = "embedding"
    model = check(network.write(tmp_path / "net.onnx", "embedding"))
    assert isinstance(model.layers[-1], tf.keras.layers.UnitNormalization)


def test_a_shape_that_is_computed_and_a_vector_as_an_image(network, tmp_path):
    """As PyTorch exports `x.view(x.size(0), -1)`, and a squeeze and excitation of vectors."""
    mean = network.add("GlobalAveragePool", "image")
    batch = network.add("Gather", network.add("Shape", mean), network.weight(values=np.int64(0)), axis=0)
    batch = network.add("Unsqueeze", batch, network.weight(values=np.array([0])))
    shape = network.add("Concat", batch, network.weight(values=np.array([-1])), axis=0)
    vector = network.add("MatMul", network.add("Reshape", mean, shape), network.weight(3, 3))
    gate = network.add("Reshape", vector, network.weight(values=np.array([0, 3, 1, 1])))
    for operation in ("Squeeze", "Unsqueeze"):
        gate = network.add(operation, gate, network.weight(values=np.array([2, 3])))
    image = network.add("Mul", "image", gate)
    check(network.write(tmp_path / "net.onnx", end(network, image, 3, SIDE)))


def test_what_is_refused(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(InputError, match="cannot be read as an ONNX network"):
        read_onnx_network(path)
    for shape, message in (
        (("batch", 1, SIDE, SIDE), r"takes a tensor of shape \[None, 1, 9, 9\], where"),
        (("batch", 3, 5000, 5000), "takes images of 5000 x 5000 pixels, where 2048 is the most"),
    ):
        network = Network(shape)
        network.write(path, network.add("Relu", "image"))
        with pytest.raises(InputError, match=message):
            read_onnx_network(path)
    with pytest.raises(InputError, match=r"order 'gbr', mean 0.0, scale 0.0: give rgb or bgr"):
        convert_onnx(path, 0.0, 0.0, "gbr")


def vector(network):
    return network.add("Flatten", network.add("GlobalAveragePool", "image"))


REFUSED = {
    "grows": (lambda n: n.add("Add", n.weight(300, 1), n.weight(1, 300)), "constants alone, 90,000 numbers from few"),
    "fills": (lambda n: n.add("ConstantOfShape", n.weight(values=np.array([9]))), r"fShape .*: of constants alone$"),
    "Sin": (lambda n: n.add("Sin", "image"), r"operation Sin \(/layer/Sin_0\) has no layer of Keras here: the usual"),
    "padded": (lambda n: n.add("MaxPool", "image", kernel_shape=[3, 3], pads=[1] * 4), "pads with the smallest number"),
    "mean": (lambda n: n.add("AveragePool", "image", kernel_shape=[2, 2], pads=[1] * 4), "pads with what no mean"),
    "ceil": (lambda n: n.add("MaxPool", "image", kernel_shape=[2, 2], ceil_mode=1), "ceil_mode is set"),
    "lower": (lambda n: n.conv("image", 3, 4, auto_pad="SAME_LOWER"), "auto_pad is SAME_LOWER"),
    "feature map": (lambda n: n.add("Relu", "image"), "its first output is no embedding"),
    "no map": (lambda n: n.add("GlobalAveragePool", vector(n)), "it is described wrongly .* is incompatible"),
    "depthwise": (lambda n: n.conv("image", 3, 3, group=3, strides=[1, 2]), r"with the strides \[1, 2\]"),
    "dilated": (lambda n: n.conv(n.conv("image", 3, 4), 4, 4, group=2, dilations=[2, 2]), "not square, or dilated"),
    "clip": (lambda n: n.add("Clip", "image", n.weight(values=-1.0)), "its lower bound is -1.0"),
    "numbers": (lambda n: n.add("Add", "image", n.weight(3)), r"numbers of shape \[3\] for 3 channels"),
    "slopes": (lambda n: n.add("PRelu", "image", n.weight(5, 1, 1)), "5 slopes for 3 channels"),
    "divided": (lambda n: n.add("Div", "image", n.add("Relu", "image")), "of these two inputs"),
    "axes": (lambda n: n.add("ReduceMean", "image", axes=[1]), "other axes than height and width"),
    "norm of a map": (lambda n: n.add("ReduceL2", "image", axes=[1]), "of anything but a vector"),
    "root": (lambda n: n.add("Sqrt", "image"), "of anything but the norm of a vector"),
    "larger": (lambda n: n.add("Max", "image", n.weight(values=0.0)), "of anything but a norm"),
    "product": (lambda n: n.add("MatMul", vector(n), n.weight(3, 3, 3)), "it multiplies by no matrix of weights"),
    "shape": (lambda n: n.add("Reshape", "image", n.weight(values=np.array([0, 9, 27]))), r"gives the shape \[9, 27\]"),
    "mixed": (lambda n: n.add("Reshape", "image", n.weight(values=np.array([0, 9]))), "it mixes images"),
    "batch": (lambda n: n.add("Reshape", "image", n.weight(values=np.array([9, -1]))), "it makes a batch of 9"),
    "squeeze": (lambda n: n.add("Squeeze", "image", n.weight(values=np.array([2, 3]))), "than a height and width of 1"),
    "order": (lambda n: n.add("Transpose", "image", perm=[0, 3, 2, 1]), r"the order \[0, 3, 2, 1\]"),
    "concat": (lambda n: n.add("Concat", "image", "image", axis=2), "of anything but channels"),
    "pad": (lambda n: n.add("Pad", "image", n.weight(values=np.array([0, 1, 0, 0, 0, 0, 0, 0]))), "but zeros around"),
    "attribute": (lambda n: n.add("Flatten", "image", axis=2), "axis is 2, where 1 is supported"),
    "described": (lambda n: n.add("Concat", "image", "image"), "it is described wrongly|cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_operation_that_has_no_layer(network, tmp_path, name):
    make, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        read_onnx_network(network.write(tmp_path / "net.onnx", make(network)))


def test_names_that_are_no_utf8_and_no_output(network, tmp_path):
    path = network.write(tmp_path / "net.onnx", network.add("GlobalAveragePool", "image"))
    model = onnx.load(path)
    content = path.read_bytes().replace(b"/layer/Global", b"/lay\xe9r/Global")
    del model.graph.output[:]
    for damaged in (content, model.SerializeToString()):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="a name is no UTF-8, or there is no output"):
            read_onnx_network(path)


def test_weights_in_another_file(network, tmp_path):
    path = network.write(tmp_path / "net.onnx", network.add("GlobalAveragePool", network.conv("image", 3, 4)))
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(InputError, match=r"net.onnx: cannot be read as an ONNX network"):
        read_onnx_network(path)


def test_an_open_size(tmp_path):
    network = Network(("batch", 3, "height", "width"))
    output = network.add("GlobalAveragePool", network.conv("image", 3, 4))
    path = network.write(tmp_path / "net.onnx", output, output_shape=FLAT)
    assert read_onnx_network(path, image_size=32).input_shape == (None, 32, 32, 3)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_an_embedding_model_of_it(network, tmp_path, order):
    """It takes pixels, and its checkpoint has layers alone that the guard of checkpoints lets through."""
    output = network.add("GlobalAveragePool", network.conv("image", 3, 4))
    path = network.write(tmp_path / "net.onnx", output, output_shape=FLAT)
    model = convert_onnx(path, 100.0, 64.0, order)
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.float32)
    scaled = (pixels - 100.0) / 64.0
    expected = read_onnx_network(path)(scaled if order == "rgb" else scaled[..., ::-1])
    np.testing.assert_allclose(model(pixels), expected, rtol=1e-5, atol=1e-5)
    save_checkpoint(model, tmp_path / "net.keras")
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "net.keras")(pixels), model(pixels))
