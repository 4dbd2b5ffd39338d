"""The recognizer: backbone, neck and margin head as one Keras model."""

import inspect
from typing import Optional, Union

import tensorflow as tf

from ddl_tf import layers
from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_version import refuse_other
from ddl_tf.layers import MarginHead, PartialFC, ShardedHead, synchronize_batch_norm
from ddl_tf.models.backbones import build_backbone, default_neck
from ddl_tf.models.checkpoints import has_parts
from ddl_tf.models.gradient_checkpointing import RecomputedModel
from ddl_tf.models.model_choice import HEAD_CLASSES

HEADS: dict[str, type[MarginHead]] = {name: getattr(layers, kind) for name, kind in HEAD_CLASSES.items()}


def _renamed(layer: tf.keras.layers.Layer, name: str) -> tf.keras.layers.Layer:
    """A copy, since a layer's name cannot be changed."""
    return type(layer).from_config({**layer.get_config(), "name": name})


def _refuse_given(part: str, **arguments: Optional[float]) -> None:
    """Refuse arguments that a part which is there already would not follow."""
    for name, value in arguments.items():
        if value is not None:
            raise InputError(f"{name}={value} would be ignored: give it to the {part}, or leave it out here")


def _as_head(
    head: Union[str, MarginHead], num_classes: int, margin: Optional[float], scale: Optional[float]
) -> MarginHead:
    if isinstance(head, MarginHead):
        _refuse_given(f"{type(head).__name__} that is the head", margin=margin, scale=scale)
        if head.num_classes != num_classes:
            raise InputError(f"the head has {head.num_classes} classes, but num_classes is {num_classes}")
        return _renamed(head, "head")
    if head not in HEADS:
        raise InputError(f"unknown head {head!r}: use one of {', '.join(sorted(HEADS))}")
    if margin is not None and "margin" not in inspect.signature(HEADS[head]).parameters:
        raise InputError(f"the head {head} has no single margin, got {margin}: leave the margin out")
    margins = {} if margin is None else {"margin": margin}
    try:
        return HEADS[head](num_classes, scale=64.0 if scale is None else scale, name="head", **margins)
    except ValueError as error:
        raise InputError(f"head {head}: {error}") from None


def build_embedding_model(
    backbone: Union[str, tf.keras.Model],
    embedding_size: Optional[int] = None,
    input_shape: tuple[int, int, int] = (112, 112, 3),
    neck: Optional[tf.keras.layers.Layer] = None,
    dropout: Optional[float] = None,
    sync_batch_norm: bool = False,
    recompute: bool = False,
) -> tf.keras.Model:
    """Build a network from images to embeddings, without a head.

    Args:
        backbone: a name, as for `build_backbone`; a Keras model from an image in [-1, 1] to a feature map, or to an
            embedding, which is taken as it is; or an embedding model of this function's form, of a checkpoint say.
        embedding_size: length of the embedding, for the default neck; 512 if not given.
        input_shape: `(height, width, channels)` of the images.
        neck: layer from feature map to embedding, of which a copy is used; by default the one that the backbone is
            published with.
        dropout: share of the features that are dropped while training, for the default neck; 0 if not given.
        sync_batch_norm: whether batch normalisation is by the batch of all replicas; see `synchronize_batch_norm`.
        recompute: whether the backbone is a `RecomputedModel`, which saves memory in training.

    Returns:
        image `[batch, height, width, channels]`, values 0..255 RGB -> embedding `[batch, embedding_size]` float32,
        not normalised. Its layers "backbone" and "neck" are the parts; scaling to [-1, 1] is inside.

    Raises:
        InputError: if there is no backbone of that name, an argument is out of its range, or a neck that is there
            already is given its arguments here.

    Example:
        >>> model = build_embedding_model("plain_small", 128, (48, 48, 3))
        >>> model(tf.zeros([2, 48, 48, 3])).shape
        TensorShape([2, 128])
    """
    for part, name in ((backbone, "the backbone"), (neck, "the neck")):
        refuse_other(part, name)
    is_whole = not isinstance(backbone, str) and has_parts(backbone)
    whole = build_backbone(backbone, input_shape) if isinstance(backbone, str) else backbone
    if is_whole:
        network = embedding_model(backbone)
    elif isinstance(backbone, str):
        network = whole
    else:
        image = tf.keras.Input(input_shape, name="image")
        network = tf.keras.Model(image, backbone(image), name="backbone")
    if not isinstance(backbone, str) and len(network.output_shape) == 2:
        _refuse_given("network, whose embedding is finished", embedding_size=embedding_size, dropout=dropout)
        if neck is not None:
            raise InputError(f"{type(neck).__name__} would be a neck behind a finished embedding: leave the neck out")
        neck = tf.keras.layers.Activation("linear")
    if is_whole:
        if recompute:
            raise InputError("recompute=True needs a backbone that is built here, not the network of a checkpoint")
        if tuple(network.input_shape[1:]) != tuple(input_shape):
            raise InputError(f"the network takes images {network.input_shape[1:]}, but input_shape is {input_shape}")
        if sync_batch_norm:
            synchronize_batch_norm(network)
        return network
    if recompute:
        network = RecomputedModel(whole.input, whole.output, name=network.name)
    if neck is None:
        try:
            size = 512 if embedding_size is None else embedding_size
            neck = default_neck(backbone if isinstance(backbone, str) else "a Keras model", size, dropout or 0.0)
        except ValueError as error:
            raise InputError(str(error)) from None
    else:
        _refuse_given(f"{type(neck).__name__} that is the neck", embedding_size=embedding_size, dropout=dropout)
        neck = _renamed(neck, "neck")
    image = tf.keras.Input(input_shape, name="image")
    # In float32: half precision would round the grey levels.
    scaled = tf.keras.layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="scaling")(image)
    features = network(scaled)
    # Keras names the output of `fit` by its last layer.
    embedding = tf.keras.layers.Activation("linear", dtype="float32", name="embedding")(neck(features))
    model = tf.keras.Model(image, embedding, name="embedding_model")
    if sync_batch_norm:
        synchronize_batch_norm(model)
    return model


