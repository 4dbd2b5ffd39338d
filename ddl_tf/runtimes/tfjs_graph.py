"""TensorFlow.js graph models (`model.json` and its weight files), read as a TensorFlow graph."""

import base64
import json
import math
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file

_TYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4"), "bool": np.dtype("?")}
# Operations that TensorFlow.js has fused with what follows them, and what they were.
_FUSED = {"_FusedConv2D": "Conv2D", "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative", "_FusedMatMul": "MatMul"}
_ACTIVATIONS = ("Relu", "Relu6", "Elu")
_ATTRIBUTES = ("T", "strides", "padding", "data_format", "dilations", "explicit_paddings", "transpose_a", "transpose_b")
# A face network has some hundred megabytes.
_LARGEST = 2**31


def read_tfjs_graph(path: Path) -> tuple[Any, str, str]:
    """Read a graph model with its weights as a TensorFlow graph of unfused operations.

    Args:
        path: of `model.json`; the weight files that it names are in its folder.

    Returns:
        The GraphDef, and the names of its input and output nodes.

    Raises:
        InputError: if it is no graph model, a weight file is missing or too short, or it has several inputs or outputs.
    """
    try:
        content = json.loads(require_regular_file(path).read_text(encoding="utf-8"))
        nodes, groups = content["modelTopology"]["node"], content["weightsManifest"]
        values = _read_weights(path, groups)
        graph = tf.compat.v1.GraphDef()
        for node in nodes:
            for part in _unfused(node, values):
                json_format.ParseDict(part, graph.node.add())
    except (ValueError, KeyError, TypeError, RecursionError, json_format.ParseError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{path} is no TensorFlow.js graph model ({type(error).__name__}: {reason}): give the model.json of one"
        ) from None
    for node in graph.node:
        if node.op == "Const" and node.name in values:
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values[node.name]))
    used = {name.split(":")[0].lstrip("^") for node in graph.node for name in node.input}
    inputs = [node.name for node in graph.node if node.op == "Placeholder"]
    outputs = [node.name for node in graph.node if node.name not in used and node.op != "Placeholder"]
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"{path} has the inputs {', '.join(inputs)} and the outputs {', '.join(outputs)}; a face network has one "
            "each"
        )
    return graph, inputs[0], outputs[0]


def _read_weights(path: Path, groups: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The weights by name; those of a group are one after the other in its files."""
    values = {}
    for group in groups:
        names = [str(name) for name in group["paths"]]
        for name in names:
            if PurePosixPath(name).name != name:
                raise InputError(f"{path} names the weight file {name!r}, which is not beside it")
        content = b"".join(require_regular_file(path.parent / name).read_bytes() for name in names)
        start = 0
        for weight in group["weights"]:
            name, shape, quantized = weight["name"], [int(size) for size in weight["shape"]], weight.get("quantization")
            stored = str(quantized["dtype"] if quantized else weight["dtype"])
            kind = {**_TYPES, "uint8": np.dtype("u1"), "uint16": np.dtype("<u2"), "float16": np.dtype("<f2")}.get(
                stored
            )
            count = math.prod(shape)
            if kind is None or weight["dtype"] not in _TYPES or not 0 <= count < _LARGEST:
                raise InputError(f"{path}: the weight {name} is of {stored} {shape}, which no network here has")
            end = start + count * kind.itemsize
            if end > len(content):
                raise InputError(f"{path}: {', '.join(names)} has {len(content):,} bytes, but {name} ends at {end:,}")
            value: np.ndarray = np.frombuffer(content, kind, count, start).reshape(shape)
            if quantized and "scale" in quantized:
                value = value * np.float32(quantized["scale"]) + np.float32(quantized["min"])
            values[name], start = value.astype(_TYPES[weight["dtype"]]), end
    return values


def _unfused(node: dict[str, Any], values: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """A node as operations of TensorFlow; the last one has its name."""
    attributes = node.get("attr", {})
    if node["op"] == "Const":
        kind = values[node["name"]].dtype if node["name"] in values else None
        number = {"float32": "DT_FLOAT", "int32": "DT_INT32", "bool": "DT_BOOL"}.get(str(kind))
        return [{**node, "attr": {"dtype": {"type": number}}}] if number else [node]
    if node["op"] == "Prelu":
        return _prelu(node["name"], *node["input"])
    if node["op"] not in _FUSED:
        return [node]
    fused = [base64.b64decode(text).decode() for text in attributes["fused_ops"]["list"]["s"]]
    first, arguments = node["input"][:2], node["input"][2:]
    kept = {name: value for name, value in attributes.items() if name in _ATTRIBUTES}
    parts = [{"name": f"{node['name']}/unfused", "op": _FUSED[node["op"]], "input": first, "attr": kept}]
    kind = {"T": {"type": "DT_FLOAT"}}
    for operation in fused:
        previous, name = parts[-1]["name"], f"{node['name']}/{operation}"
        if operation == "BiasAdd":
            parts.append({"name": name, "op": "BiasAdd", "input": [previous, arguments.pop(0)], "attr": kind})
        elif operation == "Prelu":
            parts += _prelu(name, previous, arguments.pop(0))
        elif operation in _ACTIVATIONS:
            parts.append({"name": name, "op": operation, "input": [previous], "attr": kind})
        else:
            raise ValueError(f"the node {node['name']} is fused with {operation}, which is not known")
    parts[-1] = {**parts[-1], "name": node["name"]}
    return parts


def _prelu(name: str, x: str, alpha: str) -> list[dict[str, Any]]:
    """PReLU: x where it is positive, alpha x elsewhere, which is relu(x) - alpha relu(-x)."""
    kind = {"T": {"type": "DT_FLOAT"}}
    steps = [("positive", "Relu", [x]), ("minus", "Neg", [x]), ("negative", "Relu", [f"{name}/minus"])]
    steps += [("scaled", "Mul", [f"{name}/negative", alpha])]
    parts = [{"name": f"{name}/{step}", "op": op, "input": inputs, "attr": kind} for step, op, inputs in steps]
    return [*parts, {"name": name, "op": "Sub", "input": [f"{name}/positive", f"{name}/scaled"], "attr": kind}]
