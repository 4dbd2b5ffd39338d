"""A tiny embedding model with every kind of operation that the backbones have, far from its initial state."""

import numpy as np
import tensorflow as tf

from ddl_tf.layers import DepthwiseNeck, FlattenNeck, GroupedConvolution
from ddl_tf.models import build_embedding_model
from ddl_tf.models.iresnet import ir_block
from ddl_tf.models.torch_layers import batch_norm, convolution, prelu

SIDE, DIM = 24, 32


def tiny_embedding(neck="depthwise"):
    """Plain, strided, grouped and depthwise convolutions, PReLU, an IR block with its normalisation before padding."""
    tf.keras.utils.set_random_seed(0)
    image = tf.keras.Input([SIDE, SIDE, 3])
    x = prelu(batch_norm(convolution(image, 8, 3, 2)))
    x = prelu(batch_norm(GroupedConvolution(4)(x)))
    x = tf.keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = ir_block(x, 16, 2, "block")
    necks = {"depthwise": DepthwiseNeck(DIM, name="neck"), "flatten": FlattenNeck(DIM, dropout=0.5, name="neck")}
    model = build_embedding_model(tf.keras.Model(image, x), input_shape=(SIDE, SIDE, 3), neck=necks[neck])
    random = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, tf.keras.layers.PReLU):
            layer.alpha.assign(random.uniform(-0.2, 0.6, layer.alpha.shape))
        elif isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = 0.0
    # The statistics of the normalisations become those of such images, so that embeddings differ.
    model(some_images(128).astype(np.float32), training=True)
    return model


def some_images(count, seed=0):
    """Smooth pictures with some noise, each of other colours, and of all grey levels together."""
    random = np.random.default_rng(seed)
    coarse = tf.image.resize(random.uniform(0, 255, [count, 4, 4, 3]), [SIDE, SIDE], "bicubic").numpy()
    return np.clip(coarse + random.normal(0, 10, coarse.shape), 0, 255).astype(np.uint8)


def unit_embeddings(model, images, flip=False):
    """By Keras itself, in float64 at the end."""
    if not len(images):
        return np.zeros([0, DIM])
    views = [images, images[:, :, ::-1]] if flip else [images]
    total = sum(model(view.astype(np.float32), training=False).numpy().astype(np.float64) for view in views)
    return total / np.linalg.norm(total, axis=1, keepdims=True)


def largest_distance(rows, expected):
    """The largest 1 - cosine."""
    return np.max(1 - np.sum(rows * expected, axis=1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(expected, axis=1))
