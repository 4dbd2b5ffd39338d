"""Changes of a gallery: what enrolling one person costs, after `kill -9`, and from many threads and processes at once.

    python benchmarks/gallery_changes.py --people=1000000 --kills=100

It ends with an error if anybody is lost. A million people of 512 values take 3 GB of disk and, while they are enrolled,
7 GB of memory.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from ddl_tf.common.settings import setting
from ddl_tf.gallery import Gallery, ModelRecord

_CHUNK = 50_000
_ENROLLED_ALONE = 20
_IMAGES = 2
THREADS, PROCESSES = 8, 2


@dataclasses.dataclass
class Settings:
    """What to measure."""

    people: int = setting(100_000, "People in the gallery that one more is enrolled into.")
    dim: int = setting(512, "Length of the embeddings.")
    kills: int = setting(100, "How many times a process that enrolls people is killed.")
    each: int = setting(25, "People whom each thread of each process enrolls, and each process besides.")
    index: str = setting("exact", "The kind of index.")
    seed: int = setting(0, "Seed.")


def rows_of(name: str, dim: int, count: int = _IMAGES) -> np.ndarray:
    """Embeddings that the name tells."""
    return np.random.default_rng(list(name.encode())).standard_normal([count, dim]).astype(np.float32)


def template(name: str, dim: int, count: int) -> np.ndarray:
    """The sum of the first unit embeddings of somebody."""
    rows = rows_of(name, dim)[:count]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).sum(axis=0)


def written() -> int:
    """Bytes that this process has handed to the file system."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def enrolment_cost(folder: str, settings: Settings) -> None:
    """Enroll people one by one into a large gallery, and search."""
    rng = np.random.default_rng(settings.seed)
    gallery = Gallery.create(folder, ModelRecord("faces", "0" * 64, settings.dim), index=settings.index)
    start = time.perf_counter()
    with gallery.working():
        for first in range(0, settings.people, _CHUNK):
            names = [f"person {number}" for number in range(first, min(first + _CHUNK, settings.people))]
            gallery.enrol(names, rng.standard_normal([len(names), settings.dim], np.float32), names)
    size = sum(file.stat().st_size for file in Path(folder).iterdir())
    print(f"{settings.people:,} people in {time.perf_counter() - start:.0f} s, {size / 2**20:,.0f} MB", flush=True)
    for what in ("before any search", "after a search"):
        times, sizes = [], []
        for number in range(_ENROLLED_ALONE):
            name = f"{what} {number}"
            row, before, start = rows_of(name, settings.dim, 1), written(), time.perf_counter()
            gallery.enrol([name], row, [name])
            times.append(1e3 * (time.perf_counter() - start))
            sizes.append((written() - before) / 2**20)
        print(
            f"enrolling one person, {what}: median {np.median(times):.1f} ms, at most {max(times):.1f} ms; written: "
            f"median {np.median(sizes):.2f} MB, at most {max(sizes):.2f} MB",
            flush=True,
        )
        if what.startswith("before"):
            for order in ("first search, which makes the cache", "search after it"):
                print(f"{order}: {search_time(gallery, row):.2f} s", flush=True)
    print(f"search after {_ENROLLED_ALONE} more were enrolled: {search_time(gallery, row):.2f} s")
    answer = gallery.search(row, 1).people[0, 0]
    assert answer == name, answer
    del gallery
    print(f"first search of another process, by the cache: {search_time(Gallery(folder), row):.2f} s", flush=True)


def search_time(gallery: Gallery, row: np.ndarray) -> float:
    """Seconds."""
    start = time.perf_counter()
    gallery.search(row, 1)
    return time.perf_counter() - start


