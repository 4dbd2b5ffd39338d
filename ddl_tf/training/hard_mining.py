"""Hard-sample mining while training: confusable identities in one batch, groups and pairs by the current weights."""

import dataclasses
import shutil
import sys
import threading
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.data.pools import StoredPairs
from ddl_tf.data.sampling import StreamSampler
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.embedding_file import Embeddings
from ddl_tf.mining.groups import GroupRules, assign_groups
from ddl_tf.mining.neighbours import nearest_identities
from ddl_tf.mining.pairs import PairRules, mine_pairs
from ddl_tf.mining.view import embed_faces, measure_view
from ddl_tf.models import embedding_model
from ddl_tf.training.periodic import PeriodicArrays
from ddl_tf.training.steps import Steps
from ddl_tf.training.workers import average_statistics

# Of the nearest identities many may have no image in a group.
SPARE_NEIGHBOURS = 4


class RefreshNeighbours(tf.keras.callbacks.Callback):
    """Search, every so many steps, the identities with the nearest class centers, while training goes on.

    The class centers are copied after a step and compared in another thread; the result serves the sampler one period
    later, by the name `nearest`: the `count` nearest of `identities` (`[n]` int) for each of them.
    """

    def __init__(
        self, neighbours: PeriodicArrays, model: tf.keras.Model, first_step: int, count: int, identities: np.ndarray
    ) -> None:
        super().__init__()
        self._neighbours, self._head, self._step = neighbours, model.get_layer("head"), first_step
        self._count, self._identities = count, identities
        self._thread: Optional[threading.Thread] = None
        self._error: Optional[Exception] = None
        neighbours.restore(first_step)
        if not first_step:
            self._find(0, self._head.normalized_centers().numpy())
            self.finish()

    def _find(self, number: int, centers: np.ndarray) -> None:
        try:
            nearest = nearest_identities(centers, self._count, self._identities)
            self._neighbours.publish(number, {"nearest": nearest})
        except Exception as error:  # of a thread: it is raised by `finish`
            self._error = error

    def finish(self) -> None:
        """Wait for a search that goes on, before a checkpoint is written, and raise what stopped it."""
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._error:
            raise self._error

    def on_train_batch_end(self, batch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Begin a search, if it is time."""
        self._step += 1
        if self._step % self._neighbours.every == 0:
            self.finish()
            # Not a daemon: a run that ends waits for it, and nothing is half written.
            arguments = self._step // self._neighbours.every, self._head.normalized_centers().numpy()
            self._thread = threading.Thread(target=self._find, args=arguments)
            self._thread.start()

    def on_train_end(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Wait for the last search."""
        self.finish()


@dataclasses.dataclass(frozen=True)
class RemineRules:
    """What is mined anew, groups (by columns of `measure_view` and of the index) and pairs, or None."""

    groups: Optional[GroupRules] = None
    pairs: Optional[PairRules] = None
    seed: int = 0


class Remine(tf.keras.callbacks.Callback):
    """Mine groups and pairs anew every few epochs, by the weights as they then are.

    The sampler checks whether it can draw from what was mined; if not, the groups before stay, and stderr says so. The
    folder holds the embeddings while they are needed.
    """

    def __init__(
        self,
        mined: PeriodicArrays,
        model: tf.keras.Model,
        faces: Faces,
        rules: RemineRules,
        sampler: StreamSampler,
        steps: Steps,
        folder: Path,
    ) -> None:
        super().__init__()
        self._mined, self._faces, self._rules, self._sampler = mined, faces, rules, sampler
        self._embedder, self._head = embedding_model(model), model.get_layer("head")
        self._steps, self._folder = steps, folder
        mined.restore(steps.first)
        if not steps.first:
            if folder.exists():
                # Of a run that was stopped before its first checkpoint, perhaps with other settings.
                shutil.rmtree(folder)
            # Until the first mining, the sampler draws what the index has.
            mined.publish(0, {})

    def on_epoch_end(self, epoch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Mine, if it is time and there are epochs to come."""
        step = (epoch + 1) * self._steps.per_epoch
        if step % self._mined.every or step == self._steps.total:
            return
        number = step // self._mined.every
        record = {"run": str(self._folder), "step": step}
        average_statistics(self._embedder)
        embeddings = embed_faces(self._embedder, self._faces, self._folder, record)
        try:
            arrays = self._mine(embeddings)
            self._sampler.make_pools(arrays["group"], stored_pairs(arrays))
        except InputError as error:
            print(f"re-mining after epoch {epoch + 1} changes nothing: {error}", file=sys.stderr)
            _, arrays = self._mined.of_step(step - 1)
        else:
            counts = ", ".join(f"{n:,} of group {g}" for g, n in zip(*np.unique(arrays["group"], return_counts=True)))
            pairs = f"; {len(arrays['first']):,} pairs" if "first" in arrays else ""
            print(f"re-mined after epoch {epoch + 1}: {counts}{pairs}", file=sys.stderr)
        self._mined.publish(number, arrays)
        shutil.rmtree(self._folder)

    def _mine(self, embeddings: Embeddings) -> dict[str, np.ndarray]:
        index = self._faces.index
        identity = index["identity"].to_numpy(np.int64)
        view = measure_view(embeddings, identity, self._faces.num_identities, self._head)
        group = index["group"].to_numpy(np.int64)
        if self._rules.groups:
            group = assign_groups(index.assign(**view), self._rules.groups).group
        arrays = {"group": group.astype(np.int16)}
        if self._rules.pairs:
            kept = mine_pairs(
                embeddings.rows, identity, group, self._rules.pairs, view["other_similarity"], self._rules.seed
            ).kept
            arrays.update({name: kept[name].to_numpy(np.int64) for name in ("first", "second")})
            arrays["pair_group"] = kept["group"].to_numpy(np.int64)
        return arrays


def stored_pairs(arrays: dict[str, np.ndarray]) -> Optional[StoredPairs]:
    """The pairs among what was mined, if there are any."""
    return StoredPairs(arrays["pair_group"], arrays["first"], arrays["second"]) if "first" in arrays else None
