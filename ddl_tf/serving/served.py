"""What is served: an embedding model as a module of traced functions, from images to answers."""

from typing import Optional

import tensorflow as tf

from ddl_tf.common.keras_version import tf_variable
from ddl_tf.images.decoding import resize_images
from ddl_tf.models.recognizer import image_size
from ddl_tf.serving.safe_decoding import decode_rows


def _strings(name: str) -> tf.TensorSpec:
    return tf.TensorSpec([None], tf.string, name)


def serving_module(model: tf.keras.Model, flip: bool = False, threshold: Optional[float] = None) -> tf.Module:
    """Wrap an embedding model for serving: inference only, from images to unit embeddings and further.

    Only the weights and the traced functions are kept, none of which has a `training` input, so that the result loads
    without Keras classes. For the arguments see `export_model`; `threshold` is a cosine similarity.

    Returns:
        The module: called with float32 `[batch, height, width, 3]`, it gives float32 `[batch, dim]` of unit norm
        (an all-zero embedding stays zero). `from_images` takes uint8 images of any one size. `from_bytes`, `search` and
        `verify` take strings `[batch]`, JPEG or PNG, and give `valid` bool `[batch]` too; see `decode_rows`. Rows that
        are not valid have zeros, are the same as nobody, and have the index -1.
    """
    (height, width), dim = image_size(model), model.output_shape[-1]
    gallery_spec, k_spec = tf.TensorSpec([None, dim], tf.float32, "gallery"), tf.TensorSpec([], tf.int32, "k")

    class Served(tf.Module):
        """What is exported."""

        def __init__(self) -> None:
            super().__init__()
            # The weights without the model, whose layers would be saved too, each with its training variant.
            self.weights = [tf_variable(weight) for weight in model.weights]

        @tf.function(input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32, "image")])
        def __call__(self, image: tf.Tensor) -> tf.Tensor:
            rows = tf.shape(image)[0]
            # Fused convolutions fail on an empty batch, so it becomes one row that is cut off again.
            image = tf.cond(rows > 0, lambda: image, lambda: tf.zeros([1, height, width, 3]))
            # One batch: the network is in the graph once.
            views = tf.concat([image, image[:, :, ::-1]], axis=0) if flip else image
            embedding = tf.cast(model(views, training=False), tf.float32)
            if flip:
                embedding = tf.add_n(tf.split(embedding, 2))
            return tf.math.l2_normalize(embedding, axis=1)[:rows]

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "image")])
        def from_images(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"embedding": self(resize_images(image, (height, width)))}

        @tf.function(input_signature=[_strings("image_bytes")])
        def from_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            images, valid = decode_rows(image_bytes, (height, width))
            # The embedding of a black image is not zero.
            return {"embedding": tf.where(valid[:, tf.newaxis], self(images), 0.0), "valid": valid}

        @tf.function(input_signature=[_strings("image_bytes"), gallery_spec, k_spec])
        def search(self, image_bytes: tf.Tensor, gallery: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
            with tf.control_dependencies(_gallery_checks(gallery, k)):
                probes = self.from_bytes(image_bytes)
            similarity = tf.matmul(probes["embedding"], tf.math.l2_normalize(gallery, axis=1), transpose_b=True)
            values, index = tf.math.top_k(similarity, k)
            index = tf.where(probes["valid"][:, tf.newaxis], index, -1)
            return {"index": index, "similarity": values, "valid": probes["valid"]}

    module = Served()
    if threshold is not None:
        module.verify = _verify(module, threshold)
    return module


def _gallery_checks(gallery: tf.Tensor, k: tf.Tensor) -> list[tf.Operation]:
    rows = tf.shape(gallery)[0]
    bad = tf.where(~tf.reduce_all(tf.math.is_finite(gallery), axis=1))[:, 0]
    fits = (k >= 1) & (k <= rows)
    return [
        tf.debugging.Assert(fits, ["k is", k, "but must be from 1 to the rows of the gallery:", rows]),
        tf.debugging.Assert(tf.size(bad) == 0, ["the gallery has a value that is not finite in row", bad], summarize=5),
    ]


def _verify(module: tf.Module, threshold: float) -> tf.types.experimental.GenericFunction:
    @tf.function(input_signature=[_strings("first"), _strings("second")])
    def verify(first: tf.Tensor, second: tf.Tensor) -> dict[str, tf.Tensor]:
        counts = tf.size(first), tf.size(second)
        alike = tf.debugging.Assert(counts[0] == counts[1], ["first and second differ in rows:", *counts])
        with tf.control_dependencies([alike]):
            both = module.from_bytes(tf.concat([first, second], axis=0))
        embeddings = tf.split(both["embedding"], 2)
        valid = tf.reduce_all(tf.stack(tf.split(both["valid"], 2)), axis=0)
        similarity = tf.where(valid, tf.reduce_sum(embeddings[0] * embeddings[1], axis=1), 0.0)
        return {"similarity": similarity, "same": valid & (similarity >= threshold), "valid": valid}

    return verify
