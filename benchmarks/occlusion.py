"""Occlusion: faces as they are easy, copies with masks, sunglasses or patches hard: all arms compared.

    python benchmarks/occlusion.py --celeba=DIR --cfp=DIR --lfw_bin=FILE --workers=2

trains on CelebA, then fine-tunes every arm on CelebA and CFP's frontal faces of folds 1 to 3 and judges it on CFP-FF,
folds 4 and 5, whose second images have something drawn over them, on CFP-FF as it is, and on LFW. The strengths drawn
are columns of the stored sets: `mask`, `sunglasses`, and `occlusion`, the share of the image that is hidden. Each arm's
one value is chosen on fold 3, trained on folds 1 and 2. Finished runs are added to docs/results/occlusion.csv at once;
the same command goes on where it stopped.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses

from arms.stages import ArmsSettings, run_experiment
from arms.students import students_experiment

# Masks and sunglasses sit where the eyes, nose and mouth of an aligned frontal face are. Eyes 20 px apart: the face had
# 64 px or more, and lacks nothing at the 48 px that the networks see, so that what is hidden is all that copies lack.
OCCLUSION = students_experiment(
    "occlusion",
    {"mask": "mask:0.3-1", "sunglasses": "sunglasses:0.5-1", "patch": "occlusion:0.2-0.4"},
    easy="abs(yaw_proxy) < 0.2 and eye_distance_px >= 20",
)


@dataclasses.dataclass
class Settings(ArmsSettings):
    """Where the data is, and what to run."""


def main(settings: Settings) -> None:
    """Run what is not finished, and print the tables.

    Args:
        settings: the flags.
    """
    run_experiment(OCCLUSION, settings)


if __name__ == "__main__":
    command.run(main, Settings)
