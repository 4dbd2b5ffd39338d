"""SavedModels in TensorFlow Serving's layout."""

import os
import re
import tempfile
from pathlib import Path

import tensorflow as tf

from ddl_tf.data.decoding import decode_image, resize_images
from ddl_tf.errors import InputError
from ddl_tf.evaluation.embed import image_size
from ddl_tf.files import as_os_errors


def serving_module(model: tf.keras.Model, flip: bool = False) -> tf.Module:
    """Wrap an embedding model for serving: inference only, from images to unit embeddings.

    Only the weights and three traced functions are kept, none of which has a `training` input, so that the result
    loads without Keras classes: the module itself, on images of the model's size; `from_images`; `from_bytes`.

    Args:
        model: image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`.
        flip: whether to add the embedding of the mirrored image, at twice the cost.

    Returns:
        The module: called with float32 `[batch, height, width, 3]`, it gives float32 `[batch, dim]` of unit norm
        (an all-zero embedding stays zero). `from_images` takes uint8 images of any one size, `from_bytes` strings.

    Raises:
        InputError: if the model has another input, or no fixed size.
    """
    height, width = image_size(model)

    class Served(tf.Module):
        """What is exported."""

        def __init__(self) -> None:
            super().__init__()
            # The weights without the model, whose layers would be saved too, each with its training variant.
            self.weights = list(model.weights)

        @tf.function(input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32, "image")])
        def __call__(self, image: tf.Tensor) -> tf.Tensor:
            rows = tf.shape(image)[0]
            # Fused convolutions fail on an empty batch, so it becomes one row that is cut off again.
            image = tf.cond(rows > 0, lambda: image, lambda: tf.zeros([1, height, width, 3]))
            views = [image, image[:, :, ::-1]] if flip else [image]
            embedding = tf.add_n([tf.cast(model(view, training=False), tf.float32) for view in views])
            return tf.math.l2_normalize(embedding, axis=1)[:rows]

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "image")])
        def from_images(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"embedding": self(resize_images(image, (height, width)))}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
        def from_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            images = tf.map_fn(
                lambda encoded: resize_images(decode_image(encoded), (height, width)),
                image_bytes,
                fn_output_signature=tf.TensorSpec([height, width, 3], tf.float32),
            )
            return {"embedding": self(images)}

    return Served()


def describe_signatures(path: str) -> list[str]:
    """Read back the signatures of an exported model.

    Args:
        path: the folder of a version.

    Returns:
        A line for each, such as `serving_bytes: image_bytes string (None,) -> embedding float32 (None, 512)`.
    """

    def tensors(named: dict[str, tf.TensorSpec]) -> str:
        return ", ".join(f"{name} {spec.dtype.name} {spec.shape}" for name, spec in named.items())

    return [
        f"{name}: {tensors(function.structured_input_signature[1])} -> {tensors(function.structured_outputs)}"
        for name, function in sorted(tf.saved_model.load(path).signatures.items())
    ]


def _next_version(folder: Path) -> int:
    return max((int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()), default=0) + 1


def export_model(model: tf.keras.Model, name: str, directory: str = "saved_models", flip: bool = False) -> Path:
    """Export an embedding model to `<directory>/<name>/<version>/`, where version is the next free number.

    The SavedModel has the signatures `serving_default` (`image` uint8 `[batch, height, width, 3]` RGB, resized where
    it has another size than the model's) and `serving_bytes` (`image_bytes` string `[batch]`, JPEG or PNG); both
    give `embedding` float32 `[batch, dim]` of unit norm. A version appears whole or not at all, so that a server
    that watches the folder never loads half a model.

    Args:
        model: image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`.
        name: the name that the model is served by.
        directory: the folder of all exported models.
        flip: whether to add the embedding of the mirrored image, at twice the cost.

    Returns:
        The folder of the new version.

    Raises:
        InputError: if the name cannot name a folder, or the model has another input or no fixed size.

    Example:
        >>> export_model(embedding_model(load_checkpoint("best.keras")), "faces")
        PosixPath('saved_models/faces/1')
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise InputError(
            f"model name {name!r}: use letters, digits, '_', '-' and '.', and do not start with '.' or '-'"
        )
    module = serving_module(model, flip)
    folder = Path(directory) / name
    folder.mkdir(parents=True, exist_ok=True)
    # In the same folder, hence on the same file system; servers take only numbers for versions.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as aside:
        written = os.path.join(aside, "model")
        signatures = {"serving_default": module.from_images, "serving_bytes": module.from_bytes}
        with as_os_errors(folder):
            tf.saved_model.save(module, written, signatures=signatures)
        version = folder / str(_next_version(folder))
        os.rename(written, version)
    return version
