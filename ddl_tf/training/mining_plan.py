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
from ddl_tf.training.hard_mining import SPARE_NEIGHBOURS, RefreshNeighbours, Remine, RemineRules, mined_of_step
from ddl_tf.training.renewal import Renewed
from ddl_tf.training.settings import TrainSettings


class MiningPlan:
    """Connects the sampler, which is made first, with the callbacks, which need the model.

    A context manager around training: at its end the input pipeline waits for nothing any more. That must come before
    what stopped training is handled, which releases the pipeline: it then waits for its threads.

    Args:
        settings: of the run.
        faces: the training set.

    Raises:
        InputError: if a rule cannot be read, or names a column that there is not.
    """

    def __init__(self, settings: TrainSettings, faces: Faces) -> None:
        self._settings, self._faces = settings, faces
        self._neighbours: Optional[Renewed] = None
        self._mined: Optional[Renewed] = None
        self._refresh: Optional[RefreshNeighbours] = None
        groups = pairs = None
        if settings.remine_easy is not None:
            noise = None if settings.remine_noise is None else Rule(settings.remine_noise)
            in_index = int(faces.index["group"].max()) + 1
            if in_index and in_index != 1 + len(settings.remine_hard):
                raise InputError(
                    f"{len(settings.remine_hard)} --remine_hard rules make {1 + len(settings.remine_hard)} groups with "
                    f"--remine_easy, but the training set has {in_index}: give a rule for each hard group"
                )
            groups = GroupRules(Rule(settings.remine_easy), [Rule(text) for text in settings.remine_hard], noise)
            for column in groups.columns:
                if column not in faces.index and column not in VIEW_COLUMNS:
                    raise InputError(
                        f"a --remine rule names the column {column!r}: neither the index has it, nor is it one of what "
                        f"is measured anew: {', '.join(VIEW_COLUMNS)}"
                    )
        if settings.remine_pairs != "none":
            pairs = PairRules(
                settings.pairs_across,
                settings.remine_pairs,
                settings.remine_pairs_per_identity,
                settings.positive_threshold,
            )
        self._rules = RemineRules(groups, pairs, settings.seed)

    def neighbours(self, step: int) -> np.ndarray:
        """For the sampler: `[num_identities, k]`, the nearest identities that step `step` is drawn with."""
        assert self._neighbours, "begin comes first"
        return self._neighbours.of_step(step)[1]["nearest"]

    def mined(self, step: int) -> Optional[Mined]:
        """For the sampler: the groups and pairs that step `step` is drawn from; None for those of the index."""
        return mined_of_step(self._mined, step) if self._mined else None

    def begin(
        self, folder: Path, model: tf.keras.Model, sampler: StreamSampler, steps_per_epoch: int, first_step: int
    ) -> list[tf.keras.callbacks.Callback]:
        """Make the callbacks, and what the first steps are drawn with.

        Args:
            folder: where what was mined is kept.
            model: the recognizer, with the weights of `first_step`.
            sampler: which asks this plan.
            steps_per_epoch: of the run.
            first_step: where this process begins.

        Returns:
            The callbacks, of which there are none if nothing is mined.
        """
        settings = self._settings
        callbacks: list[tf.keras.callbacks.Callback] = []
        # Of the two checkpoints that are kept, the older one must do.
        kept = 2 * max(settings.checkpoint_steps, steps_per_epoch)
        if settings.confusable > 1 and sampler.groups:
            self._neighbours = Renewed(folder / "neighbours", settings.neighbours_every, 1, kept)
            group = self._faces.index["group"].to_numpy()
            identities = np.unique(self._faces.index["identity"].to_numpy()[group >= 0])
            count = SPARE_NEIGHBOURS * (settings.confusable - 1)
            self._refresh = RefreshNeighbours(self._neighbours, model, first_step, count, identities)
            callbacks.append(self._refresh)
        if settings.remine_every:
            self._mined = Renewed(folder / "groups", settings.remine_every * steps_per_epoch, 0, kept)
            callbacks.append(
                Remine(
                    self._mined,
                    model,
                    self._faces,
                    self._rules,
                    sampler,
                    steps_per_epoch,
                    settings.epochs,
                    first_step,
                    folder / "embeddings",
                )
            )
        return callbacks

    def finish(self) -> None:
        """Wait for what is being mined, before a checkpoint is written."""
        if self._refresh:
            self._refresh.finish()

    def __enter__(self) -> "MiningPlan":
        return self

    def __exit__(self, *_: object) -> None:
        for renewed in (self._neighbours, self._mined):
            if renewed:
                renewed.close()
