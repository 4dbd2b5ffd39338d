r"""Occlusion: faces as they are easy, copies with masks, sunglasses or patches hard; ways of fine-tuning compared.

    python benchmarks/occlusion.py --start=start.keras --celeba=DIR --cfp=DIR --lfw_bin=FILE \
        --run_dir=runs/occlusion --processes=2

fine-tunes the network on CelebA and CFP's frontal faces of folds 1 and 2 and copies of them, by each arm of
`ddl_tf.tune`. Each arm's value is chosen on fold 3; the arms are compared on folds 4 and 5, in verification of all
pairs of a face as it is and a hidden one and in identification among distractors. The strengths drawn are columns of
the sets: `mask`, `sunglasses`, and `occlusion`, the share of the image that is hidden. The same command goes on where
it stopped.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

from hard_faces.experiment import Experiment, Settings, run_experiment

OCCLUSION = Experiment(
    "occlusion",
    {"mask": "mask:0.3-1", "sunglasses": "sunglasses:0.5-1", "patch": "occlusion:0.2-0.4"},
)


def main(settings: Settings) -> None:
    """Run what is not finished, and print the tables.

    Args:
        settings: the flags.
    """
    run_experiment(OCCLUSION, settings)


if __name__ == "__main__":
    command.run(main, Settings)
