"""Small ONNX networks, node by node."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

SIDE = 9


class Network:
    """An ONNX file of the nodes that are added; `add` returns the name of a node's output."""

    def __init__(self, input_shape=("batch", 3, SIDE, SIDE)):
        self.nodes, self.weights = [], []
        self.random = np.random.default_rng(0)
        self.input_shape = input_shape

    def weight(self, *shape, values=None):
        values = self.random.normal(0, 0.5, shape) if values is None else values
        tensor = np.asarray(values, np.int64 if np.asarray(values).dtype.kind == "i" else np.float32)
        self.weights.append(numpy_helper.from_array(tensor, f"weight_{len(self.weights)}"))
        return self.weights[-1].name

    def add(self, operation, *inputs, **attributes):
        output = f"{operation}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [output], name=f"/layer/{output}", **attributes))
        return output

    def conv(self, image, inputs, outputs, size=3, group=1, bias=True, **attributes):
        weights = [self.weight(outputs, inputs // group, size, size), *([self.weight(outputs)] if bias else [])]
        return self.add("Conv", image, *weights, group=group, kernel_shape=[size, size], **attributes)

    def write(self, path, output, opset=13, output_shape=("batch", "dim")):
        shapes = {"image": self.input_shape, output: output_shape}
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
        graph = helper.make_graph(self.nodes, "network", ends[:1], ends[1:], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        path.write_bytes(model.SerializeToString())
        return path


def end(network, image, channels, side, **attributes):
    """A fully connected layer on a feature map, as ArcFace's networks end."""
    flat = network.add("Flatten", image)
    kernel = network.weight(5, channels * side * side)
    return network.add("Gemm", flat, kernel, network.weight(5), transB=1, **attributes)
