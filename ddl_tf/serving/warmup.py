"""Requests that TensorFlow Serving runs when it loads a model, so that the first user does not wait for its set-up."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.synthetic.faces import synthetic_images

# The sizes that a batching server makes batches of too: see `ddl_tf.serving.server_files`.
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
WARMUP = "tf_serving_warmup_requests"
_FACES, _GALLERY_ROWS = 4, 1024


def _apis() -> tuple[Any, Any]:
    """The protocol buffers of TensorFlow Serving."""
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ModuleNotFoundError:
        raise InputError(
            "the warm-up requests are protocol buffers of TensorFlow Serving, which are not installed: "
            "pip install tensorflow-serving-api"
        ) from None
    return predict_pb2, prediction_log_pb2


def warmup_requests(name: str, signatures: Sequence[str], input_size: Sequence[int], dim: int) -> Iterator[Any]:
    """Make the warm-up of a model: for each signature a request of each batch size, with synthetic faces.

    Args:
        name: the name that the model is served by.
        signatures: those that the model has.
        input_size: (height, width) in pixels.
        dim: length of the embedding.

    Yields:
        `PredictionLog` protocol buffers.

    Raises:
        InputError: if TensorFlow Serving's protocol buffers are not installed.

    Example:
        >>> len(list(warmup_requests("faces", ["serving_bytes"], (112, 112), 512)))
        6
    """
    predict_pb2, prediction_log_pb2 = _apis()
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


def write_warmup(extra: Path, description: dict[str, Any]) -> None:
    """Write the warm-up of an exported model into its folder `assets.extra`."""
    requests = warmup_requests(
        description["model"], description["signatures"], description["input_size"], description["dim"]
    )
    with tf.io.TFRecordWriter(str(extra / WARMUP)) as writer:
        for request in requests:
            writer.write(request.SerializeToString())
