"""What a run mines while it trains: what the sampler asks for, and the callbacks that answer."""

from pathlib import Path
from typing import Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.data.sampling import Mined, StreamSampler
from ddl_tf.data.store import Faces
from ddl_tf.mining.groups import GroupRules
from ddl_tf.mining.pairs import PairRules
from ddl_tf.mining.rules import Rule
from ddl_tf.mining.view import VIEW_COLUMNS
from ddl_tf.training.hard_mining import SPARE_NEIGHBOURS, RefreshNeighbours, Remine, RemineRules, stored_pairs
from ddl_tf.training.periodic import PeriodicArrays
from ddl_tf.training.setting_parts import MiningSettings
from ddl_tf.training.steps import Steps


def _group_rules(settings: MiningSettings, faces: Faces) -> Optional[GroupRules]:
    if settings.remine_easy is None:
        return None
    noise = None if settings.remine_noise is None else Rule(settings.remine_noise)
    in_index = int(faces.index["group"].max()) + 1
    if in_index and in_index != 1 + len(settings.remine_hard):
        raise InputError(
            f"{len(settings.remine_hard)} --remine_hard rules make {1 + len(settings.remine_hard)} groups with "
            f"--remine_easy, but the training set has {in_index}: give a rule for each hard group"
        )
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

    A context manager around training: at its end the input pipeline waits for nothing any more. That comes before an
    error of training is handled, which releases the pipeline and waits for its threads. `across` and `threshold` are
    those of the pairs that are mined anew. InputError if a rule cannot be read, or names an unknown column.
    """

    def __init__(
        self, settings: MiningSettings, faces: Faces, across: bool = False, threshold: float = 0.0, seed: int = 0
    ) -> None:
        self._settings, self._faces = settings, faces
        self._neighbours: Optional[PeriodicArrays] = None
        self._mined: Optional[PeriodicArrays] = None
        self._refresh: Optional[RefreshNeighbours] = None
        pairs = None
        if settings.remine_pairs != "none":
            pairs = PairRules(across, settings.remine_pairs, settings.remine_pairs_per_identity, threshold)
        self._rules = RemineRules(_group_rules(settings, faces), pairs, seed)

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
        settings = self._settings
        callbacks: list[tf.keras.callbacks.Callback] = []
        # Two checkpoints are kept, and the older one must do.
        kept = 2 * max(steps.checkpoint_every, steps.per_epoch)
        if settings.confusable > 1 and sampler.groups:
            self._neighbours = PeriodicArrays(folder / "neighbours", settings.neighbours_every, 1, kept)
            group = self._faces.index["group"].to_numpy()
            identities = np.unique(self._faces.index["identity"].to_numpy()[group >= 0])
            count = SPARE_NEIGHBOURS * (settings.confusable - 1)
            self._refresh = RefreshNeighbours(self._neighbours, model, steps.first, count, identities)
            callbacks.append(self._refresh)
        if settings.remine_every:
            self._mined = PeriodicArrays(folder / "groups", settings.remine_every * steps.per_epoch, 0, kept)
            remine = Remine(self._mined, model, self._faces, self._rules, sampler, steps, folder / "embeddings")
            callbacks.append(remine)
        return callbacks

    def finish(self) -> None:
        """Wait for a search that goes on, before a checkpoint is written."""
        if self._refresh:
            self._refresh.finish()

    def __enter__(self) -> "MiningPlan":
        return self

    def __exit__(self, *_: object) -> None:
        for arrays in (self._neighbours, self._mined):
            if arrays:
                arrays.close()
