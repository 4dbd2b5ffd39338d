"""Experiments whose hard faces are made: easy images of CelebA and CFP, and degraded copies of them as students."""

from collections.abc import Mapping
from typing import Any, Optional

from arms.experiment import SHARED, Experiment, Maker, Split
from arms.made_sets import CFP, LFW, celeba, cfp, cfp_pairs, degraded_pairs, with_students

# With three students as many rows as `pose.py` has with one: 64 + 4 groups * (16 + 2 * 16) = 64 + 2 * (32 + 2 * 32).
SIZES = {"shuffled_rows": 64, "rows_per_group": 16, "pairs_per_group": 16}
# The folds of the pairs, by the folder of the sets. Set names are the same in both: results know sets by their names.
FOLDS = {"tuning": (3,), "test": (4, 5)}


def students_experiment(name: str, students: Mapping[str, str], easy: str, hard: Optional[str] = None) -> Experiment:
    """Put together the experiment of three made students.

    The teacher (group 0) is the easy images of CelebA and CFP's frontal ones, the students are copies of all of them.
    The rest of CelebA is in group -1: it takes part in the shuffled rows only. The hard sets are CFP-FF with a degraded
    second image, CFP-FF as it is is the easy one.

    Args:
        name: of the experiment.
        students: what the set of a student is called, `cfp_ff_NAME` -> its degradation, as `mine degrade` takes it.
        easy: rule of CelebA's easy images.
        hard: rule of CelebA's images that are hard as they are, and join the first student.

    Returns:
        The experiment.
    """
    sets: dict[str, Maker] = {
        "celeba": celeba(),
        "cfp_12": cfp(1, 2),
        "cfp_123": cfp(1, 2, 3),
        "celeba_students": with_students("celeba", list(students.values()), easy, hard, rest=True),
        "cfp_12_students": with_students("cfp_12", list(students.values())),
        "cfp_123_students": with_students("cfp_123", list(students.values())),
    }
    for folder, folds in FOLDS.items():
        for suffix, degradation in students.items():
            sets[f"{folder}/cfp_ff_{suffix}"] = degraded_pairs(cfp_pairs(*folds), degradation)
    return Experiment(
        name=name,
        sets=sets,
        shared={**SHARED, **SIZES},
        easy="cfp_ff",
        hard=tuple(f"cfp_ff_{suffix}" for suffix in students),
        generic=("lfw_dev",),
        tuning=Split(["celeba_students", "cfp_12_students"], _evaluation(students, "tuning")),
        test=Split(["celeba_students", "cfp_123_students"], {"bin": [LFW], **_evaluation(students, "test")}),
    )


def _evaluation(students: Mapping[str, str], folder: str) -> dict[str, Any]:
    return {
        "cfp_root": CFP,
        "cfp_protocols": ["FF"],
        "cfp_folds": list(FOLDS[folder]),
        "pairs": [f"{folder}/cfp_ff_{suffix}" for suffix in students],
    }
