"""Files for TensorFlow Serving: its configuration, and requests that set a model up before the first user comes."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.synthetic.faces import synthetic_images

# The sizes of the requests, and of the batches that a batching server makes.
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
WARMUP = "tf_serving_warmup_requests"
_FACES, _GALLERY_ROWS = 4, 1024

_SIZES = "".join(f"allowed_batch_sizes: {size}\n" for size in BATCH_SIZES)
BATCHING = f"""\
# How the server puts requests together: --enable_batching --batching_parameters_file=...
# Models exported with `search` cannot be batched; add --enable_per_model_batching_params to leave them out.
max_batch_size {{ value: {BATCH_SIZES[-1]} }}
# How long a request may wait for others.
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 100 }}
# Those that the model is warmed up for; the last must be max_batch_size.
{_SIZES}\
# Padding would add black borders to images, which changes their embeddings.
pad_variable_length_inputs: false
"""
_MODEL_TEXT = """\
  config {{
    name: "{name}"
    base_path: "{folder}/{name}"
    model_platform: "tensorflow"
  }}
"""
_MONITORING = """\
# Metrics for Prometheus, on the port of REST: --monitoring_config_file=...
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def _models_text(present: str, names: list[str], server_path: str, file: Path) -> str:
    listed = set(re.findall(r"\bname\s*:\s*[\"']([^\"']+)[\"']", present))
    folder = server_path.rstrip("/")
    missing = "".join(_MODEL_TEXT.format(name=name, folder=folder) for name in names if name not in listed)
    if not present.strip():
        return f"model_config_list {{\n{missing}}}\n"
    if not missing:
        return present
    end = present.rstrip()
    if not re.search(r"\bmodel_config_list\s*:?\s*\{", present) or not end.endswith("}"):
        raise InputError(f"{file}: no list of models that could be added to; move it away, and export writes a new one")
    return f"{end[:-1].rstrip()}\n{missing}}}\n"


def write_server_files(directory: str, server_path: str = "/models") -> list[Path]:
    """Write the configuration of a server of all models in a folder; existing files stay.

    `models.config` lists the models (names that it lacks are added), `batching_parameters.txt` has the batch sizes that
    the models are warmed up for, `monitoring.config` turns the metrics on.

    Args:
        directory: the folder of all exported models.
        server_path: where the server sees that folder.

    Raises:
        InputError: if the existing `models.config` has no list of models.
    """
    folder = Path(directory)
    models = folder / "models.config"
    present = models.read_text(encoding="utf-8") if models.exists() else ""
    versions = [file.parent for file in folder.glob("*/*/saved_model.pb")]
    names = sorted({version.parent.name for version in versions if version.name.isdecimal()})
    texts = {models: _models_text(present, names, server_path, models)}
    texts |= {folder / "batching_parameters.txt": BATCHING, folder / "monitoring.config": _MONITORING}
    for file, text in texts.items():
        if file == models or not file.exists():
            with write_aside(file) as aside:
                aside.write_text(text, encoding="utf-8")
    return list(texts)


def warmup_requests(name: str, signatures: Sequence[str], input_size: Sequence[int], dim: int) -> Iterator[Any]:
    """Make the warm-up of a model: for each signature a request of each batch size, with synthetic faces.

    Args:
        name: the name that the model is served by.
        signatures: those that the model has.
        input_size: (height, width) in pixels.
        dim: length of the embedding.

    Yields:
        `PredictionLog` protocol buffers.

    Example:
        >>> len(list(warmup_requests("faces", ["serving_bytes"], (112, 112), 512)))
        6
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ModuleNotFoundError:
        what = "the warm-up requests are protocol buffers of TensorFlow Serving"
        raise InputError(f"{what}, which are not installed: pip install tensorflow-serving-api") from None
    # Those of real people have no place in a model.
    pixels = synthetic_images(_FACES, (input_size[0], input_size[1]))
    files = np.array([encode_jpeg(Image.fromarray(face)) for face in pixels], object)
    gallery = np.random.RandomState(0).normal(size=[_GALLERY_ROWS, dim]).astype(np.float32)
    for signature in signatures:
        for size in BATCH_SIZES:
            rows = np.arange(size) % _FACES
            inputs = {
                "serving_default": {"image": pixels[rows]},
                "serving_bytes": {"image_bytes": files[rows]},
                "verify": {"first": files[rows], "second": files[rows[::-1]]},
                "search": {"image_bytes": files[rows], "gallery": gallery, "k": np.int32(1)},
            }[signature]
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = name, signature
            for key, value in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            yield prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
