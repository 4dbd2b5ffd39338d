"""Embedding without TensorFlow's graphs: ONNX networks by onnxruntime, TensorFlow Lite models by its interpreter.

OpenVINO is in `openvino_embedder`.
"""

import abc
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ddl_tf import runtimes
from ddl_tf.common.errors import InputError
from ddl_tf.common.parallel import usable_cores

# The names under which an ONNX file may say that it takes something else.
MEAN_KEY, SCALE_KEY = "ddl_tf.input_mean", "ddl_tf.input_scale"
ORDERS = ("rgb", "bgr")
# The name under which it may say what it computes in, if that is not float32.
COMPUTES_KEY = "ddl_tf.computes_in"
# What flags say of them.
MEAN_HELP = (
    "The input of an ONNX, OpenVINO or TensorFlow Lite network is (value - input_mean) / input_scale; default: what "
    "the file or the first nodes of an ONNX file say, and 127.5 if they say nothing; 0 and 1 for TensorFlow Lite."
)
ORDER_HELP = "The order of the channels that a network of others takes."
# Among so many nodes are those that scale values.
_FIRST_NODES = 8


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep everything off stderr, where TensorFlow Lite's C++ reports its work; its errors are exceptions as well."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as elsewhere:
        os.dup2(elsewhere.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)


