"""Search of a gallery, exact and approximate, against a product in NumPy: the table of docs/results/speed.md.

    python benchmarks/gallery.py

Random unit vectors, which is the hardest case: nothing tells one region of them from another. Probes are mixtures of
noise and a vector of the gallery, their mate. `at once` is the time of a probe among all of them, `alone` that of one
by itself, the median. `mate first` counts the probes whose mate is found first, `recall` the share of the most similar
ones that are found. faiss's own approximate indexes, a graph (HNSW) and an inverted file (IVF), stand beside ours up to
a size. A million vectors take 5 GB of memory.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import numpy as np

from ddl_tf.common.settings import setting
from ddl_tf.gallery.index import VectorIndex

_CHUNK = 50_000
_ALONE = 15
Search = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass
class Settings:
    """What to measure."""

    sizes: list[int] = setting([10_000, 100_000, 1_000_000], "Vectors of the galleries.")
    peers_up_to: int = setting(10_000, "The largest gallery that faiss's other indexes are made of too.")
    dim: int = setting(512, "Length of the vectors.")
    probes: int = setting(200, "Probes.")
    similarity: float = setting(0.5, "Similarity of a probe and its mate.")
    k: int = setting(5, "Vectors to find.")
    seed: int = setting(0, "Seed of the vectors.")


def unit(rows: np.ndarray) -> np.ndarray:
    """Scale rows to unit norm, in place."""
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def numpy_search(rows: np.ndarray, k: int) -> Search:
    """Multiply and partition."""

    def search(probes: np.ndarray) -> np.ndarray:
        products = probes @ rows.T
        best = np.argpartition(products, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(products, best, axis=1), axis=1)
        return np.take_along_axis(best, order, axis=1)

    return search


def ours(rows: np.ndarray, kind: str, k: int) -> tuple[Search, float]:
    """An index of the gallery, filled a part at a time; and its size on disk in MB."""
    index = VectorIndex(rows.shape[1], kind)
    for start in range(0, len(rows), _CHUNK):
        index.add(rows[start : start + _CHUNK])
    return (lambda probes: index.search(probes, k)[1]), file_size(index.write)


def peer(rows: np.ndarray, name: str, k: int) -> tuple[Search, float]:
    """An index of faiss that was not chosen."""
    import faiss

    dim = rows.shape[1]
    index: Any
    if name.startswith("HNSW"):
        index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = 100, int(name.split()[1])
    else:
        lists = int(4 * np.sqrt(len(rows)))
        quantizer = faiss.IndexFlatIP(dim)
        index = faiss.IndexIVFFlat(quantizer, dim, lists, faiss.METRIC_INNER_PRODUCT)
        index.train(rows[: 40 * lists])
        index.nprobe = lists // int(name.split("/")[1])
    index.add(rows)
    return (lambda probes: index.search(probes, k)[1]), file_size(lambda path: faiss.write_index(index, str(path)))


def file_size(write: Callable[[Path], None]) -> float:
    """The MB that something takes on disk."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "index")
        return (Path(folder) / "index").stat().st_size / 2**20


def timed(search: Search, probes: np.ndarray) -> tuple[np.ndarray, float, float]:
    """What is found, and the milliseconds of a probe at once and alone."""
    search(probes[:1])
    start = time.perf_counter()
    people = search(probes)
    at_once = (time.perf_counter() - start) / len(probes)
    alone = []
    for probe in probes[:_ALONE]:
        start = time.perf_counter()
        search(probe[np.newaxis])
        alone.append(time.perf_counter() - start)
    return people, 1e3 * at_once, 1e3 * float(np.median(alone))


def candidates(rows: np.ndarray, settings: Settings) -> Iterator[tuple[str, Callable[[], tuple[Search, float]]]]:
    """What is measured, the exact way first."""
    yield "NumPy", lambda: (numpy_search(rows, settings.k), rows.nbytes / 2**20)
    yield "exact", lambda: ours(rows, "exact", settings.k)
    yield "approximate", lambda: ours(rows, "approximate", settings.k)
    if len(rows) <= settings.peers_up_to:
        for name in ("HNSW 64", "HNSW 256", "IVF 1/20", "IVF 1/5"):
            yield f"faiss {name}", lambda name=name: peer(rows, name, settings.k)  # type: ignore[misc]


def main(settings: Settings) -> None:
    """Print the table.

    Args:
        settings: the flags.
    """
    print("| vectors | index | made in (s) | MB on disk | at once (ms) | alone (ms) | mate first | recall |")
    print("|" + " --- |" * 8)
    for size in settings.sizes:
        rng = np.random.default_rng(settings.seed)
        rows = np.empty([size, settings.dim], np.float32)
        for start in range(0, size, _CHUNK):
            part = rows[start : start + _CHUNK]
            part[:] = unit(rng.standard_normal(part.shape, np.float32))
        mates = rng.integers(0, size, settings.probes)
        share = np.float32(settings.similarity)
        noise = unit(rng.standard_normal([settings.probes, settings.dim], np.float32))
        probes = unit(share * rows[mates] + np.sqrt(1 - share**2) * noise)
        truth: Any = None
        for name, make in candidates(rows, settings):
            start = time.perf_counter()
            search, megabytes = make()
            made = time.perf_counter() - start
            people, at_once, alone = timed(search, probes)
            del search
            truth = people if truth is None else truth
            recall = np.mean([len(set(row) & set(best)) / settings.k for row, best in zip(people, truth)])
            first = np.mean(people[:, 0] == mates)
            print(
                f"| {size:,} | {name} | {made:.1f} | {megabytes:,.0f} | {at_once:.2f} | {alone:.2f} | {first:.1%} | "
                f"{recall:.1%} |",
                flush=True,
            )
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    command.run(main, Settings)
