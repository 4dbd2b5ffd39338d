"""A worker process: runs one job after another, and keeps what each tells in a log of its own."""

import contextlib
import dataclasses
import gc
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from arms.catalogue import ALL
from arms.experiment import Job
from ddl_tf.common.errors import NotFiniteError


class Finished(NamedTuple):
    """What a job came to.

    Attributes:
        results: of the verification sets, as `evaluate_pairs` gives them; none if training diverged.
        seconds: that it took.
    """

    results: list[dict[str, Any]]
    seconds: float


def begin(output: str, single_thread: bool) -> None:
    """Prepare this process.

    Args:
        output: the folder to work in.
        single_thread: whether to compute with one thread, because other workers have the other cores.
    """
    os.chdir(output)
    import tensorflow as tf

    if single_thread:
        tf.config.threading.set_intra_op_parallelism_threads(1)


def run_job(job: Job) -> Finished:
    """Train and evaluate one arm of one seed; what an interrupted call left is gone on with.

    Args:
        job: the job.

    Returns:
        Its results.
    """
    import tensorflow as tf

    started = time.monotonic()
    with _told_to(Path("logs") / job.stage / f"{job.name}.log"):
        try:
            results = _train(job) if ALL[job.arm].trained else _evaluate(job, dict(job.settings))
            seconds = time.monotonic() - started
            if job.store and ALL[job.arm].trained:
                model = f"{job.folder}/checkpoints/last.keras"
                _evaluate(job, {"model": model, **job.evaluation, "replicates": 0})
        except NotFiniteError as error:
            print(error, file=sys.stderr)
            results, seconds = [], time.monotonic() - started
    tf.keras.backend.clear_session()
    gc.collect()
    return Finished(results, seconds)


def tidy(output: Path, job: Job) -> None:
    """Remove what no one needs of a finished run: the state to resume from, and the weights of runs for tuning.

    Args:
        output: of the experiment.
        job: the job.
    """
    folder = output / job.folder
    for name in ("resume", "tensorboard", *(("checkpoints",) if job.stage == "tune" else ())):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "checkpoints" / "best.keras").unlink(missing_ok=True)


def _train(job: Job) -> list[dict[str, Any]]:
    from ddl_tf.training import TrainSettings, train

    settings = TrainSettings(**job.settings)
    record = Path(job.folder) / "settings.json"
    wanted = json.loads(json.dumps(dataclasses.asdict(settings)))
    if record.exists() and json.loads(record.read_text(encoding="utf-8")) != wanted:
        # Of other settings, and not in the results: those refuse them.
        shutil.rmtree(job.folder)
    return train(settings)


def _evaluate(job: Job, settings: dict[str, Any]) -> list[dict[str, Any]]:
    from ddl_tf.evaluate import PairsSettings, pairs

    output = Path(job.folder) / "evaluation.json"
    pairs(PairsSettings(**settings, store=job.store, output=str(output)))
    return json.loads(output.read_text(encoding="utf-8"))["sets"]


@contextlib.contextmanager
def _told_to(log: Path) -> Iterator[None]:
    """Append all that is printed to a file, by Python or not."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with log.open("a") as file:
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in zip((1, 2), kept):
                os.dup2(descriptor, number)
                os.close(descriptor)