class Embedder(abc.ABC):
    """A network in a file, from images to embeddings. One thread at a time may use it.

    `image_size` is (height, width), `dim` the length of the embedding, `batch_size` how many images the runtime gets at
    a time, `is_batch_fixed` whether it takes exactly so many, `runtime` what runs it and computes in what, in words;
    the network gets (value - `mean`) / `scale`, with the channels in the `order`. `usual` are mean and scale where they
    are None, and why it is these, in words.
    """

    image_size: tuple[int, int]
    dim: int
    runtime: str
    batch_size = 16
    is_batch_fixed = False

    def __init__(
        self, mean: Optional[float], scale: Optional[float], order: str, usual: tuple[float, float, str]
    ) -> None:
        why = usual[2] if mean is None and scale is None else "as given"
        mean, scale = usual[0] if mean is None else mean, usual[1] if scale is None else scale
        if not np.isfinite([mean, scale]).all() or scale == 0:
            raise InputError(f"input mean {mean}, input scale {scale}: give numbers, and a scale that is not 0")
        if order not in ORDERS:
            raise InputError(f"input order {order!r}: use one of {', '.join(ORDERS)}")
        self.mean, self.scale, self.order = float(mean), float(scale), order
        self.input_text = f"(value - {mean:g}) / {scale:g}, {order.upper()} ({why})"

    def _input(self, images: np.ndarray) -> np.ndarray:
        # Not in place: it may be the caller's array.
        mean, scale = np.float32(self.mean), np.float32(self.scale)
        scaled = images if (mean, scale) == (0, 1) else (images - mean) / scale
        return scaled if self.order == "rgb" else np.ascontiguousarray(scaled[..., ::-1])

    def _full(self, images: np.ndarray) -> np.ndarray:
        missing = self.batch_size - len(images) if self.is_batch_fixed else 0
        return np.concatenate([images, np.zeros([missing, *images.shape[1:]], np.float32)]) if missing else images

    @abc.abstractmethod
    def _run(self, images: np.ndarray) -> np.ndarray:
        """One batch, float32 and scaled, through the runtime."""

    def run(self, images: np.ndarray) -> np.ndarray:
        """Embed images `[n, height, width, 3]`, values 0..255 RGB: `[n, dim]` float32, not always of unit norm."""
        if images.shape[1:] != (*self.image_size, 3):
            height, width = self.image_size
            raise InputError(f"images of shape {list(images.shape)}: the network takes [n, {height}, {width}, 3]")
        batches = (images[start : start + self.batch_size] for start in range(0, len(images), self.batch_size))
        rows = [self._run(self._input(self._full(batch.astype(np.float32))))[: len(batch)] for batch in batches]
        return np.concatenate([np.zeros([0, self.dim], np.float32), *rows]).astype(np.float32, copy=False)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed images, uint8 `[n, height, width, 3]` RGB: `[n, dim]` float32 of unit norm, but zeros stay zeros."""
        if images.dtype != np.uint8:
            raise InputError(f"images of type {images.dtype}: pixels are uint8, 0..255; see `run` for others")
        embeddings = self.run(images)
        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        return embeddings / np.where(norms > 0, norms, 1)


class OnnxEmbedder(Embedder):
    """An ONNX network on the CPU by onnxruntime.

    Its input is `[batch, 3, height, width]` or `[batch, height, width, 3]`; of several outputs the first is the
    embedding.

    Args:
        path: the `.onnx` file.
        mean: the network's input is (value - mean) / scale, of values 0..255. By default 0 and 1 where the network
            scales values itself, and else 127.5 and 127.5, as InsightFace's networks want it. The file may say so, as
            those of `python -m ddl_tf.convert` do, or a subtraction and a multiplication are among its first nodes.
        scale: see `mean`; not 0.
        threads: of one operation; all cores if None.
        order: of the channels that the network takes, "rgb" or "bgr".

    Raises:
        InputError: if onnxruntime is not installed, or the file holds no network from images of one size to embeddings.

    Example:
        >>> OnnxEmbedder("converted/model.onnx").embed(np.zeros([1, 112, 112, 3], np.uint8)).shape  # doctest: +SKIP
        (1, 512)
    """

    def __init__(
        self,
        path: str,
        mean: Optional[float] = None,
        scale: Optional[float] = None,
        threads: Optional[int] = None,
        order: str = "rgb",
    ) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise InputError(f"{path}: ONNX networks need onnxruntime; pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or usable_cores()
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has many kinds of its own, without a common one
            raise InputError(f"{path}: onnxruntime cannot load it ({error}); export the network again") from None
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        channel_axes = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] == 3]
        sizes = [side for side in shape[1:] if side != 3 or not channel_axes]
        if len(inputs) != 1 or len(channel_axes) != 1 or not all(isinstance(side, int) for side in sizes):
            raise InputError(
                f"{path}: takes {[tensor.shape for tensor in inputs]}, where one [batch, 3, height, width] or "
                "[batch, height, width, 3] of fixed size is expected; export it for images of one size"
            )
        self._input_name, self._channels_first = inputs[0].name, channel_axes == [1]
        self.image_size = tuple(shape[2:] if self._channels_first else shape[1:3])
        if isinstance(shape[0], int):
            self.batch_size, self.is_batch_fixed = shape[0], True
        self._output, self.dim = self._choose_output(path)
        facts = self._session.get_modelmeta().custom_metadata_map
        if mean is not None and scale is not None:
            usual: tuple[float, float, str] = (mean, scale, "")
        elif MEAN_KEY in facts and SCALE_KEY in facts:
            usual = float(facts[MEAN_KEY]), float(facts[SCALE_KEY]), "as its file says"
        elif scales_itself(path):
            usual = 0, 1, "its first nodes scale values themselves"
        else:
            usual = 127.5, 127.5, "as InsightFace's networks take it"
        super().__init__(mean, scale, order, usual)
        computes = f", computes in {facts[COMPUTES_KEY]}" if COMPUTES_KEY in facts else ""
        self.runtime = f"onnxruntime {onnxruntime.__version__}{computes}"

    def _choose_output(self, path: str) -> tuple[str, int]:
        """The name of the output that is used, and how many values it has for an image."""
        output = self._session.get_outputs()[0]
        if len(output.shape) != 2 or not isinstance(output.shape[1], int):
            raise InputError(f"{path}: its first output is {output.shape}, where [batch, dim] is expected")
        return output.name, output.shape[1]

    def _run(self, images: np.ndarray) -> np.ndarray:
        if self._channels_first:
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        return self._session.run([self._output], {self._input_name: images})[0]


def scales_itself(path: str) -> bool:
    """Whether an ONNX network scales its input itself: by the names of its first nodes, as InsightFace's `ArcFaceONNX`.

    Where an exporter gives other names, a shift and a scaling of the input itself count.
    """
    try:
        import onnx
    except ImportError:
        advice = "pip install onnx, or give the input mean and scale"
        raise InputError(f"{path}: to see whether the network scales values itself takes onnx; {advice}") from None
    graph = onnx.load(path, load_external_data=False).graph
    nodes = graph.node[:_FIRST_NODES]
    if all(any(node.name.startswith(names) for node in nodes) for names in (("Sub", "_minus"), ("Mul", "_mul"))):
        return True
    weights = {tensor.name for tensor in graph.initializer}
    (tensor,) = [node.name for node in graph.input if node.name not in weights]
    operations = set()
    for node in nodes:
        if tensor in node.input:
            if node.op_type not in ("Sub", "Add", "Mul", "Div", "Transpose", "Cast", "Identity"):
                break
            operations.add(node.op_type)
            tensor = node.output[0]
    return bool(operations & {"Sub", "Add"}) and bool(operations & {"Mul", "Div"})


def _interpreter(path: str, threads: int) -> Any:
    """TensorFlow Lite's interpreter, or that of LiteRT, which takes its place where TensorFlow has none any more."""
    import tensorflow as tf

    if hasattr(tf, "lite"):
        return tf.lite.Interpreter(path, num_threads=threads)
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise InputError(
            f"{path}: TensorFlow {tf.__version__} has no interpreter: pip install ai-edge-litert"
        ) from None
    return Interpreter(path, num_threads=threads)


