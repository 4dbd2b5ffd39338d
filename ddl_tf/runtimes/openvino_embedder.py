"""Embedding by OpenVINO, on CPUs."""

from pathlib import Path
from typing import Any, Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.parallel import usable_cores
from ddl_tf.runtimes.embedders import Embedder
from ddl_tf.runtimes.openvino_package import (
    COMPUTED_IN,
    COMPUTES,
    DIGEST,
    SECTION,
    digest_of,
    load_openvino,
    reason,
    require_precision,
)


class OpenvinoEmbedder(Embedder):
    """An OpenVINO network on the CPU: `[batch, 3, height, width]` or `[batch, height, width, 3]` in, embedding out.

    Left alone, OpenVINO computes in bfloat16 on every CPU that can. Here the precision is that of the file, as
    `python -m ddl_tf.convert` wrote it, and float32 for networks of others.

    Args:
        path: the `.xml` file; the `.bin` file of the same name is beside it.
        mean: the network's input is (value - mean) / scale, of values 0..255. By default 0 and 1 for files of
            `python -m ddl_tf.convert`, and else 127.5 and 127.5, as InsightFace's networks want it.
        scale: see `mean`; not 0.
        threads: all cores if None.
        order: of the channels that the network takes, "rgb" or "bgr".
        precision: what is not int8 is computed in "float32" or "bfloat16"; None for that of the file.

    Raises:
        InputError: if the package openvino is not installed, a file is missing or damaged, the two do not belong
            together, the CPU lacks the precision, or it is no network from images of one size to embeddings.

    Example:
        >>> OpenvinoEmbedder("converted/model_int8.xml").embed(np.zeros([1, 112, 112, 3], np.uint8))  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str,
        mean: Optional[float] = None,
        scale: Optional[float] = None,
        threads: Optional[int] = None,
        order: str = "rgb",
        precision: Optional[str] = None,
    ) -> None:
        openvino = load_openvino(path)
        weights = Path(path).with_suffix(".bin")
        for file in (Path(path), weights):
            if not file.is_file():
                raise InputError(f"{path}: no file {file}; a network of OpenVINO is a .xml and a .bin file")
        core = openvino.Core()
        try:
            network = core.read_model(path)
        except Exception as error:  # it raises RuntimeError, and other kinds for some files
            raise InputError(f"{path}: OpenVINO cannot load it ({reason(error)}); convert the model again") from None
        is_ours = network.has_rt_info([SECTION, DIGEST])
        if is_ours and _said(network, DIGEST) != digest_of(weights):
            raise InputError(f"{weights} holds other weights than those that {path} was written with; convert again")
        precision = precision or (_said(network, COMPUTES) if is_ours else "float32")
        if precision not in COMPUTED_IN:
            raise InputError(f"{path}: precision {precision!r}: use one of {', '.join(COMPUTED_IN)}")
        require_precision(core, precision, path)
        ours, others = (0, 1, "as files of ddl_tf.convert take it"), (127.5, 127.5, "as InsightFace's networks take it")
        super().__init__(mean, scale, order, ours if is_ours else others)
        self._check(path, network)
        settings = {
            "INFERENCE_PRECISION_HINT": COMPUTED_IN[precision],
            "INFERENCE_NUM_THREADS": threads or usable_cores(),
            "PERFORMANCE_HINT": "LATENCY",
            # Else the threads of two processes may share a core while another has nothing to do.
            "ENABLE_CPU_PINNING": False,
        }
        if self._channels_first:
            # The network turns the images, faster than NumPy.
            steps = openvino.preprocess.PrePostProcessor(network)
            steps.input().tensor().set_layout(openvino.Layout("NHWC"))
            steps.input().model().set_layout(openvino.Layout("NCHW"))
            network = steps.build()
        self._compile = lambda: core.compile_model(network, "CPU", settings).create_infer_request()
        # By the number of images; -1 for any.
        self._network, self._requests = network, dict[int, Any]()
        quantized = any(operation.get_type_name() == "FakeQuantize" for operation in network.get_ops())
        computed = f"int8, the rest in {precision}" if quantized else precision
        self.runtime = f"OpenVINO {openvino.__version__.split('-')[0]}, computes in {computed}"

    def _check(self, path: str, network: Any) -> None:
        """Refuse what is no network from one image to an embedding, and take what it says of their sizes."""
        shapes = [tensor.get_partial_shape() for tensor in network.inputs]
        sides = [None if side.is_dynamic else side.get_length() for side in (shapes[0] if len(shapes) == 1 else [])]
        channel_axes = [axis for axis in (1, 3) if len(sides) == 4 and sides[axis] == 3]
        if len(channel_axes) != 1 or None in sides[1:]:
            raise InputError(
                f"{path}: takes {[str(shape) for shape in shapes]}, where one [batch, 3, height, width] or "
                "[batch, height, width, 3] of fixed size is expected; export it for images of one size"
            )
        output = network.outputs[0].get_partial_shape()
        if len(output) != 2 or output[1].is_dynamic:
            raise InputError(f"{path}: its first output is {output}, where [batch, dim] is expected")
        self._channels_first, self.dim = channel_axes == [1], output[1].get_length()
        height, width = sides[2:] if self._channels_first else sides[1:3]
        self.image_size = (int(height or 0), int(width or 0))
        if sides[0]:
            self.batch_size, self.is_batch_fixed = sides[0], True

    def _run(self, images: np.ndarray) -> np.ndarray:
        # For one image of fixed shape a network of depthwise convolutions is 7% faster.
        batch = len(images) if len(images) == 1 or self.is_batch_fixed else -1
        if batch not in self._requests:
            self._network.reshape([batch, *self.image_size, 3])
            self._requests[batch] = self._compile()
        # The images are used as they lie, without a copy. The next call writes to the memory of this one's result.
        return np.array(self._requests[batch].infer({0: np.ascontiguousarray(images)}, share_inputs=True)[0])


def _said(network: Any, name: str) -> str:
    return str(network.get_rt_info([SECTION, name]).astype(str))
