"""The settings of a comparison of fine-tunings: those of its runs, and what is chosen by what."""

import dataclasses
from typing import Any, Optional

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting
from ddl_tf.training import TrainSettings
from ddl_tf.tuning.arms import ARMS, MARGIN, START, chosen_arms

MEASURES = ("auc", "accuracy", "tar@1e-1", "tar@1e-2", "tar@1e-3", "tar@1e-4")


@dataclasses.dataclass
class TuneSettings(TrainSettings):
    """What all runs share, and how they are compared; the runs lie in `--run_dir`."""

    arms: list[str] = setting(
        [], f"Ways of fine-tuning, of {', '.join(ARMS)}; by default all. {START} and {MARGIN} always take part."
    )
    easy: Optional[str] = setting(None, "Name of the verification set of easy pairs, which must not get worse.")
    hard: list[str] = setting([], "Names of the sets of hard pairs; by default all but the easy one.")
    choose_by: str = setting("tar@1e-2", "Measure of the hard sets, averaged, that chooses.", choices=MEASURES)
    easy_floor: float = setting(
        0.01,
        "How far the measure of the easy pairs may fall below that without fine-tuning; what falls further is out.",
    )
    test_pairs: list[str] = setting(
        [], "Stored verification sets of other people, with the names of the others, to compare the chosen on."
    )
    seeds: int = setting(3, "Runs of each arm with its chosen value, each with another seed, to compare.")
    processes: int = setting(1, "Runs side by side, each in a process.")

    def __post_init__(self) -> None:
        """Check the runs' settings, then those of the comparison."""
        super().__post_init__()
        chosen_arms(self.arms)
        if not self.init_checkpoint:
            raise InputError("--init_checkpoint is missing: name the network that is fine-tuned")
        if not self.easy:
            raise InputError("--easy is missing: name the verification set of easy pairs, such as --easy=easy")
        for name, least in (("seeds", 2), ("processes", 1)):
            if getattr(self, name) < least:
                raise InputError(f"--{name} must be at least {least}, got {getattr(self, name)}")
        if self.easy_floor < 0:
            raise InputError(f"--easy_floor must not be negative, got {self.easy_floor}")

    def run(self, **changes: Any) -> TrainSettings:
        """Make the settings of a run, with changes."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(TrainSettings)}
        return TrainSettings(**{**fields, **changes})
