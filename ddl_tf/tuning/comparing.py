"""A comparison of fine-tunings from its settings: choose a value for each arm, compare over seeds, keep the best."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.evaluation import load_sets
from ddl_tf.evaluation.sets import VerificationSets
from ddl_tf.tuning.arms import ARMS, MARGIN, START, chosen_arms, flags_of
from ddl_tf.tuning.choice import Comparison, choose_values, compare_arms, run_numbers, verdict
from ddl_tf.tuning.page import write_page
from ddl_tf.tuning.runs import Results, Run, do_runs
from ddl_tf.tuning.settings import TuneSettings

BEST = "best.keras"


def tune(settings: TuneSettings) -> str:
    """Compare ways of fine-tuning on the same rows, and keep the best network; a second call goes on where it stopped.

    In `--run_dir` are then `results.csv` (every run), `index.html` (the page) and `best.keras` (of the best arm, the
    first seed).

    Args:
        settings: what all runs share, and how they are compared.

    Returns:
        The verdict.

    Raises:
        InputError: if a setting or set cannot be used, or the results there are of other settings.
    """
    folder = Path(str(settings.run_dir))
    hard = _hard_sets(settings)
    results = Results(folder)
    arms = chosen_arms(settings.arms)
    tried_runs = [_run(settings, "choose", arm, value, settings.seed) for arm in arms for value in _values(arm)]
    do_runs(results, tried_runs, settings.processes)
    tried = _numbers(results, tried_runs, str(settings.easy), hard, settings.choose_by)
    chosen = choose_values(tried, settings.easy_floor)
    for arm in arms:
        if arm not in chosen:
            print(f"{ARMS[arm].title} is out: its easy pairs fell too far, or it diverged", file=sys.stderr)
    seeds = range(settings.seed + 1, settings.seed + 1 + settings.seeds)
    # All arms of a seed, then the next seed: what is compared is complete early.
    compared_runs = [
        _run(settings, "compare", arm, chosen[arm], seed) for seed in seeds for arm in arms if arm in chosen
    ]
    do_runs(results, compared_runs, settings.processes)
    compared = _numbers(results, compared_runs, str(settings.easy), hard, settings.choose_by)
    comparisons = compare_arms(compared, MARGIN)
    sentence = verdict(comparisons, settings.choose_by)
    write_page(folder, sentence, comparisons, compared, tried, chosen, settings.choose_by, bool(settings.test_pairs))
    best = _best(comparisons)
    network = next(run for run in compared_runs if run.arm == best)
    with write_aside(folder / BEST) as aside:
        aside.write_bytes((Path(str(network.settings.run_dir)) / "checkpoints/last.keras").read_bytes())
    return f"{sentence}\n{folder / BEST} is of {ARMS[best].title}; {folder / 'index.html'} has the comparison."


def _values(arm: str) -> Sequence[Optional[float]]:
    return ARMS[arm].values or [None]


def _run(settings: TuneSettings, stage: str, arm: str, value: Optional[float], seed: int) -> Run:
    changes = flags_of(arm, value)
    if stage == "compare" and settings.test_pairs:
        unset = {name: field.metadata["default"] for name, field in VerificationSets.__dataclass_fields__.items()}
        changes.update({**unset, "pairs": settings.test_pairs})
    run = Run(stage, arm, value, settings.run(seed=seed, **changes))
    folder = Path(str(settings.run_dir)) / stage / run.name
    return Run(stage, arm, value, settings.run(seed=seed, run_dir=str(folder), **changes))


def _hard_sets(settings: TuneSettings) -> list[str]:
    """The names of the hard sets; InputError if a set that is named is not there."""
    names = [pair_set.name for pair_set in load_sets(settings)]
    hard = settings.hard or [name for name in names if name != settings.easy]
    for flag, wanted in (("easy", [settings.easy]), ("hard", hard)):
        for name in wanted:
            if name not in names:
                raise InputError(
                    f"--{flag}={name}: there is no such verification set, but {', '.join(names) or 'none'}"
                )
    if not hard or settings.easy in hard:
        raise InputError(f"--easy={settings.easy} needs another verification set beside it, for the hard pairs")
    tests = [pair_set.name for pair_set in load_sets(VerificationSets(pairs=settings.test_pairs))]
    missing = [name for name in (settings.easy, *hard) if tests and name not in tests]
    if missing:
        raise InputError(f"--test_pairs has the sets {', '.join(tests)}, but not {missing[0]}, which is chosen by")
    return hard


def _numbers(results: Results, runs: Sequence[Run], easy: str, hard: Sequence[str], measure: str) -> pd.DataFrame:
    """The numbers of runs, in their order."""
    table = results.table()
    numbers = run_numbers(table[table["stage"] == runs[0].stage], easy, hard, measure)
    order = {run.key[1:]: place for place, run in enumerate(runs)}
    keys = [
        (str(arm), "" if pd.isna(value) else f"{value:g}", str(seed))
        for arm, value, seed in numbers[["arm", "value", "seed"]].itertuples(index=False)
    ]
    numbers["order"] = [order.get(key, -1) for key in keys]
    return numbers[numbers["order"] >= 0].sort_values("order").drop(columns="order").reset_index(drop=True)


def _best(comparisons: Sequence[Comparison]) -> str:
    """The arm that is shown to be best; else the margin softmax alone, or nothing if that is not above the start."""
    better = [comparison for comparison in comparisons if comparison.is_better and comparison.arm != START]
    if better:
        return max(better, key=lambda comparison: comparison.hard.difference).arm
    start = [comparison for comparison in comparisons if comparison.arm == START]
    return START if start and start[0].hard.difference > 0 else MARGIN
