"""Results of no run: drawn numbers in the form that the benchmarks store them in."""

import numpy as np
import pandas as pd
from arms.experiment import Experiment, Split, make_job
from arms.results import MEASURES, result_rows

ABOUT = {"steps": 2, "seconds": 1.5, "date": "2026-01-01", "commit": "abc", "tensorflow": "2.15.1", "python": "3.11"}


def experiment(sets=None, **shared):
    """Two hard sets, an easy one, a generic one."""
    small = {"backbone": "plain_small", "embedding_size": 32, "image_size": 32, "rows_per_group": 4}
    return Experiment(
        name="tiny",
        sets=sets or {},
        shared={**small, "pairs_per_group": 4, "epochs": 1, **shared},
        easy="easy",
        hard=("dark", "small"),
        generic=("lfw",),
        tuning=Split(["faces"], {"pairs": ["tuning/easy", "tuning/dark", "tuning/small"]}),
        test=Split(["faces"], {"pairs": ["easy", "dark", "small", "lfw"]}),
    )


def evaluated(name, **measured):
    """The result of a verification set, as `evaluate_pairs` gives it, of what the benchmarks look at."""
    return {"set": name, **dict.fromkeys(MEASURES, 0.5), "tar": {"1e-2": 0.25, "1e-3": 0.125}, **measured}


def drawn_rows(the_experiment, arms, seeds=range(5), stage="run", value=1.0, seed=0):
    """Rows of runs with drawn numbers, as text of a CSV file would give them."""
    random, rows = np.random.default_rng(seed), []
    for arm in arms:
        for number in seeds:
            job = make_job(the_experiment, stage, arm, number, value, 2)
            results = []
            for name in (the_experiment.easy, *the_experiment.hard, *the_experiment.generic):
                auc, margin, tar = random.uniform([0.7, 0.1, 0.1], [0.9, 0.4, 0.5])
                results.append(evaluated(name, auc=auc, expectation_margin=margin, tar={"1e-2": tar, "1e-3": 0.1}))
            rows += result_rows(job, results, the_experiment.easy, the_experiment.hard, ABOUT)
    table = pd.DataFrame(rows)
    return table.assign(value=pd.to_numeric(table["value"]))
