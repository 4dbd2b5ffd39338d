"""SavedModels in TensorFlow Serving's layout."""

import dataclasses
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Optional

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import ddl_tf
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import as_os_errors, sync_folder, sync_tree
from ddl_tf.common.provenance import utc_now
from ddl_tf.models.recognizer import image_size
from ddl_tf.serving.card import CARD, model_card
from ddl_tf.serving.description import DESCRIPTION, EXTRA
from ddl_tf.serving.folding import fold_batch_norm
from ddl_tf.serving.served import serving_module
from ddl_tf.serving.server_files import BATCHING, WARMUP, warmup_requests
from ddl_tf.serving.threshold import Threshold


class GraphSize(NamedTuple):
    """The bytes of graph and weights on disk, and the operations of the graph and all of its functions."""

    bytes: int
    operations: int


def graph_size(path: str) -> GraphSize:
    """Measure an exported model, in the folder of a version."""
    folder = Path(path)
    graph = SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    operations = len(graph.node) + sum(len(function.node_def) for function in graph.library.function)
    files = [folder / "saved_model.pb", *(folder / "variables").iterdir()]
    return GraphSize(sum(file.stat().st_size for file in files), operations)


def describe_signatures(path: str) -> list[str]:
    """Read back the signatures of an exported model, in the folder of a version.

    Returns:
        A line for each, such as `serving_default: image uint8 (None, None, None, 3) -> embedding float32 (None, 512)`.
    """

    def tensors(named: dict[str, tf.TensorSpec]) -> str:
        return ", ".join(f"{name} {spec.dtype.name} {spec.shape}" for name, spec in sorted(named.items()))

    return [
        f"{name}: {tensors(function.structured_input_signature[1])} -> {tensors(function.structured_outputs)}"
        for name, function in sorted(tf.saved_model.load(path).signatures.items())
    ]


def _write_extra(folder: Path, description: dict[str, Any], evaluation: Optional[str]) -> None:
    """Write what is beside the graph: description, model card, warm-up, and whether a server may batch it."""
    extra = folder / EXTRA
    extra.mkdir(exist_ok=True)
    (extra / DESCRIPTION).write_text(json.dumps(description, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (extra / CARD).write_text(model_card(description, evaluation), encoding="utf-8")
    served = [description[key] for key in ("model", "signatures", "input_size", "dim")]
    with tf.io.TFRecordWriter(str(extra / WARMUP)) as writer:
        for request in warmup_requests(*served):
            writer.write(request.SerializeToString())
    if "search" not in description["signatures"]:
        # What a server with --enable_per_model_batching_params reads.
        (folder / "batching_params.pbtxt").write_text(BATCHING, encoding="utf-8")


def export_model(
    model: tf.keras.Model,
    name: str,
    directory: str = "saved_models",
    flip: bool = False,
    threshold: Optional[Threshold] = None,
    search: bool = True,
    checkpoint: Optional[str] = None,
    evaluation: Optional[str] = None,
) -> Path:
    """Export an embedding model to `<directory>/<name>/<version>/`, where version is the next free number.

    The SavedModel has the signatures

    - `serving_default`: `image` uint8 `[batch, height, width, 3]` RGB, resized where it has another size than the
      model's -> `embedding` float32 `[batch, dim]` of unit norm;
    - `serving_bytes`: `image_bytes` string `[batch]`, JPEG or PNG -> `embedding`, `valid` bool `[batch]`;
    - `search`: `image_bytes`, `gallery` float32 `[n, dim]`, `k` int32 `[]` -> `index` int32 `[batch, k]`, `similarity`
      float32 `[batch, k]`, `valid`;
    - `verify`, with a threshold: `first`, `second` string `[batch]` -> `similarity` float32 `[batch]`, `same` bool
      `[batch]`, `valid`.

    Batch normalisation is folded where that is exact. Beside the graph are, in `assets.extra`, its description, a model
    card and the requests that warm a server up. A version appears whole or not at all, so that a server that
    watches the folder never loads half a model.

    Args:
        model: image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`; it is not changed.
        name: the name that the model is served by.
        directory: the folder of all exported models.
        flip: whether to add the embedding of the mirrored image, at twice the cost.
        threshold: for `verify`; see `choose_threshold`.
        search: whether there is `search`, which a server that batches requests cannot run.
        checkpoint: where the model came from, for its description and its card.
        evaluation: the folder of a stored evaluation of the model, for its card.

    Returns:
        The folder of the new version.

    Raises:
        InputError: if the name cannot name a folder, the model has another input or no fixed size, the evaluation or
            the run of the checkpoint cannot be read, or TensorFlow Serving's protocol buffers are not installed.

    Example:
        >>> export_model(embedding_model(load_checkpoint("best.keras")), "faces")  # doctest: +SKIP
        PosixPath('saved_models/faces/1')
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise InputError(f"model name {name!r}: use letters, digits, '_', '-' and '.', the first no '.' or '-'")
    size, folded = image_size(model), fold_batch_norm(model)
    module = serving_module(folded.model, flip, threshold.value if threshold else None)
    signatures = {"serving_default": module.from_images, "serving_bytes": module.from_bytes}
    signatures |= {"search": module.search} if search else {}
    signatures |= {"verify": module.verify} if threshold else {}
    folder = Path(directory) / name
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "model": name,
        "dim": model.output_shape[-1],
        "input_size": list(size),
        "flip": flip,
        "checkpoint": checkpoint,
        "threshold": dataclasses.asdict(threshold) if threshold else None,
        "signatures": sorted(signatures),
        "batch_norms": {"folded": folded.folded, "kept": folded.kept},
        "created": utc_now(),
        "versions": {"ddl_tf": ddl_tf.__version__, "tensorflow": tf.__version__},
    }
    # In the same folder, hence on the same file system; servers take only numbers for versions.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as aside:
        written = Path(aside) / "model"
        with as_os_errors(folder):
            tf.saved_model.save(module, str(written), signatures=signatures)
        number = max((int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()), default=0) + 1
        _write_extra(written, {"version": number, **description}, evaluation)
        sync_tree(written)
        os.rename(written, folder / str(number))
        sync_folder(folder)
    return folder / str(number)