def build_recognizer(
    backbone: Union[str, tf.keras.Model],
    num_classes: int,
    head: Union[str, MarginHead] = "arcface",
    embedding_size: Optional[int] = None,
    input_shape: tuple[int, int, int] = (112, 112, 3),
    neck: Optional[tf.keras.layers.Layer] = None,
    dropout: Optional[float] = None,
    margin: Optional[float] = None,
    scale: Optional[float] = None,
    sample_rate: float = 1.0,
    sharded_head: bool = False,
    sync_batch_norm: bool = False,
    recompute: bool = False,
) -> tf.keras.Model:
    """Build a recognizer with random weights.

    Args:
        backbone: as for `build_embedding_model`.
        num_classes: number of identities.
        head: a name of `HEADS`, or a `MarginHead`, of which a copy is used.
        embedding_size: as for `build_embedding_model`, like all that follow without an explanation.
        input_shape: `(height, width, channels)` of the images.
        neck: layer from feature map to embedding.
        dropout: for the default neck.
        margin: of the named head; its own default if not given. `magface` has no single one.
        scale: of the named head; 64 if not given.
        sample_rate: below 1 the head becomes a `PartialFC`, with that share of the classes in a training step.
        sharded_head: whether the head becomes a `ShardedHead`, each replica of the strategy with a part of the classes.
        sync_batch_norm: whether batch normalisation is by the batch of all replicas.
        recompute: whether the backbone is a `RecomputedModel`.

    Returns:
        A functional model with inputs `{"image": [batch, height, width, channels], "label": [batch]}`, image values
        0..255 RGB, labels int with -1 for none, and outputs `{"embedding": [batch, embedding_size], "logits":
        [batch, num_classes]}`, float32, the embedding not normalised. The logits of a sampled or sharded head are
        `[batch, 3]`, see `compact_logits`, and its losses and metrics want `compact=True`. Its layers "backbone",
        "neck" and "head" are the parts.

    Raises:
        InputError: if there is no backbone or head of that name, an argument is out of its range, or a head or neck
            that is there already is given its arguments here.

    Example:
        >>> model = build_recognizer("plain_small", 10, embedding_size=128, input_shape=(48, 48, 3))
        >>> outputs = model({"image": tf.zeros([2, 48, 48, 3]), "label": tf.constant([3, -1])})
        >>> outputs["embedding"].shape, outputs["logits"].shape
        (TensorShape([2, 128]), TensorShape([2, 10]))
    """
    margin_head = _as_head(head, num_classes, margin, scale)
    if sharded_head or sample_rate != 1:
        try:
            margin_head = (ShardedHead if sharded_head else PartialFC)(margin_head, sample_rate, name="head")
        except ValueError as error:
            raise InputError(str(error)) from None
    network = build_embedding_model(
        backbone, embedding_size, input_shape, neck, dropout, sync_batch_norm=sync_batch_norm, recompute=recompute
    )
    # Not int32: Keras casts what comes in, which would wrap a large label into the range.
    label = tf.keras.Input((), dtype=tf.int64, name="label")
    logits = margin_head(network.output, label)
    logits = tf.keras.layers.Activation("linear", dtype="float32", name="logits")(logits)
    return tf.keras.Model(
        {"image": network.input, "label": label}, {"embedding": network.output, "logits": logits}, name="recognizer"
    )


def embedding_model(model: tf.keras.Model) -> tf.keras.Model:
    """Take the head off a recognizer; an embedding model comes back as it is.

    Returns:
        image `[batch, height, width, channels]`, values 0..255 RGB -> embedding `[batch, dim]`, sharing the weights.
    """
    refuse_other(model, "the model")
    if not isinstance(model.input, dict):
        return model
    return tf.keras.Model(model.input["image"], model.output["embedding"], name="embedding_model")


def image_size(model: tf.keras.Model) -> tuple[int, int]:
    """Return the (height, width) in pixels that an embedding model takes; refuse (InputError) one of no fixed size."""
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] != 3 or None in shape[1:3]:
        raise InputError(f"the model takes input of shape {shape}: expected [batch, height, width, 3] of fixed size")
    return shape[1], shape[2]
