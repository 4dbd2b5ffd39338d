"""The function that becomes an ONNX or TensorFlow Lite file: inference alone, from images to unit embeddings."""

from typing import Any

import tensorflow as tf

from ddl_tf.models.recognizer import image_size


def unit_embedding(model: tf.keras.Model, flip: bool = False) -> Any:
    """Trace the inference of a model, which must outlive it: `image` -> `embedding` `[batch, dim]` of unit norm.

    With `flip` the embedding of the mirrored image is added.
    """
    height, width = image_size(model)

    @tf.function(input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32, "image")])
    def embed(image: tf.Tensor) -> dict[str, tf.Tensor]:
        views = [image, image[:, :, ::-1]] if flip else [image]
        embeddings = [tf.cast(model(view, training=False), tf.float32) for view in views]
        # A sum of one would be an operation more.
        embedding = tf.add_n(embeddings) if flip else embeddings[0]
        return {"embedding": tf.math.l2_normalize(embedding, axis=1)}

    return embed.get_concrete_function()


def in_float32(model: tf.keras.Model) -> tf.keras.Model:
    """Copy a model that was trained in half precision, whose operations other runtimes lack, to compute in float32."""
    if all(layer.compute_dtype in ("float32", None) for layer in model._flatten_layers()):
        return model

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            if value.get("class_name") in ("Policy", "DTypePolicy"):
                return "float32"
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(plain, value))
        return "float32" if value in ("mixed_float16", "mixed_bfloat16") else value

    copy = type(model).from_config(plain(model.get_config()))
    copy.set_weights(model.get_weights())
    return copy
