"""Small ONNX networks of quality, whose numbers NumPy knows too."""

import numpy as np
from onnx import TensorProto, helper
from onnx_builder import SIDE, Network

MEAN = SCALE = 127.5


def write_quality(path, outputs=("quality",), shape=("batch", 3, SIDE, SIDE), axis=1):
    """The mean of the first channel as a quality: `[batch, 1]`; of several `outputs`, `embedding` `[batch, 2]`.

    Outputs named `flat` are `[batch]`, `map` is one number for each pixel.
    """
    network = Network(shape)
    network.input_shape = shape
    weights = [network.weight(values=np.array([number])) for number in (0, 1, axis)]
    channel = network.add("Slice", "image", *weights)
    first = network.add("ReduceMean", channel, axes=[1, 2, 3], keepdims=0)
    column = network.add("Unsqueeze", first, network.weight(values=np.array([1])))
    made = {
        "quality": (column, ["batch", 1]),
        "flat": (first, ["batch"]),
        "embedding": (network.add("Concat", column, column, axis=1), ["batch", "dim"]),
        "map": (channel, ["batch", 1, SIDE, SIDE]),
    }
    nodes = [*network.nodes, *(helper.make_node("Identity", [made[name][0]], [name]) for name in outputs)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, made[name][1]) for name in outputs]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "quality", [image], ends, network.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return str(path)
