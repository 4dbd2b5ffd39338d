"""Hard-sample mining while training: confusable identities in one batch, groups and pairs by the current weights."""

import shutil
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.replicas import average_statistics
from ddl_tf.data.pools import StoredPairs
from ddl_tf.data.sampling import Mined, StreamSampler
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.embedding_file import Embeddings
from ddl_tf.layers import MarginHead
from ddl_tf.mining.groups import GroupRules, assign_groups
from ddl_tf.mining.neighbours import nearest_identities
from ddl_tf.mining.pairs import PairRules, mine_pairs
from ddl_tf.mining.rules import Rule
from ddl_tf.mining.view import VIEW_COLUMNS, embed_faces, measure_view
from ddl_tf.models import embedding_model
from ddl_tf.training.checkpoints import Steps
from ddl_tf.training.periodic import Arrays, PeriodicArrays
from ddl_tf.training.setting_parts import MiningSettings


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
        # Python waits for its thread before it ends, so that nothing is half written.
        self._thread = ThreadPoolExecutor(1)
        self._search: Optional[Future[None]] = None
        neighbours.restore(first_step)
        if not first_step:
            self._find(0, self._head.normalized_centers().numpy())

    def _find(self, number: int, centers: np.ndarray) -> None:
        nearest = nearest_identities(centers, self._count, self._identities)
        self._neighbours.publish(number, {"nearest": nearest})

    def finish(self) -> None:
        """Wait for a search that goes on, before a checkpoint is written, and raise what stopped it."""
        if self._search:
            self._search.result()

    def on_train_batch_end(self, batch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Begin a search, if it is time."""
        self._step += 1
        if self._step % self._neighbours.every == 0:
            self.finish()
            number, centers = self._step // self._neighbours.every, self._head.normalized_centers().numpy()
            self._search = self._thread.submit(self._find, number, centers)

    def on_train_end(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Wait for the last search."""
        self.finish()


class Remine(tf.keras.callbacks.Callback):
    """Mine groups and pairs anew every few epochs, by the weights as they then are.

    The sampler checks whether it can draw from what `mine` finds; if not, the groups before stay, and stderr says so.
    The folder holds the embeddings while they are needed.
    """

    def __init__(
        self,
        mined: PeriodicArrays,
        model: tf.keras.Model,
        faces: Faces,
        mine: Callable[[Embeddings, MarginHead], Arrays],
        sampler: StreamSampler,
        steps: Steps,
        folder: Path,
    ) -> None:
        super().__init__()
        self._mined, self._faces, self._mine, self._sampler = mined, faces, mine, sampler
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
        average_statistics(self._embedder)
        record = {"run": str(self._folder), "step": step}
        embeddings = embed_faces(self._embedder, self._faces, self._folder, record)
        try:
            arrays = self._mine(embeddings, self._head)
            self._sampler.make_pools(arrays["group"], stored_pairs(arrays))
        except InputError as error:
            print(f"re-mining after epoch {epoch + 1} changes nothing: {error}", file=sys.stderr)
            _, arrays = self._mined.of_step(step - 1)
        else:
            counts = ", ".join(f"{n:,} of group {g}" for g, n in zip(*np.unique(arrays["group"], return_counts=True)))
            pairs = f"; {len(arrays['first']):,} pairs" if "first" in arrays else ""
            print(f"re-mined after epoch {epoch + 1}: {counts}{pairs}", file=sys.stderr)
        self._mined.publish(step // self._mined.every, arrays)
        shutil.rmtree(self._folder)


def stored_pairs(arrays: Arrays) -> Optional[StoredPairs]:
    """The pairs among what was mined, if there are any."""
    return StoredPairs(arrays["pair_group"], arrays["first"], arrays["second"]) if "first" in arrays else None


def _group_rules(settings: MiningSettings, faces: Faces) -> Optional[GroupRules]:
    if settings.remine_easy is None:
        return None
    in_index, mined = int(faces.index["group"].max()) + 1, 1 + len(settings.remine_hard)
    if in_index and in_index != mined:
        raise InputError(
            f"{mined - 1} --remine_hard rules make {mined} groups with --remine_easy, but the training set has "
            f"{in_index}: give a rule for each hard group"
        )
    noise = None if settings.remine_noise is None else Rule(settings.remine_noise)
    rules = GroupRules(Rule(settings.remine_easy), [Rule(text) for text in settings.remine_hard], noise)
    for column in rules.columns:
        if column not in faces.index and column not in VIEW_COLUMNS:
            raise InputError(
                f"a --remine rule names the column {column!r}: neither the index has it, nor is it one of what "
                f"is measured anew: {', '.join(VIEW_COLUMNS)}"
            )
    return rules


class MiningPlan:
    """Connects the sampler, which is made first, with the callbacks, which need the model.

    It is closed after training, before an error of training is handled, which releases the input pipeline and waits for
    its threads. InputError if a rule cannot be read, or names an unknown column. `across` and `threshold` are those of
    the pairs that are mined anew.
    """

    def __init__(self, settings: MiningSettings, faces: Faces, across: bool, threshold: float, seed: int) -> None:
        self._settings, self._faces, self._seed = settings, faces, seed
        self._neighbours: Optional[PeriodicArrays] = None
        self._mined: Optional[PeriodicArrays] = None
        self._refresh: Optional[RefreshNeighbours] = None
        self._group_rules, self._pair_rules = _group_rules(settings, faces), None
        if settings.remine_pairs != "none":
            choice, most = settings.remine_pairs, settings.remine_pairs_per_identity
            self._pair_rules = PairRules(across, choice, most, threshold)

    def neighbours(self, step: int) -> np.ndarray:
        """Give the sampler `[num_identities, k]`, the nearest identities that a step is drawn with."""
        assert self._neighbours, "begin comes first"
        return self._neighbours.of_step(step)[1]["nearest"]

    def mined(self, step: int) -> Optional[Mined]:
        """Give the sampler the groups and pairs that a step is drawn from; None for those of the index."""
        number, arrays = self._mined.of_step(step) if self._mined else (0, {})
        return Mined(number, arrays["group"], stored_pairs(arrays)) if arrays else None

    def begin(
        self, folder: Path, model: tf.keras.Model, sampler: StreamSampler, steps: Steps
    ) -> list[tf.keras.callbacks.Callback]:
        """Make the callbacks, none if nothing is mined, and what the first steps are drawn with."""
        settings, index = self._settings, self._faces.index
        callbacks: list[tf.keras.callbacks.Callback] = []
        # Two checkpoints are kept, and the older one must do.
        kept = 2 * max(steps.checkpoint_every, steps.per_epoch)
        if settings.confusable > 1 and sampler.groups:
            self._neighbours = PeriodicArrays(folder / "neighbours", settings.neighbours_every, 1, kept)
            identities = np.unique(index["identity"].to_numpy()[index["group"].to_numpy() >= 0])
            # More than are drawn: of the nearest identities many may have no image in a group.
            count = 4 * (settings.confusable - 1)
            self._refresh = RefreshNeighbours(self._neighbours, model, steps.first, count, identities)
            callbacks.append(self._refresh)
        if settings.remine_every:
            self._mined = PeriodicArrays(folder / "groups", settings.remine_every * steps.per_epoch, 0, kept)
            embeddings = folder / "embeddings"
            callbacks.append(Remine(self._mined, model, self._faces, self._mine, sampler, steps, embeddings))
        return callbacks

    def _mine(self, embeddings: Embeddings, head: MarginHead) -> Arrays:
        index, rules = self._faces.index, self._pair_rules
        identity, group = (index[column].to_numpy(np.int64) for column in ("identity", "group"))
        view = measure_view(embeddings, identity, self._faces.num_identities, head)
        if self._group_rules:
            group = assign_groups(index.assign(**view), self._group_rules).group
        arrays = {"group": group.astype(np.int16)}
        if rules:
            seed, similarity = self._seed, view["other_similarity"]
            kept = mine_pairs(embeddings.rows, identity, group, rules, similarity, seed).kept
            for name, column in (("first", "first"), ("second", "second"), ("pair_group", "group")):
                arrays[name] = kept[column].to_numpy(np.int64)
        return arrays

    def finish(self) -> None:
        """Wait for a search that goes on, before a checkpoint is written."""
        if self._refresh:
            self._refresh.finish()

    def close(self) -> None:
        """Let the input pipeline wait for nothing any more."""
        for arrays in (self._neighbours, self._mined):
            if arrays:
                arrays.close()
