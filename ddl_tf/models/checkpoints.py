"""Checkpoints: one `.keras` file with the configuration and the weights of a model."""

import itertools
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional, Union

import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.keras_version import IS_KERAS_3, PACKAGE, all_layers, refuse_other, variable_path
from ddl_tf.common.replicas import average_statistics
from ddl_tf.layers import CompactHead, MarginHead, is_synchronized, synchronize_batch_norm
from ddl_tf.models.checkpoint_guard import check_weights, read_config
from ddl_tf.models.keras_2_files import copy_for_keras_3
from ddl_tf.models.low_rank import merge_low_rank
from ddl_tf.models.model_choice import OTHER_NETWORKS

_PathLike = Union[str, "os.PathLike[str]"]
_DAMAGE = (zipfile.BadZipFile, OSError, ImportError, AttributeError, KeyError, ValueError, TypeError, RecursionError)


def check_checkpoint_path(path: _PathLike) -> None:
    """Refuse (InputError) a path that does not end in `.keras`, before the work that makes the file."""
    if Path(path).suffix != ".keras":
        raise InputError(f"a checkpoint is a file that ends in .keras, got {os.fspath(path)}")


def save_checkpoint(model: tf.keras.Model, path: _PathLike) -> None:
    """Write a checkpoint; the file is either whole or not there.

    Losses, metrics and the optimizer do not go into it: it is for evaluation, export, and as a start for training.

    Args:
        model: a recognizer or an embedding model, functional.
        path: the file, ending in `.keras`; its folder is made if it is missing.

    Raises:
        InputError: if the path does not end in `.keras`.

    Example:
        >>> import tempfile
        >>> from ddl_tf.models import build_recognizer
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint(build_recognizer("plain_small", 10, input_shape=(32, 32, 3)), f"{folder}/model.keras")
        ...     load_checkpoint(f"{folder}/model.keras").name
        'recognizer'
    """
    check_checkpoint_path(path)
    refuse_other(model, "the model")
    average_statistics(model)
    uncompiled = merge_low_rank(tf.keras.Model(model.input, model.output, name=model.name))
    with write_aside(Path(path)) as aside:
        uncompiled.save(aside)


def load_checkpoint(path: _PathLike, custom_objects: Optional[Mapping[str, type]] = None) -> tf.keras.Model:
    """Load a checkpoint of ddl_tf.

    Keras would import any module that the file names, so only what a face network is made of is let through: classes of
    this package, of KerasCV, and most layers of Keras.

    Args:
        path: a file that `save_checkpoint` wrote.
        custom_objects: name -> class, for layers of your own.

    Returns:
        The recognizer or embedding model, not compiled.

    Raises:
        InputError: if the file is missing or damaged, names another class, is of a Keras that is not read here, or
            holds another model.
    """
    model = load_network(path, custom_objects)
    if not has_parts(model):
        raise InputError(
            f"{os.fspath(path)} is a Keras model, but neither a recognizer nor an embedding model of ddl_tf"
            f"{OTHER_NETWORKS}; to train from it, give it as --init_checkpoint with --backbone=checkpoint"
        )
    return model


def load_network(path: _PathLike, custom_objects: Optional[Mapping[str, type]] = None) -> tf.keras.Model:
    """Load any Keras model from a `.keras` file.

    Keras would import any module that the file names, so only what a face network is made of is let through: classes of
    this package, of KerasCV, and most layers of Keras.

    Args:
        path: the file.
        custom_objects: name -> class, for layers of your own.

    Returns:
        The model, not compiled.

    Raises:
        InputError: if the file is missing or damaged, names another class, or is of a Keras that is not read here.
    """
    text = os.fspath(path)
    if not os.path.exists(text):
        raise InputError(f"no checkpoint at {text}")
    if not os.path.isfile(text) or Path(text).suffix != ".keras":
        raise InputError(f"{text} is not a checkpoint: give a .keras file{OTHER_NETWORKS}")
    try:
        with zipfile.ZipFile(text) as archive:
            config = read_config(archive, custom_objects or {})
            is_of_keras_3 = _written_by_keras_3(archive, text, config)
            check_weights(archive, os.path.getsize(text))
            model = _read(archive, text, is_of_keras_3, dict(custom_objects or {}))
        # What KerasCV's layers build inside of themselves comes back plain.
        if is_synchronized(model):
            synchronize_batch_norm(model)
    except InputError as error:
        if str(error).startswith(text):
            raise
        raise InputError(f"{text} is refused: {error}") from None
    except _DAMAGE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{text} cannot be read as a checkpoint ({reason}): is it whole, and a .keras file?") from None
    return model


