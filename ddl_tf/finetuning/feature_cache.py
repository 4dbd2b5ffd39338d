"""The activations of the layers that do not train: made once for each image, and kept on disk."""

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import lock_folder, map_array
from ddl_tf.common.keras_version import apply_gradients, loss_to_differentiate
from ddl_tf.evaluation.embedding_file import EMBEDDINGS, embed_to_file
from ddl_tf.finetuning.network_graph import NetworkGraph, check_network
from ddl_tf.models.replay import random_layers
from ddl_tf.runtimes.views import add_views, check_finite

BATCH = 64
GIB = 2**30
_WAITING = ".waiting"


class FeatureCache:
    """A network in two parts: frozen lower layers, whose activations are kept on disk, and the others.

    The activations of an image and its mirror image follow from the weights of the lower layers and the image alone.
    They are in a folder named after both, so that runs from one checkpoint on one set share them.

    Args:
        network: from image to embedding, functional, some of its first layers frozen.
        folder: for the activations.

    Attributes:
        upper: activations -> embedding, with the network's own layers.

    Raises:
        InputError: if the network cannot be cut behind frozen layers.
    """

    def __init__(self, network: tf.keras.Model, folder: Path) -> None:
        check_network(network)
        graph = NetworkGraph(network)
        cut = _last_frozen_cut(graph)
        self._calls = graph.calls[:cut]
        if not any(call.layer.weights for call in self._calls):
            raise InputError(
                "--feature_cache keeps the activations of frozen layers, but the first layers of the network train: "
                "choose the last ones with --train_blocks or --train_layers"
            )
        lower, self.upper = graph.parts(cut)
        self._lower = tf.keras.Model(lower.input, tf.keras.layers.Flatten()(lower.output))
        self.shape = tuple(lower.output_shape[1:])
        self._folder = folder
        self._stored: dict[str, np.ndarray] = {}

    def _digest(self) -> str:
        """Identify the lower layers: what they are and their weights, whatever their names."""
        digest = hashlib.sha256()
        for call in self._calls:
            config = {key: value for key, value in call.layer.get_config().items() if key != "name"}
            digest.update(json.dumps([type(call.layer).__name__, config, call.inputs], default=str).encode())
            for weight in call.layer.weights:
                digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
        return digest.hexdigest()

    def features(self, images: Sequence[bytes], name: str) -> np.ndarray:
        """Give the activations of images and of their mirror images, `[images, 2, ...]`; missing ones are made.

        Args:
            images: encoded JPEG or PNG.
            name: of the images, for the progress; another for other images.
        """
        if name not in self._stored:
            self._stored[name] = self._make(images, name)
        return self._stored[name]

    def _make(self, images: Sequence[bytes], name: str) -> np.ndarray:
        digest = hashlib.sha256()
        for image in images:
            digest.update(hashlib.sha256(image).digest())
        record = {"layers": self._digest(), "images": digest.hexdigest()}
        folder = self._folder / hashlib.sha256(json.dumps(record).encode()).hexdigest()[:16]
        # Runs side by side want the same: one makes it, the others wait.
        with lock_folder(folder, _WAITING, wait=True):
            self._fill(folder, record, images, name)
        stored = map_array(folder / EMBEDDINGS, "delete it, to make it again")
        return stored.reshape(len(images), 2, *self.shape)

    def _fill(self, folder: Path, record: dict[str, str], images: Sequence[bytes], name: str) -> None:
        """Make the activations of a folder, as far as it lacks them; InputError if its disk has no room for them."""
        size = len(images) * 2 * int(np.prod(self.shape)) * 4
        if not (folder / EMBEDDINGS).exists():
            text = f"{name}: features of {len(images):,} images and their mirror images take {size / GIB:.2f} GiB"
            free = shutil.disk_usage(folder).free
            if free < size:
                raise InputError(
                    f"{text}, and {folder} has {free / GIB:.2f}: give another --feature_cache, or train more blocks, "
                    "which are smaller further up"
                )
            print(f"{text} in {folder}", file=sys.stderr, flush=True)
        embed_to_file(self._lower, images, True, folder, record, BATCH, f"{name}: features")

    def embed(self, images: Sequence[bytes], name: str) -> np.ndarray:
        """Embed images by the network as it stands, as `embed_images` does: `[images, dim]` of unit norm."""
        features = self.features(images, name)
        views = np.stack([self.upper.predict(features[:, view], BATCH, verbose=0) for view in (0, 1)], axis=1)
        check_finite(views, name)
        return add_views(views)

    def recognizer(self, recognizer: tf.keras.Model) -> tf.keras.Model:
        """Let a recognizer of the network train on activations: as `image`, `feature_dataset` gives it those."""
        return _FeatureModel(recognizer, self.upper)


def _last_frozen_cut(graph: NetworkGraph) -> int:
    """The last place of the network before which no layer trains, and none draws random numbers."""
    cuts, frozen = graph.cuts(), 0
    for place, call in enumerate(graph.calls, start=1):
        if (call.layer.trainable and call.layer.weights) or random_layers(call.layer):
            break
        frozen = place if place in cuts else frozen
    return frozen


class _FeatureModel(tf.keras.Model):
    """A recognizer whose training step begins with the activations of its lower layers."""

    def __init__(self, recognizer: tf.keras.Model, upper: tf.keras.Model) -> None:
        super().__init__(recognizer.input, recognizer.output, name=recognizer.name)
        head = tf.keras.Model(
            {"embedding": recognizer.output["embedding"], "label": recognizer.input["label"]},
            recognizer.output["logits"],
        )
        # Models in attributes would be among the layers of this one.
        self._parts = lambda: (upper, head)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Do one step of training."""
        inputs, targets, weights = tf.keras.utils.unpack_x_y_sample_weight(data)
        upper, head = self._parts()
        with tf.GradientTape() as tape:
            embedding = upper(inputs["image"], training=True)
            logits = head({"embedding": embedding, "label": inputs["label"]}, training=True)
            outputs = {"embedding": embedding, "logits": logits}
            loss = self.compute_loss(inputs, targets, outputs, weights)
            loss = loss_to_differentiate(self, loss, tf.shape(embedding)[0])
        apply_gradients(self, tape.gradient(loss, self.trainable_variables))
        return self.compute_metrics(inputs, targets, outputs, weights)
