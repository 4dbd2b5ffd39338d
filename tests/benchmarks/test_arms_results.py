import os
import threading

import pandas as pd
import pytest
from arm_rows import ABOUT, evaluated, experiment
from arms.experiment import make_job
from arms.results import COLUMNS, ResultsFile, result_rows, tuned_value

from ddl_tf.common.errors import InputError

TINY = experiment()
# Of tuning, which has no generic sets.
SETS = ["easy", "dark", "small"]


def rows(job, aucs=(0.9, 0.8, 0.7), margins=(0.5, 0.375, 0.25)):
    results = [evaluated(name, auc=auc, expectation_margin=m) for name, auc, m in zip(SETS, aucs, margins)]
    return result_rows(job, results, TINY.easy, TINY.hard, ABOUT)


def diverged(job):
    return result_rows(job, [], TINY.easy, TINY.hard, ABOUT)


def test_rows_of_a_run():
    job = make_job(TINY, "run", "arcface_ddl", 2, 3.0, 60)
    made = rows(job)
    assert [(row["arm"], row["seed"], row["set"], row["value"]) for row in made] == [
        ("arcface_ddl", 2, name, "3") for name in SETS
    ]
    assert [row.get("gap") for row in made] == [None, 0.125, 0.25]
    assert [row["auc"] for row in made] == [0.9, 0.8, 0.7]
    assert {(row["tar@1e-2"], row["tar@1e-3"], row["command"]) for row in made} == {(0.25, 0.125, job.command)}
    assert set().union(*made) <= set(COLUMNS)
    # Of training that diverged.
    job = make_job(TINY, "run", "rkd", 0, 0.1, 60)
    assert diverged(job) == [{"arm": "rkd", "seed": 0, "value": "0.1", "command": job.command, **ABOUT}]


def test_what_was_written_stays_as_it_was(tmp_path):
    file = ResultsFile(tmp_path / "new" / "tiny.csv")
    assert file.text().empty
    with pytest.raises(InputError, match="no results there yet"):
        file.table()
    jobs = [make_job(TINY, "run", "arcface", seed, 0.3, 60) for seed in range(3)]
    written = []
    for job in jobs:
        file.append(rows(job, aucs=(0.1 + 0.2, 1 / 3, 1.0)))
        written.append(file.path.read_text())
    assert all(after.startswith(before) for before, after in zip(written, written[1:]))
    table = file.table()
    assert table["seed"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert table["auc"].tolist() == [0.3, 0.3333333, 1.0] * 3
    assert table["gap"].isna().tolist() == [True, False, False] * 3
    assert os.listdir(file.path.parent) == ["tiny.csv"]


def test_all_rows_of_a_run_or_none(tmp_path, monkeypatch):
    file = ResultsFile(tmp_path / "tiny.csv")
    file.append(rows(make_job(TINY, "run", "arcface", 0, 0.3, 60)))
    before = file.path.read_bytes()
    written = pd.DataFrame.to_csv

    def half(self, place, **options):
        written(self.head(len(self) // 2), place, **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", half)
    with pytest.raises(OSError, match="No space"):
        file.append(rows(make_job(TINY, "run", "arcface", 1, 0.3, 60)))
    assert file.path.read_bytes() == before
    assert os.listdir(tmp_path) == ["tiny.csv"]


def test_several_that_append_at_once_lose_nothing(tmp_path):
    jobs = [make_job(TINY, "run", arm, seed, 0.3, 60) for arm in ("arcface", "cosface") for seed in range(4)]
    path = tmp_path / "tiny.csv"
    threads = [threading.Thread(target=lambda job=job: ResultsFile(path).append(rows(job))) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ResultsFile(path).table()) == 3 * len(jobs)
    assert ResultsFile(path).unfinished(jobs) == []


def test_resume(tmp_path):
    file = ResultsFile(tmp_path / "tiny.csv")
    jobs = [make_job(TINY, "run", arm, seed, 0.3, 60) for seed in range(2) for arm in ("arcface", "rkd", "none")]
    assert file.unfinished(jobs) == jobs
    file.append(rows(jobs[2]))
    # One that diverged is finished too.
    file.append(diverged(jobs[4]))
    assert file.unfinished(jobs) == [jobs[0], jobs[1], jobs[3], jobs[5]]
    assert file.unfinished([]) == []


@pytest.mark.parametrize(
    "changed, flag, before, now", [("value", "--embedding_weight", 1.0, 3.0), ("steps", "--steps_per_epoch", 60, 30)]
)
def test_results_of_other_settings_are_refused(tmp_path, changed, flag, before, now):
    file = ResultsFile(tmp_path / "tiny.csv")
    job = {"stage": "run", "arm": "arcface_ddl", "seed": 1, "value": 1.0, "steps": 60}
    file.append(rows(make_job(TINY, **job)))
    message = rf"1 runs in it are of other settings .*of arcface_ddl, seed 1: {flag}={before} instead of {flag}={now}\)"
    with pytest.raises(InputError, match=message):
        file.unfinished([make_job(TINY, **{**job, changed: now})])
    file.path.write_text("arm,auc\narcface,0.5\n")
    with pytest.raises(InputError, match="has other columns than arm, seed, set"):
        file.unfinished([])


def tuning(aucs_by_value):
    made = []
    for value, aucs in aucs_by_value.items():
        job = make_job(TINY, "tune", "triplet", 5, value, 60)
        made += rows(job, (0.99, *aucs)) if aucs else diverged(job)
    # Of another arm, and better.
    made += rows(make_job(TINY, "tune", "arcface", 5, 0.3, 60), (1.0, 1.0, 1.0))
    return pd.DataFrame(made).assign(value=lambda table: pd.to_numeric(table["value"]))


@pytest.mark.parametrize(
    "aucs, best",
    [
        ({1.0: (0.8, 0.8), 3.0: (0.9, 0.75), 10.0: (0.95, 0.6)}, 3.0),
        ({1.0: (0.8, 0.8), 3.0: (0.75, 0.85), 10.0: (0.7, 0.7)}, 1.0),
        ({10.0: (0.8, 0.8), 3.0: (0.8, 0.8), 1.0: (0.2, 0.2)}, 3.0),
        ({1.0: (0.5, 0.5), 3.0: (0.6, 0.5), 10.0: None}, 3.0),
    ],
    ids=["mean of the hard sets", "the first of equals", "the first as they are listed", "not the diverged"],
)
def test_tuned_value(aucs, best):
    assert tuned_value(tuning(aucs), "triplet", (1.0, 3.0, 10.0), TINY.hard) == best


def test_not_tuned():
    with pytest.raises(InputError, match="triplet is not tuned: 3, 30 missing; run --stages=tune"):
        tuned_value(tuning({1.0: (0.8, 0.8), 10.0: None}), "triplet", (1.0, 3.0, 10.0, 30.0), TINY.hard)
    with pytest.raises(InputError, match="triplet: training diverged with every value"):
        tuned_value(tuning({1.0: None, 3.0: None}), "triplet", (1.0, 3.0), TINY.hard)