def _written_by_keras_3(archive: zipfile.ZipFile, path: str, config: Mapping[str, Any]) -> bool:
    """Whether Keras 3 wrote a file; InputError if the Keras of this process does not read what did."""
    is_of_keras_3 = str(json.loads(archive.read("metadata.json")).get("keras_version")).startswith("3.")
    if is_of_keras_3 and not IS_KERAS_3:
        raise InputError(
            f"{path} was written by Keras 3, and Keras is 2 here: read it with the Keras that wrote it "
            "(docs/versions.md)"
        )
    if PACKAGE == "keras" and not IS_KERAS_3 and str(config["module"]).startswith("tf_keras"):
        raise InputError(
            f"{path} was written under a later TensorFlow than {tf.__version__}, which cannot read it: use the "
            "later one (docs/versions.md)"
        )
    return is_of_keras_3


def _read(archive: zipfile.ZipFile, path: str, is_of_keras_3: bool, custom_objects: dict[str, type]) -> tf.keras.Model:
    if is_of_keras_3 == IS_KERAS_3:
        return tf.keras.models.load_model(path, custom_objects, compile=False)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.keras"
        copy_for_keras_3(archive, copy)
        return tf.keras.models.load_model(copy, custom_objects, compile=False)


def has_parts(model: tf.keras.Model) -> bool:
    """Return whether a model is a recognizer or an embedding model of ddl_tf."""
    return {"backbone", "neck", "embedding"} <= {layer.name for layer in getattr(model, "layers", ())}


def initialise_from(model: tf.keras.Model, checkpoint: Union[_PathLike, tf.keras.Model]) -> list[str]:
    """Copy the weights of a checkpoint into a model.

    Args:
        model: the recognizer or embedding model to start.
        checkpoint: a file that `save_checkpoint` wrote, or what `load_checkpoint` made of it.

    Returns:
        The parts that were copied: "backbone", "neck", and "head" where the class centers have the same shape (the same
        number of identities, and of sub-centers). What a head has beside them, such as running statistics, is copied
        from a head of the same class only.

    Raises:
        InputError: if the checkpoint cannot be loaded, or its backbone or neck has other weights.
    """
    if isinstance(checkpoint, tf.keras.Model):
        source, name = checkpoint, "the checkpoint"
    else:
        source, name = load_checkpoint(checkpoint), os.fspath(checkpoint)
    layers, source_layers = ({layer.name: layer for layer in network.layers} for network in (model, source))
    parts = ["backbone", "neck"]
    pairs: list[tuple[tf.Variable, tf.Variable]] = []
    for part in parts:
        weights, source_weights = _variables(layers[part]), _variables(source_layers[part])
        for weight, value in zip(weights, source_weights):
            if weight.shape != value.shape:
                paths = variable_path(weight), variable_path(value)
                raise InputError(
                    f"{name} does not fit: the {part}'s weight {paths[0]} has the shape {tuple(weight.shape)}, the "
                    f"checkpoint's ({paths[1]}) {tuple(value.shape)}; use its backbone, image size and embedding size"
                )
        if len(weights) != len(source_weights):
            numbers = f"the {part} has {len(weights)} weights, the checkpoint's {len(source_weights)}"
            raise InputError(f"{name} does not fit: {numbers}; use its backbone")
        pairs += zip(weights, source_weights)
    for variable, value in pairs:
        variable.assign(value)
    if "head" in layers and "head" in source_layers and _copy_head(layers["head"], source_layers["head"]):
        parts.append("head")
    return parts


def _copy_head(head: MarginHead, source: MarginHead) -> bool:
    """Copy what one head can take from another; nothing if it has other centers."""
    centers = source.centers_by_class()
    if head.centers_by_class().shape != centers.shape:
        return False
    head.assign_centers(centers)
    margins = [part.head if isinstance(part, CompactHead) else part for part in (head, source)]
    if type(margins[0]) is type(margins[1]):
        # What it has beside its centers; the head inside of a compact one has no centers.
        statistics = ([w for w in part.weights if w is not getattr(part, "class_centers", None)] for part in margins)
        for statistic, value in zip(*statistics):
            statistic.assign(value)
    return True


def _variables(layer: tf.keras.layers.Layer) -> list[tf.Variable]:
    """The variables in an order that depends neither on automatic names nor on what is frozen.

    A layer made of layers lists first what it trains, so the innermost layers are asked first.
    """
    is_model = isinstance(layer, tf.keras.Model)
    inner = layer.layers if is_model else all_layers(layer)
    # What a low-rank layer adds to the one that it stands for is in no checkpoint.
    own = [variable for variable in layer.variables if not re.search(r"(^|/)low_rank_[ab](:|$)", variable.name)]
    variables = itertools.chain(*map(_variables, inner), own)
    return list({id(variable): variable for variable in variables}.values())