def kills(folder: str, settings: Settings) -> None:
    """Kill a process that reports whom it has enrolled, again and again."""
    rng = np.random.default_rng(settings.seed)
    Gallery.create(folder, ModelRecord("faces", "0" * 64, settings.dim), index=settings.index)
    reported: list[str] = []
    for kill in range(settings.kills):
        receive, send = os.pipe()
        child = os.fork()
        if not child:
            gallery = Gallery(folder)
            number = 0
            while True:
                name = f"{kill}-{number}"
                gallery.enrol([name] * _IMAGES, rows_of(name, settings.dim), ["a", "b"])
                os.write(send, f"{name}\n".encode())
                if number % 3 == 2:
                    gallery.enrol([name], rows_of(name, settings.dim)[:1], ["c"], existing="replace")
                    gallery.search(rows_of(name, settings.dim), 3)
                number += 1
        os.close(send)
        with os.fdopen(receive) as lines:
            names = [lines.readline() for _ in range(kill % 5)]
            time.sleep(float(rng.uniform(0, 0.02)))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            reported += [name.strip() for name in [*names, *lines]]
        table = Gallery(folder).people()
        lost = set(reported) - set(table["person"])
        assert not lost, f"lost: {sorted(lost)[:5]}"
        assert set(table["images"]) <= {1, _IMAGES}, "somebody is half there"
    enrolled = check(folder, settings)
    print(
        f"killed {settings.kills} times: nothing of {len(reported)} who were reported is lost; {enrolled} are enrolled"
    )


def crowd(folder: str, settings: Settings) -> None:
    """Enroll and search in all threads of one gallery, and in other processes, at once."""
    gallery = Gallery.create(folder, ModelRecord("faces", "0" * 64, settings.dim), index=settings.index)
    command = [sys.executable, __file__, f"--dim={settings.dim}", f"--each={settings.each}", "--people=-1"]
    others = [
        subprocess.Popen(command, env={**os.environ, "CROWD": folder, "NAME": f"process {number}"})
        for number in range(PROCESSES)
    ]
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            enroll_and_search(gallery, name, settings)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"thread {number}",)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = [other.wait() for other in others]
    assert not errors, errors
    assert not any(codes), codes
    names = [*(f"thread {number}" for number in range(THREADS)), *(f"process {number}" for number in range(PROCESSES))]
    expected = {f"{name}: {number}" for name in names for number in range(settings.each)}
    people = gallery.people()
    assert set(people["person"]) == expected, set(people["person"]) ^ expected
    assert set(people["images"]) == {_IMAGES}
    check(folder, settings)
    print(f"{THREADS} threads and {PROCESSES} processes: exactly the {len(expected)} people whom they enrolled")


def enroll_and_search(gallery: Gallery, name: str, settings: Settings) -> None:
    """Whoever has been enrolled is found at once, and whoever was removed is not."""
    for number in range(settings.each):
        person = f"{name}: {number}"
        rows = rows_of(person, settings.dim)
        gallery.enrol([person] * _IMAGES, rows, ["a", "b"])
        gallery.enrol([f"{person}, gone"], rows[:1], ["a"])
        gallery.remove([f"{person}, gone"])
        answer = gallery.search(template(person, settings.dim, _IMAGES)[np.newaxis], 2)
        assert answer.people[0, 0] == person, answer


def check(folder: str, settings: Settings) -> int:
    """Everybody is found by their own embeddings, in a gallery that is opened anew."""
    gallery = Gallery(folder)
    table = gallery.people()
    people = table["person"].tolist()
    if people:
        queries = np.stack([template(name, settings.dim, count) for name, count in zip(people, table["images"])])
        answer = gallery.search(queries, 1)
        assert answer.people[:, 0].tolist() == people
        np.testing.assert_allclose(answer.similarity, 1, atol=1e-5)
    assert gallery.description["people"] == len(people)
    return len(people)


def main(settings: Settings) -> None:
    """Print what enrolling costs, and that nobody is lost.

    Args:
        settings: the flags.
    """
    if "CROWD" in os.environ:
        enroll_and_search(Gallery(os.environ["CROWD"]), os.environ["NAME"], settings)
        return
    with tempfile.TemporaryDirectory() as folder:
        kills(f"{folder}/kills", settings)
        crowd(f"{folder}/crowd", settings)
        enrolment_cost(f"{folder}/cost", settings)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    command.run(main, Settings)
