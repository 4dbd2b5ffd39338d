"""Resolution: sharp faces easy, copies of 16, 12 and 8 pixels a side hard: all arms compared.

It is for docs/results/made_hard.md:

    python benchmarks/resolution.py --celeba=DIR --cfp=DIR --lfw_bin=FILE --workers=2

trains on CelebA, then fine-tunes every arm on CelebA and CFP's frontal faces of folds 1 to 3 and judges it on CFP-FF,
folds 4 and 5, whose second images are scaled down to 16, 12 and 8 px, on CFP-FF as it is, and on LFW. Each arm's one
value is chosen on fold 3, trained on folds 1 and 2. Finished runs are added to docs/results/resolution.csv at once; the
same command goes on where it stopped.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses

from arms.stages import ArmsSettings, run_experiment
from arms.students import students_experiment

# An aligned face of 112 px has its eyes 35 px apart. From 20 on an image had 64 px or more, so that it lacks nothing at
# the 48 px that the networks see; below 12 it had fewer than 38, which is few images: those of CelebA are hardly ever
# as small as the copies.
RESOLUTION = students_experiment(
    "resolution",
    {"16px": "resolution:16", "12px": "resolution:12", "8px": "resolution:8"},
    easy="eye_distance_px >= 20",
    hard="eye_distance_px < 12",
)


@dataclasses.dataclass
class Settings(ArmsSettings):
    """Where the data is, and what to run."""


def main(settings: Settings) -> None:
    """Run what is not finished, and print the tables.

    Args:
        settings: the flags.
    """
    run_experiment(RESOLUTION, settings)


if __name__ == "__main__":
    command.run(main, Settings)
