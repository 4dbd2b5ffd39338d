"""Graph models of TensorFlow.js, written by hand as its converter writes them."""

import base64
import json

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.runtimes.tfjs_graph import read_tfjs_graph

FLOAT = {"type": "DT_FLOAT"}


def text(value):
    return {"s": base64.b64encode(value.encode()).decode()}


class GraphModel:
    """The nodes and weights of a `model.json`."""

    def __init__(self):
        self.nodes, self.weights, self.content = [], [], b""
        shape = {"shape": {"dim": [{"size": size} for size in ("-1", "6", "6", "3")]}}
        self.node("image", "Placeholder", dtype=FLOAT, shape=shape)

    def node(self, name, op, *inputs, **attributes):
        self.nodes.append({"name": name, "op": op, **({"input": list(inputs)} if inputs else {}), "attr": attributes})
        return name

    def weight(self, name, value, kind="float32", **quantization):
        self.weights.append({"name": name, "shape": list(value.shape), "dtype": "float32"})
        if quantization:
            self.weights[-1]["quantization"] = {"dtype": kind, **quantization}
        self.content += value.astype({"float32": "<f4", "uint8": "u1"}[kind]).tobytes()
        return self.node(name, "Const", dtype=FLOAT, value={"tensor": {"dtype": "DT_FLOAT"}})

    def fused(self, name, op, image, *arguments, fused, strides=1):
        lists = {
            key: {"list": {"i": [str(n) for n in value]}}
            for key, value in (("strides", [1, strides, strides, 1]), ("dilations", [1] * 4))
        }
        operations = {"list": {"s": [text(operation)["s"] for operation in fused]}}
        padding, layout = text("SAME"), text("NHWC")
        attributes = {
            "T": FLOAT,
            "padding": padding,
            "data_format": layout,
            "fused_ops": operations,
            "num_args": {"i": "1"},
        }
        return self.node(name, op, image, *arguments, **attributes, **lists)

    def write(self, folder, **changes):
        manifest = [{"paths": ["weights.bin"], "weights": self.weights}]
        content = {
            "format": "graph-model",
            "modelTopology": {"node": self.nodes},
            "weightsManifest": manifest,
            **changes,
        }
        (folder / "weights.bin").write_bytes(self.content)
        (folder / "model.json").write_text(json.dumps(content))
        return folder / "model.json"


RANDOM = np.random.default_rng(0)
KERNEL, BIAS, DEPTHWISE = RANDOM.normal(size=(3, 3, 3, 4)), RANDOM.normal(size=4), RANDOM.normal(size=(3, 3, 4, 1))
ALPHA = RANDOM.normal(size=4)


def network():
    model = GraphModel()
    for name, value in (("kernel", KERNEL), ("bias", BIAS), ("depthwise", DEPTHWISE), ("alpha", ALPHA)):
        model.weight(name, value)
    x = model.fused("conv", "_FusedConv2D", "image", "kernel", "bias", "alpha", fused=["BiasAdd", "Prelu"], strides=2)
    x = model.fused("dw", "FusedDepthwiseConv2dNative", x, "depthwise", "bias", fused=["BiasAdd", "Relu"])
    model.node("prelu", "Prelu", x, "alpha")
    return model


def run(graph, image, output, images):
    def function(images):
        return tf.graph_util.import_graph_def(graph, {f"{image}:0": images}, [f"{output}:0"])[0]

    return tf.function(function)(tf.constant(images, tf.float32)).numpy()


def naive_prelu(x):
    return np.where(x > 0, x, ALPHA * x)


def test_fused_operations_are_what_they_were(tmp_path):
    images = np.random.default_rng(1).normal(size=(2, 6, 6, 3))
    graph, image, output = read_tfjs_graph(network().write(tmp_path))
    assert (image, output) == ("image", "prelu")
    x = naive_prelu(tf.nn.conv2d(images, KERNEL, 2, "SAME").numpy() + BIAS)
    x = np.maximum(tf.nn.depthwise_conv2d(x, DEPTHWISE, [1] * 4, "SAME").numpy() + BIAS, 0)
    np.testing.assert_allclose(run(graph, image, output, images), naive_prelu(x), rtol=1e-4, atol=1e-5)


def test_quantized_weights_are_scaled(tmp_path):
    model = GraphModel()
    model.weight("bias", np.array([0, 10, 255]), "uint8", scale=0.5, min=-3.0)
    model.node("sum", "Add", "image", "bias", T=FLOAT)
    graph, image, output = read_tfjs_graph(model.write(tmp_path))
    np.testing.assert_array_equal(run(graph, image, output, np.zeros((1, 6, 6, 3)))[0, 0, 0], [-3.0, 2.0, 124.5])


def test_refused(tmp_path):
    def write(change, **changes):
        model = network()
        change(model)
        return model.write(tmp_path, **changes)

    def short(model):
        model.content = model.content[:-4]

    def unknown(model):
        model.fused("bad", "_FusedConv2D", "prelu", "kernel", "bias", fused=["BiasAdd", "Gelu"])

    outside = [{"paths": ["../weights.bin"], "weights": []}]
    for change, changes, words in (
        (short, {}, r"weights.bin has [\d,]+ bytes, but alpha ends at"),
        (
            lambda model: model.node("second", "Relu", "conv", T=FLOAT),
            {},
            "the inputs image and the outputs prelu, second",
        ),
        (unknown, {}, "the node bad is fused with Gelu, which is not known"),
        (
            lambda model: None,
            {"weightsManifest": outside},
            r"names the weight file '\.\./weights\.bin', which is not beside it",
        ),
        (lambda model: None, {"modelTopology": []}, "is no TensorFlow.js graph model"),
    ):
        path = write(change, **changes)
        with pytest.raises(InputError, match=words):
            read_tfjs_graph(path)
