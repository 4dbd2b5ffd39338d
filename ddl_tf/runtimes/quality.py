"""A learned quality: an ONNX network that says with one number how good an image of a face is, and its flags."""

import dataclasses
import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.parallel import map_in_order
from ddl_tf.common.settings import refuse_ignored, setting
from ddl_tf.images.pillow_images import decode_image, resize_image
from ddl_tf.runtimes.embedders import ORDERS, OnnxEmbedder

LEARNED = "learned_quality"


class OnnxQuality(OnnxEmbedder):
    """An ONNX network from an image to its quality, such as CR-FIQA's, eDifFIQA's, or what SER-FIQ was distilled into.

    Its input is that of an `OnnxEmbedder`. Of its outputs the one counts that has one number for an image, as
    `[batch]` or `[batch, 1]`: CR-FIQA has the embedding beside it.

    Args:
        path: the `.onnx` file.
        mean: as of `OnnxEmbedder`.
        scale: as of `OnnxEmbedder`.
        order: of the channels that the network takes, "rgb" or "bgr".
        column: what its numbers are called.

    Raises:
        InputError: as `OnnxEmbedder`, or if not exactly one of the outputs is a number for each image.

    Example:
        >>> list(OnnxQuality("cr_fiqa.onnx").measure([Path("face.jpg").read_bytes()]))  # doctest: +SKIP
        [2.1]

    References:
        Boutros et al., CR-FIQA: Face image quality assessment by learning sample relative classifiability. CVPR 2023
        Babnik, Peer and Struc, eDifFIQA: Towards efficient face image quality assessment based on denoising diffusion
        probabilistic models. IEEE T-BIOM 6 (4), 2024
    """

    def __init__(
        self,
        path: str,
        mean: Optional[float] = None,
        scale: Optional[float] = None,
        order: str = "rgb",
        column: str = LEARNED,
    ) -> None:
        if Path(path).suffix.lower() != ".onnx" or not Path(path).is_file():
            raise InputError(f"no quality network at {path}: give an ONNX file (.onnx)")
        super().__init__(path, mean, scale, order=order)
        self.path, self.column = path, column

    def _choose_output(self, path: str) -> tuple[str, int]:
        # What a file says of the shapes of outputs is often a name only: two images show it.
        side = (3, *self.image_size) if self._channels_first else (*self.image_size, 3)
        blank = np.zeros([self.batch_size if self.is_batch_fixed else 2, *side], np.float32)
        try:
            outputs = self._session.run(None, {self._input_name: blank})
        except Exception as error:  # onnxruntime has many kinds of its own, without a common one
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: onnxruntime cannot run it ({reason}); export the network again") from None
        tensors = {output.name: np.asarray(value) for output, value in zip(self._session.get_outputs(), outputs)}
        single = [name for name, value in tensors.items() if value.dtype.kind in "fiu" and value.size == len(blank)]
        if len(single) != 1:
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in tensors.items())
            raise InputError(
                f"{path}: its outputs for a batch of {len(blank)} are {shapes}, where exactly one of one number an "
                "image is expected; export the network with its quality as such an output"
            )
        return single[0], 1

    def _run(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(super()._run(images), np.float32).reshape(len(images), 1)

    def measure(self, images: Iterable[bytes]) -> Iterator[float]:
        """Give the quality of each encoded image, in order; NaN where it cannot be decoded or no number comes out."""
        blank = np.zeros([*self.image_size, 3], np.float32)

        def pixels(encoded: bytes) -> Optional[np.ndarray]:
            try:
                return resize_image(decode_image(encoded), self.image_size)
            except ValueError:
                return None

        decoded = map_in_order(pixels, images)
        while batch := list(itertools.islice(decoded, self.batch_size)):
            values = self.run(np.stack([blank if image is None else image for image in batch]))[:, 0]
            for image, value in zip(batch, values.tolist()):
                yield value if image is not None and np.isfinite(value) else np.nan


@dataclasses.dataclass
class QualityModelSettings:
    """The flags of a learned quality."""

    quality_model: Optional[str] = setting(
        None,
        "An ONNX network (.onnx) that gives one number for a face, its quality, such as CR-FIQA or eDifFIQA; its "
        "embedding may be there too.",
    )
    quality_column: str = setting(LEARNED, "With --quality_model, the name of the column with its numbers.")
    quality_mean: Optional[float] = setting(
        None,
        "The input of the network is (value - quality_mean) / quality_scale; default: what its file or first nodes "
        "say, and 127.5 if they say nothing.",
    )
    quality_scale: Optional[float] = setting(None, "See --quality_mean.")
    quality_order: str = setting("rgb", "The order of the channels that the network takes.", choices=ORDERS)

    def quality_network(self) -> Optional[OnnxQuality]:
        """Load the network, and say how its input is scaled; None if none is given."""
        others = [field.name for field in dataclasses.fields(QualityModelSettings) if field.name != "quality_model"]
        refuse_ignored(self, others, bool(self.quality_model), "--quality_model")
        if not self.quality_model:
            return None
        if not self.quality_column.strip():
            raise InputError("--quality_column is empty: give the column a name")
        network = OnnxQuality(
            self.quality_model, self.quality_mean, self.quality_scale, self.quality_order, self.quality_column
        )
        print(f"{self.quality_model}: input {network.input_text}", file=sys.stderr)
        return network
