r"""Pose on CFP, frontal faces easy and profiles hard; ways of fine-tuning compared.

    python benchmarks/pose.py --start=start.keras --celeba=DIR --cfp=DIR --lfw_bin=FILE \
        --run_dir=runs/pose --processes=2

fine-tunes the network on CelebA and CFP's folds 1 and 2, by each arm of `ddl_tf.tune`. Each arm's value is chosen on
fold 3; the arms are compared on folds 4 and 5, in verification of all pairs of a frontal face and a profile and in
identification among distractors. The same command goes on where it stopped.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

from hard_faces.experiment import Experiment, Settings, run_experiment

# At the full rate every loss is worse than none at a tenth (docs/results/finetuning.md).
POSE = Experiment("pose", {"profile": None}, network_rate=0.1)


def main(settings: Settings) -> None:
    """Run what is not finished, and print the tables.

    Args:
        settings: the flags.
    """
    run_experiment(POSE, settings)


if __name__ == "__main__":
    command.run(main, Settings)
