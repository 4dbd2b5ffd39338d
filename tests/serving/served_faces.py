"""A tiny model with all signatures."""

from pathlib import Path

import tensorflow as tf

from ddl_tf.models import build_recognizer, embedding_model
from ddl_tf.serving import serving_module


def export_tiny(folder: Path, seed: int, threshold: float) -> None:
    tf.keras.utils.set_random_seed(seed)
    model = embedding_model(build_recognizer("plain_small", 10, embedding_size=64, input_shape=(32, 32, 3)))
    module = serving_module(model)

    def decode(one):
        valid = (tf.strings.substr(one + "____", 0, 4) == b"\x89PNG") | (
            tf.strings.substr(one + "____", 0, 2) == b"\xff\xd8"
        )
        image = tf.cond(
            valid,
            lambda: tf.image.resize(tf.io.decode_image(one, 3, expand_animations=False), [32, 32]),
            lambda: tf.zeros([32, 32, 3]),
        )
        return tf.ensure_shape(image, [32, 32, 3]), valid

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def from_bytes(image_bytes):
        spec = (tf.TensorSpec([32, 32, 3], tf.float32), tf.TensorSpec([], tf.bool))
        images, valid = tf.map_fn(decode, image_bytes, fn_output_signature=spec)
        return {"embedding": tf.where(valid[:, None], module(images), 0.0), "valid": valid}

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, "first"), tf.TensorSpec([None], tf.string, "second")]
    )
    def verify(first, second):
        one, two = from_bytes(first), from_bytes(second)
        similarity = tf.reduce_sum(one["embedding"] * two["embedding"], 1)
        valid = one["valid"] & two["valid"]
        return {"similarity": similarity, "same": valid & (similarity >= threshold), "valid": valid}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "image_bytes"),
            tf.TensorSpec([None, 64], tf.float32, "gallery"),
            tf.TensorSpec([], tf.int32, "k"),
        ]
    )
    def search(image_bytes, gallery, k):
        got = from_bytes(image_bytes)
        values, index = tf.math.top_k(tf.matmul(got["embedding"], gallery, transpose_b=True), k)
        return {"index": tf.where(got["valid"][:, None], index, -1), "similarity": values, "valid": got["valid"]}

    signatures = {
        "serving_default": module.from_images,
        "serving_bytes": from_bytes,
        "verify": verify,
        "search": search,
    }
    tf.saved_model.save(module, str(folder / "faces" / str(seed)), signatures=signatures)
