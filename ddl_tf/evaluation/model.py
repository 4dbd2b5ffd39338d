"""From the path that a user gives to an embedding model."""

from collections.abc import Callable
from pathlib import Path
from typing import Optional

import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.models import convert_insightface, embedding_model, load_checkpoint
from ddl_tf.models.model_choice import OTHER_NETWORKS, find_checkpoint, is_exported
from ddl_tf.runtimes.embedders import ORDERS, RUNTIMES, Embedder, open_embedder

_STATE_DICTS = (".pth", ".pt")


class _Network(tf.keras.layers.Layer):
    """What embeds a batch of images, as a layer: an exported model, or a network of others."""

    def __init__(self, embed: Callable[[tf.Tensor], tf.Tensor]) -> None:
        super().__init__(trainable=False)
        self._embed = embed

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return self._embed(images)


def load_checkpoint_embedding(path: str) -> tf.keras.Model:
    """Load the embedding model of a checkpoint, without its head: images of 0..255 RGB -> `[batch, dim]`."""
    return embedding_model(load_checkpoint(str(find_checkpoint(path))))


def _refuse_unused(path: str, kind: str, **flags: bool) -> None:
    unused = [f"--{name}" for name, is_given in flags.items() if is_given]
    if unused:
        raise InputError(f"{path} is {kind}, which does not use {' and '.join(unused)}; leave it out")


def load_embedding_model(
    path: str,
    backbone: Optional[str] = None,
    mean: Optional[float] = None,
    scale: Optional[float] = None,
    order: str = "rgb",
) -> tf.keras.Model:
    """Load an embedding model: a checkpoint, a training run, an export, or a network of others.

    Args:
        path: a `.keras` file, the folder of a training run, the version folder of an exported model, an ONNX network
            (`.onnx`), an OpenVINO network (`.xml`), a TensorFlow Lite model (`.tflite`), or a PyTorch state dict of
            InsightFace (`.pth`, `.pt`).
        backbone: of a state dict, such as `iresnet50`.
        mean: the input of a network in a file of a runtime is (value - mean) / scale, of values 0..255; by default what
            the ONNX or OpenVINO file says, and 127.5 if it says nothing; 0 and 1 for TensorFlow Lite.
        scale: see `mean`; not 0.
        order: of the channels that a network of others takes, "rgb" or "bgr".

    Returns:
        image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`. That of an exported or
        converted model has unit norm.

    Raises:
        InputError: if there is no model, it cannot be loaded, or it does not use what is given beside the path.
    """
    if order not in ORDERS:
        raise InputError(f"input order {order!r}: use one of {', '.join(ORDERS)}")
    suffix = Path(path).suffix.lower()
    if suffix in (*RUNTIMES, *_STATE_DICTS) and not Path(path).is_file():
        suffixes = ", ".join((*RUNTIMES, *_STATE_DICTS))
        raise InputError(f"no model at {path}: there is no such file; give one of the kinds {suffixes}")
    if suffix in RUNTIMES:
        _refuse_unused(path, RUNTIMES[suffix][0], backbone=bool(backbone))
        return as_embedding_model(open_embedder(path, mean, scale, order), Path(path).stem)
    scaling = {"input_mean": mean is not None, "input_scale": scale is not None}
    if suffix in _STATE_DICTS:
        _refuse_unused(path, "a PyTorch state dict, scaled as InsightFace does it", **scaling)
        if not backbone:
            raise InputError(
                f"{path} is a PyTorch state dict: say what it is of, such as --backbone=iresnet50{OTHER_NETWORKS}"
            )
        model = convert_insightface(path, backbone)
        if order == "rgb":
            return model
        image = tf.keras.Input(model.input_shape[1:])
        return tf.keras.Model(image, model(image[..., ::-1]), name=model.name)
    kind = "an exported model" if is_exported(Path(path)) else "a checkpoint"
    _refuse_unused(
        path, f"{kind}, of RGB values 0..255", backbone=bool(backbone), **scaling, input_order=order != "rgb"
    )
    if not is_exported(Path(path)):
        return load_checkpoint_embedding(path)
    try:
        exported = tf.saved_model.load(path)
        (function,) = exported.__call__.concrete_functions
        (shape,) = (argument.shape for argument in function.structured_input_signature[0])
    except (AttributeError, ValueError, IndexError, OSError, tf.errors.OpError) as error:
        raise InputError(
            f"{path} holds no embedding model of `python -m ddl_tf.export` ({type(error).__name__}: {error}); "
            "export it again"
        ) from None
    image = tf.keras.Input(shape[1:])
    return tf.keras.Model(image, _Network(exported)(image))


def as_embedding_model(embedder: Embedder, name: str) -> tf.keras.Model:
    """Make an embedding model of an embedder: images `[batch, height, width, 3]` of 0..255 RGB -> `[batch, dim]`.

    Its attribute `runtime` is that of the embedder.
    """

    def embed(images: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(embedder.run, [images], tf.float32), [None, embedder.dim])

    image = tf.keras.Input([*embedder.image_size, 3])
    model = tf.keras.Model(image, _Network(embed)(image), name=name)
    model.runtime = embedder.runtime
    return model
