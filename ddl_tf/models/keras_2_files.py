"""`.keras` files that Keras 2 wrote, for Keras 3: the same weights, with the names that classes and axes have there."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

_KERAS_2 = re.compile(r"(tf_)?keras(\.|$)")
_MODULES = {
    "keras.src.engine.functional": "keras.src.models.functional",
    "keras.src.engine.sequential": "keras.src.models.sequential",
}


def copy_for_keras_3(archive: zipfile.ZipFile, copy: Path) -> None:
    """Write a `.keras` file of Keras 2 again, as Keras 3 reads it.

    Args:
        archive: the file, checked by `checkpoint_guard`.
        copy: where it is written.
    """
    with zipfile.ZipFile(copy, "w") as written:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "config.json":
                content = json.dumps(_translated(json.loads(content))).encode()
            written.writestr(name, content)


def _translated(value: Any) -> Any:
    if isinstance(value, list):
        return [_translated(part) for part in value]
    if not isinstance(value, dict):
        return value
    value = {name: _translated(part) for name, part in value.items()}
    if "class_name" not in value:
        return value
    if value["class_name"] == "Policy":
        return {"module": "keras", "class_name": "DTypePolicy", "config": value["config"], "registered_name": None}
    module = value.get("module")
    if isinstance(module, str) and _KERAS_2.match(module):
        module = module.removeprefix("tf_")
        value["module"] = _MODULES.get(module, module)
    config = value.get("config")
    if isinstance(config, dict) and "output_layers" in config:
        _name_calls(config)
    if value["class_name"].startswith(("DepthwiseConv", "SeparableConv")):
        # What Keras 2 writes of them, though they have none of it.
        for name in ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"):
            config.pop(name, None)
    if value["class_name"] == "BatchNormalization" and isinstance(config["axis"], list):
        (config["axis"],) = config["axis"]
    return value


def _name_calls(network: dict[str, Any]) -> None:
    """Write the calls of a network's layers as Keras 3 does.

    A tensor is the name of a layer, the number of its call, and which of its outputs. In Keras 2 the making of a model
    is that model's call 0.
    """
    models = {layer["name"] for layer in network["layers"] if layer["class_name"] in ("Functional", "Sequential")}

    def is_tensor(value: Any) -> bool:
        return isinstance(value, list) and [type(part) for part in value[:3]] == [str, int, int]

    def place(tensor: list[Any]) -> list[Any]:
        return [tensor[0], tensor[1] - (tensor[0] in models), tensor[2]]

    def argument(value: Any) -> Any:
        if is_tensor(value):
            # Keras takes shape and type from the layer.
            config = {"shape": [], "dtype": "float32", "keras_history": place(value)}
            return {"class_name": "__keras_tensor__", "config": config}
        return [argument(part) for part in value] if isinstance(value, list) else value

    def places(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: places(part) for name, part in value.items()}
        return place(value) if is_tensor(value) else [places(part) for part in value]

    for name in ("input_layers", "output_layers"):
        network[name] = places(network[name])
    for layer in network["layers"]:
        calls = []
        for tensors in layer["inbound_nodes"]:
            first = argument(tensors[0] if len(tensors) == 1 else tensors)
            keywords = {name: argument(value) for name, value in tensors[0][3].items() if value is not None}
            calls.append({"args": [first], "kwargs": keywords})
        layer["inbound_nodes"] = calls