class TfliteEmbedder(Embedder):
    """A TensorFlow Lite model on the CPU: float32 in, float32 embedding out.

    Args are those of `OnnxEmbedder`; mean and scale are 0 and 1 by default, as for files of `python -m ddl_tf.convert`.

    Raises:
        InputError: if the file is missing, or holds no model from images of one size to embeddings.
    """

    def __init__(
        self,
        path: str,
        threads: Optional[int] = None,
        mean: Optional[float] = None,
        scale: Optional[float] = None,
        order: str = "rgb",
    ) -> None:
        super().__init__(mean, scale, order, (0, 1, "as files of ddl_tf.convert take it"))
        self.runtime = "TensorFlow Lite"
        if not Path(path).is_file():
            raise InputError(f"no model at {path}: there is no such file")
        try:
            with quiet_stderr():
                self._interpreter = _interpreter(path, threads or usable_cores())
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: TensorFlow Lite cannot load it ({reason}); convert the model again") from None
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        shape, output = inputs[0]["shape_signature"].tolist(), outputs[0]["shape_signature"].tolist()
        is_image = len(inputs) == 1 and len(shape) == 4 and shape[3] == 3 and min(shape[1:]) > 0
        if not is_image or inputs[0]["dtype"] != np.float32:
            kinds = [f"{tensor['dtype'].__name__} {tensor['shape_signature'].tolist()}" for tensor in inputs]
            raise InputError(f"{path}: takes {kinds}, where one float32 [batch, height, width, 3] is expected")
        if len(output) != 2 or outputs[0]["dtype"] != np.float32 or output[1] < 1:
            raise InputError(f"{path}: its first output is {output}, where float32 [batch, dim] is expected")
        self._input_index, self._output = inputs[0]["index"], outputs[0]["index"]
        self.image_size, self.dim, self._rows = (shape[1], shape[2]), output[1], 0
        if shape[0] > 0:
            self.batch_size, self.is_batch_fixed = shape[0], True

    def _run(self, images: np.ndarray) -> np.ndarray:
        if len(images) != self._rows:
            self._interpreter.resize_tensor_input(self._input_index, images.shape)
            self._interpreter.allocate_tensors()
            self._rows = len(images)
        self._interpreter.set_tensor(self._input_index, images)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)


# By the ending of the file's name: what it is, in words, and its runtime.
RUNTIMES: dict[str, tuple[str, Callable[..., Embedder]]] = {
    ".onnx": ("an ONNX network", OnnxEmbedder),
    ".tflite": ("a TensorFlow Lite model", TfliteEmbedder),
    ".xml": ("an OpenVINO network", lambda *args, **kwargs: runtimes.OpenvinoEmbedder(*args, **kwargs)),
}


def open_embedder(
    path: str, mean: Optional[float] = None, scale: Optional[float] = None, order: str = "rgb"
) -> Embedder:
    """Open a network by the runtime that `RUNTIMES` has for its file, and say on stderr how its input is scaled.

    Args are those of `OnnxEmbedder`, and so is what is raised.
    """
    _, runtime = RUNTIMES[Path(path).suffix.lower()]
    embedder = runtime(path, mean=mean, scale=scale, order=order)
    print(f"{path}: {embedder.runtime}; input {embedder.input_text}", file=sys.stderr)
    return embedder
