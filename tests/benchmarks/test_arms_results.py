import os
from concurrent import futures

import pandas as pd
import pytest
from arm_rows import ABOUT, evaluated, experiment
from arms.experiment import make_job
from arms.results import ResultsFile, result_rows, tuned_value

from ddl_tf.common.errors import InputError

TINY = experiment()
# Of tuning, which has no generic sets.
SETS = ["easy", "dark", "small"]


def rows(job, aucs=(0.9, 0.8, 0.7), margins=(0.5, 0.375, 0.25)):
    results = [evaluated(name, auc=auc, expectation_margin=m) for name, auc, m in zip(SETS, aucs, margins)]
    return result_rows(job, results, TINY.easy, TINY.hard, ABOUT)


def diverged(job):
    return result_rows(job, [], TINY.easy, TINY.hard, ABOUT)


def arcface(seed):
    return make_job(TINY, "run", "arcface", seed, 0.3, 60)


def test_rows_of_a_run():
    job = make_job(TINY, "run", "arcface_ddl", 2, 3.0, 60)
    made = rows(job)
    assert [(row["arm"], row["set"], row["value"]) for row in made] == [("arcface_ddl", name, "3") for name in SETS]
    assert [(row.get("gap"), row["auc"]) for row in made] == [(None, 0.9), (0.125, 0.8), (0.25, 0.7)]
    assert {(row["tar@1e-2"], row["tar@1e-3"], row["command"]) for row in made} == {(0.25, 0.125, job.command)}
    # Of training that diverged.
    job = make_job(TINY, "run", "rkd", 0, 0.1, 60)
    assert diverged(job) == [{"arm": "rkd", "seed": 0, "value": "0.1", "command": job.command, **ABOUT}]


def test_what_was_written_stays_as_it_was(tmp_path, monkeypatch):
    file = ResultsFile(tmp_path / "new" / "tiny.csv")
    assert file.text().empty
    with pytest.raises(InputError, match="no results there yet"):
        file.table()
    jobs = [*(arcface(seed) for seed in range(2)), make_job(TINY, "run", "rkd", 0, 0.1, 60), arcface(2)]
    assert file.unfinished(jobs) == jobs
    written = ""
    for job in jobs[:2]:
        file.append(rows(job, aucs=(0.1 + 0.2, 1 / 3, 1.0)))
        assert file.path.read_text().startswith(written)
        written = file.path.read_text()
    table = file.table()
    assert table["seed"].tolist() == [0, 0, 0, 1, 1, 1]
    assert table["auc"].tolist() == [0.3, 0.3333333, 1.0] * 2
    assert table["gap"].isna().tolist() == [True, False, False] * 2
    # One that diverged is finished too.
    file.append(diverged(jobs[2]))
    assert file.unfinished(jobs) == jobs[3:]
    # All rows of a run, or none.
    before, write = file.path.read_bytes(), pd.DataFrame.to_csv

    def half(self, place, **options):
        write(self.head(len(self) // 2), place, **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", half)
    with pytest.raises(OSError, match="No space"):
        file.append(rows(jobs[3]))
    assert file.path.read_bytes() == before
    assert os.listdir(file.path.parent) == ["tiny.csv"]


def test_several_that_append_at_once_lose_nothing(tmp_path):
    path, jobs = tmp_path / "tiny.csv", [arcface(seed) for seed in range(8)]
    with futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda job: ResultsFile(path).append(rows(job)), jobs))
    assert len(ResultsFile(path).table()) == 3 * len(jobs)


def test_results_of_other_settings_are_refused(tmp_path):
    file = ResultsFile(tmp_path / "tiny.csv")
    file.append(rows(arcface(1)))
    message = r"1 runs in it are of other settings .*of arcface, seed 1: --margin=0.3 instead of --margin=0.5\)"
    with pytest.raises(InputError, match=message):
        file.unfinished([make_job(TINY, "run", "arcface", 1, 0.5, 60)])
    file.path.write_text("arm,auc\narcface,0.5\n")
    with pytest.raises(InputError, match="has other columns than arm, seed, set"):
        file.unfinished([])


def test_tuned_value():
    def tuned(aucs_by_value, values=(1.0, 3.0, 10.0)):
        # Of another arm, and better.
        made = rows(make_job(TINY, "tune", "arcface", 5, 0.3, 60), (1.0, 1.0, 1.0))
        for value, aucs in aucs_by_value.items():
            job = make_job(TINY, "tune", "triplet", 5, value, 60)
            made += rows(job, (0.99, *aucs)) if aucs else diverged(job)
        table = pd.DataFrame(made).assign(value=lambda table: pd.to_numeric(table["value"]))
        return tuned_value(table, "triplet", values, TINY.hard)

    # The mean of the hard sets; the first of equals; not one that diverged.
    assert tuned({1.0: (0.8, 0.8), 3.0: (0.9, 0.75), 10.0: (0.95, 0.6)}) == 3.0
    assert tuned({10.0: (0.8, 0.8), 3.0: (0.8, 0.8), 1.0: (0.2, 0.2)}) == 3.0
    assert tuned({1.0: (0.5, 0.5), 3.0: (0.6, 0.5), 10.0: None}) == 3.0
    with pytest.raises(InputError, match="triplet is not tuned: 3 missing; run --stages=tune"):
        tuned({1.0: (0.8, 0.8), 10.0: None})
    with pytest.raises(InputError, match="triplet: training diverged with every value"):
        tuned({1.0: None, 3.0: None}, (1.0, 3.0))
