"""A network of another runtime, beside which a server's answers are put."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ddl_tf.client.client import IMAGES
from ddl_tf.common.errors import InputError
from ddl_tf.images.pillow_images import decode_image, resize_image
from ddl_tf.runtimes.embedders import open_embedder

SUFFIXES = (".xml", ".onnx")


class NetworkReference:
    """An OpenVINO or ONNX file of `python -m ddl_tf.convert`, as OpenVINO Model Server serves it.

    It has one signature, from `image`, float32 `[batch, 3, height, width]`, to `embedding`, float32 `[batch, dim]`.

    Args:
        path: the file, ending in `.xml` or `.onnx`.

    Raises:
        InputError: if there is no such file, it cannot be loaded, or it takes scaled values.
    """

    threshold = None

    def __init__(self, path: str) -> None:
        self.signatures = [IMAGES]
        if Path(path).suffix.lower() not in SUFFIXES or not Path(path).is_file():
            raise InputError(f"no network at {path}: give a file of `python -m ddl_tf.convert`, .xml or .onnx")
        self.path, self._embedder = path, open_embedder(path)
        if (self._embedder.mean, self._embedder.scale) != (0, 1):
            raise InputError(
                f"{path} takes {self._embedder.input_text}, and a server scales nothing: convert a model by "
                "`python -m ddl_tf.convert`"
            )

    def inputs(self, signature: str, faces: list[bytes]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What to send: arrays with a row for each face, and arrays that go with every batch."""
        del signature
        images = [resize_image(decode_image(face), self._embedder.image_size) for face in faces]
        return {"image": np.stack(images).astype(np.float32).transpose(0, 3, 1, 2)}, {}

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Embed here."""
        del signature
        return {"embedding": self._embedder.run(inputs["image"].transpose(0, 2, 3, 1))}
