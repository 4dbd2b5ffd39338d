r"""All layers train: the arms that `resolution.py` found best, from the same start, on the same sets.

    python benchmarks/all_layers.py --start=start.keras --celeba=DIR --cfp=DIR --lfw_bin=FILE \
        --run_dir=runs/resolution --arms=triplet,ddl,ddl_overlap --seeds=2

takes the sets and the chosen values from the finished `--run_dir` of `resolution.py`. Nothing is frozen, so that there
are no activations to keep: a run costs minutes, and values are not chosen again. Its runs are in `all_layers/compare`
there, its numbers in `all_layers/results.csv`. The same command goes on where it stopped.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
from pathlib import Path

from hard_faces.experiment import EASY, Settings, tune_settings
from hard_faces.identification import compared_rows
from hard_faces.report import TAR, means_table
from resolution import RESOLUTION

from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.settings import required, setting
from ddl_tf.tuning.arms import flags_of
from ddl_tf.tuning.runs import Results, Run, do_runs


@dataclasses.dataclass
class AllLayersSettings(Settings):
    """Where the data is, and how long all layers train."""

    learning_rate: float = setting(1e-4, "Learning rate of each fine-tuning.")
    pairs_per_group: int = setting(12, "Positive pairs of each group in a batch.")


def runs_of(settings: AllLayersSettings) -> list[Run]:
    """List the runs: every arm with the value that was chosen for it, all arms of a seed before the next.

    Args:
        settings: the flags.

    Returns:
        The runs, in `all_layers` of `--run_dir`.

    Raises:
        InputError: if an arm has no chosen value there.
    """
    run_dir = Path(str(settings.run_dir))
    tuned = tune_settings(RESOLUTION, settings, run_dir)
    compared = compared_rows(run_dir)
    chosen = {str(arm): str(value) for arm, value in zip(compared["arm"], compared["value"])}
    runs = []
    for seed in range(1, settings.seeds + 1):
        for arm in settings.arms:
            if arm not in chosen:
                raise InputError(f"--arms={arm}: {run_dir} has compared {', '.join(chosen)}; compare it there first")
            value = float(chosen[arm]) if chosen[arm] else None
            flags = {**flags_of(arm, value), "train_blocks": None, "feature_cache": None, "seed": seed}
            of_run = tuned.run(pairs=tuned.test_pairs, pairs_per_group=settings.pairs_per_group, **flags)
            run = Run("compare", arm, value, of_run)
            place = str(run_dir / "all_layers/compare" / run.name)
            runs.append(dataclasses.replace(run, settings=dataclasses.replace(run.settings, run_dir=place)))
    return runs


def main(settings: AllLayersSettings) -> None:
    """Do what is not done, and print the table."""
    required(settings, "start", "celeba", "cfp", "lfw_bin", "run_dir")
    if not settings.arms:
        raise InputError("--arms is missing: name those of which all layers are to train, each for minutes")
    folder = Path(str(settings.run_dir)) / "all_layers"
    do_runs(Results(folder), runs_of(settings), settings.processes)
    print(f"{TAR}, all layers trained, mean ± standard deviation over seeds:\n")
    print(markdown_table(means_table(compared_rows(folder), [EASY, *RESOLUTION.students], TAR)))


if __name__ == "__main__":
    command.run(main, AllLayersSettings)
