"""Pose on CFP, frontal faces easy and profiles hard: all arms compared, for docs/results/pose.md.

    python benchmarks/pose.py --celeba=DIR --cfp=DIR --lfw_bin=FILE --workers=2

trains on CelebA, then fine-tunes every arm on CelebA and CFP's folds 1 to 3 and judges it on CFP-FF and CFP-FP, folds 4
and 5, and on LFW. Each arm's one value is chosen on fold 3, trained on folds 1 and 2. Finished runs are added to
docs/results/pose.csv at once; the same command goes on where it stopped. With `--folds=1` or 2 there are fewer people
to learn from, by the values that were chosen with all of them.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses

from arms.experiment import SHARED, Experiment, Split
from arms.made_sets import CFP, LFW, celeba, cfp
from arms.stages import ArmsSettings, run_experiment

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting

POSE = Experiment(
    name="pose",
    sets={"celeba": celeba(), "cfp_12": cfp(1, 2), "cfp_123": cfp(1, 2, 3)},
    shared={**SHARED, "shuffled_rows": 64, "rows_per_group": 32, "pairs_per_group": 32},
    easy="cfp_ff",
    hard=("cfp_fp",),
    generic=("lfw_dev",),
    tuning=Split(["celeba", "cfp_12"], {"cfp_root": CFP, "cfp_folds": [3]}),
    test=Split(["celeba", "cfp_123"], {"bin": [LFW], "cfp_root": CFP, "cfp_folds": [4, 5]}),
)


# People of a fold of CFP.
PEOPLE = 50


def pose_of(folds: int) -> Experiment:
    """Give the experiment that trains on some of the folds.

    Args:
        folds: how many, from fold 1 on.

    Returns:
        `POSE` for 3; else one with a name, and results, of its own.
    """
    if folds == 3:
        return POSE
    numbers = range(1, folds + 1)
    folder = "cfp_" + "".join(map(str, numbers))
    return dataclasses.replace(
        POSE,
        name=f"pose_{PEOPLE * folds}_people",
        sets={**POSE.sets, folder: cfp(*numbers)},
        test=dataclasses.replace(POSE.test, train_data=["celeba", folder]),
        tuned_as=POSE.name,
    )


@dataclasses.dataclass
class Settings(ArmsSettings):
    """Where the data is, and what to run."""

    folds: int = setting(3, "Folds of CFP, of 50 people each, to train on: 1, 2 or 3.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds not in (1, 2, 3):
            raise InputError(f"--folds must be 1, 2 or 3, got {self.folds}: folds 4 and 5 are judged on")


def main(settings: Settings) -> None:
    """Run what is not finished, and print the tables.

    Args:
        settings: the flags.
    """
    run_experiment(pose_of(settings.folds), settings)


if __name__ == "__main__":
    command.run(main, Settings)
