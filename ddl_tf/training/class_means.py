"""Class centers that begin where their people are: fine-tuning then starts from a head that knows them."""

from typing import Optional

import numpy as np
import pandas as pd
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.progress import Progress
from ddl_tf.data.pipeline import check_rows
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.embed import predict_embeddings
from ddl_tf.finetuning import FeatureCache
from ddl_tf.layers import MarginHead, SubCenterArcFace
from ddl_tf.models import embedding_model
from ddl_tf.runtimes.views import UndecodableError, unit

# More images of an identity in a group hardly move its mean: from a converged network, with sharp and three groups of
# small faces, TAR@1e-3 at 16 px was .310 after fine-tuning with 8 images in all, .346 with 8 a group, .347 with all.
BATCH, IMAGES = 256, 8


def rows_per_identity(index: pd.DataFrame, count: int, seed: int) -> np.ndarray:
    """Choose up to `count` random rows of each identity in each group, in ascending order."""
    order = np.random.default_rng([seed, 2]).permutation(len(index))
    shuffled = index[["identity", "group"]].iloc[order]
    return np.sort(order[shuffled.groupby(["identity", "group"]).cumcount() < count])


def start_at_class_means(model: tf.keras.Model, faces: Faces, seed: int, cache: Optional[FeatureCache] = None) -> None:
    """Let each class center of a recognizer point to the mean embedding of its identity.

    The mean is of up to `IMAGES` images of each group, so that no group is left to chance. With random centers the
    margin softmax of new people begins far from converged, and pulls at the embeddings for many steps before it tells
    them apart. The centers get the length of random ones, since shorter ones learn faster.
    With a cache the embeddings are made from its activations. InputError if the head has several centers a class, or an
    image cannot be decoded.

    References:
        Qi et al., "Low-Shot Learning with Imprinted Weights", CVPR 2018, https://arxiv.org/abs/1712.07136
    """
    head: MarginHead = model.get_layer("head")
    if isinstance(head, SubCenterArcFace):
        raise InputError("class means start heads of one center a class, and this head has several: start it at random")
    identity = faces.index["identity"].to_numpy()
    rows = rows_per_identity(faces.index, IMAGES, seed)
    if cache:
        features = cache.features(faces.images(), "training set")
        views = cache.upper.predict(features[rows, 0], BATCH, verbose=0)[:, np.newaxis]
    else:
        views = _embed(model, faces, rows)
    order = np.argsort(identity[rows], kind="stable")
    begins = np.searchsorted(identity[rows][order], np.arange(faces.num_identities))
    head.start_at(unit(np.add.reduceat(unit(views[:, 0])[order], begins, axis=0)))


def _embed(model: tf.keras.Model, faces: Faces, rows: np.ndarray) -> np.ndarray:
    try:
        with Progress("class means", len(rows), unit="image") as progress:
            return predict_embeddings(embedding_model(model), faces.images(rows.tolist()), False, BATCH, progress)
    except UndecodableError as error:
        check_rows(faces, rows[[error.position]])
        raise
