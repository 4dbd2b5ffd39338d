"""Writes the small recognizer of tests/models/test_keras_files.py with the Keras of this process, and what it gives.

    python tests/golden/make_keras_files.py

once for each lane of docs/versions.md, with that lane's Python and TF_USE_LEGACY_KERAS.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from ddl_tf.common.keras_version import IS_KERAS_3, PACKAGE
from ddl_tf.layers import AdaFace, PoolNeck
from ddl_tf.models import build_recognizer, embedding_model, save_checkpoint

IMAGE = (np.arange(2 * 8 * 8 * 3) * 37 % 256).reshape(2, 8, 8, 3).astype(np.float32)


def recognizer() -> tf.keras.Model:
    """A network with what Keras 2 and Keras 3 write otherwise: models in models, batch norm, depthwise layers, sums."""
    layers = tf.keras.layers
    image = tf.keras.Input([8, 8, 3])
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(image))
    y = layers.PReLU(shared_axes=[1, 2])(layers.DepthwiseConv2D(3, padding="same")(x))
    inner = tf.keras.Sequential([tf.keras.Input([8, 8, 4]), layers.SeparableConv2D(4, 3, padding="same")])
    network = tf.keras.Model(image, layers.Add()([x, inner(y)]))
    model = build_recognizer(network, 5, AdaFace(5), input_shape=(8, 8, 3), neck=PoolNeck(6), sample_rate=0.8)
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.5, 1.5, weight.shape).astype(weight.dtype) for weight in model.get_weights()])
    return model


def main() -> None:
    """Write the file and the embeddings."""
    name = "tf_keras" if PACKAGE == "tf_keras" else "keras_3" if IS_KERAS_3 else "keras_2"
    folder, model = Path(__file__).parent / "keras_files", recognizer()
    folder.mkdir(exist_ok=True)
    save_checkpoint(model, folder / f"{name}.keras")
    np.save(folder / f"{name}.npy", embedding_model(model)(IMAGE).numpy())


if __name__ == "__main__":
    main()
