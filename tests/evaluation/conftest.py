import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="session")
def tiny_model():
    """[batch, 16, 16, 3] -> [batch, 8], with batch norm whose statistics matter."""
    tf.keras.utils.set_random_seed(0)
    image = tf.keras.Input([16, 16, 3])
    x = tf.keras.layers.Rescaling(1 / 127.5, -1)(image)
    x = tf.keras.layers.Conv2D(4, 3, strides=2)(x)
    x = tf.keras.layers.BatchNormalization()(x)
    model = tf.keras.Model(image, tf.keras.layers.Dense(8)(tf.keras.layers.Flatten()(x)))
    model.layers[3].moving_mean.assign([0.3, -0.2, 0.1, 0.5])
    return model


@pytest.fixture(scope="session")
def pictures():
    """21 encoded PNG images of the tiny model's size, and their pixels."""
    pixels = np.random.RandomState(0).randint(0, 256, [21, 16, 16, 3]).astype(np.uint8)
    return [tf.io.encode_png(image).numpy() for image in pixels], pixels
