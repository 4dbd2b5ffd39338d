r"""Resolution: sharp faces easy, copies of 16, 12 and 8 pixels a side hard; ways of fine-tuning compared.

    python benchmarks/resolution.py --start=start.keras --celeba=DIR --cfp=DIR --lfw_bin=FILE \
        --run_dir=runs/resolution --processes=2

fine-tunes the network on CelebA and CFP's frontal faces of folds 1 and 2 and copies of them, by each arm of
`ddl_tf.tune`. Each arm's value is chosen on fold 3; the arms are compared on folds 4 and 5, in verification of all
pairs of a sharp and a small face and in identification among distractors. 8 px is measured only: nothing is chosen by
it. The same command goes on where it stopped.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

from hard_faces.experiment import Experiment, Settings, run_experiment

RESOLUTION = Experiment(
    "resolution",
    {"16px": "resolution:16", "12px": "resolution:12", "8px": "resolution:8"},
    measured_only=("8px",),
)


def main(settings: Settings) -> None:
    """Run what is not finished, and print the tables.

    Args:
        settings: the flags.
    """
    run_experiment(RESOLUTION, settings)


if __name__ == "__main__":
    command.run(main, Settings)
