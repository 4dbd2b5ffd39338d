"""The size of IJB-C: templates, 15.66 million pairs and 1:N, here and by InsightFace's scripts, on the same embeddings.

    python benchmarks/ijb.py --insightface=../insightface --output=/tmp/ijb

generates lists and embeddings of that size (2.2 GB of disk), runs `evaluate_ijb`, ijb_11.py and ijb_1n.py on them, each
in a process of its own, compares what they say, and prints the table of docs/results/speed.md. `--insightface` is a
checkout of https://github.com/deepinsight/insightface, or the folder with the two scripts; nothing of it is in this
repository.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from generated_ijb import IJBSize, generate_ijb, generate_views
from pyarrow import csv

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting
from ddl_tf.protocols.ijb import IJB, read_ijb

SCRIPTS = ("ijb_11.py", "ijb_1n.py")
MOST_GIB = 6
# Stage -> the functions of ddl_tf.evaluation.ijb that are it.
STAGES = {
    "templates": "template_features",
    "pair similarities": "_pair_similarities",
    "ROC and TAR": "_verify",
    "intervals": "replicates_over_people",
    "1:N": "_identify",
}


@dataclasses.dataclass
class Settings:
    """How large a set to make, and where InsightFace's scripts are."""

    insightface: str = setting("", "Checkout of InsightFace, or the folder with ijb_11.py and ijb_1n.py.")
    output: str = setting("runs/ijb", "Folder for the generated lists and embeddings.")
    part: float = setting(1.0, "Images and templates of the set, as a part of those of IJB-C.")
    dim: int = setting(512, "Dimension of the embeddings.")
    replicates: int = setting(1000, "Replicates of the bootstrap.")
    seed: int = setting(0, "Seed of the lists and the embeddings.")


def _write_columns(path: Path, columns: list[Any], separator: str = " ", header: bool = False) -> None:
    table = pa.table({f"c{place}": pa.array(column) for place, column in enumerate(columns)})
    csv.write_csv(table, path, csv.WriteOptions(include_header=header, delimiter=separator, quoting_style="none"))


def write_lists(ijb: IJB, meta: Path) -> None:
    """Write the lists of a set in the layout of InsightFace."""
    meta.mkdir(parents=True, exist_ok=True)
    _write_columns(meta / "ijbc_face_tid_mid.txt", [ijb.keys, ijb.templates, ijb.medias])
    _write_columns(
        meta / "ijbc_name_5pts_score.txt", [ijb.keys, *[np.arange(len(ijb.keys)) % 97] * 10, ijb.scores.astype(float)]
    )
    assert ijb.pairs is not None
    assert ijb.probes is not None
    columns = [ijb.pairs.first, ijb.pairs.second, ijb.pairs.same.astype(int)]
    _write_columns(meta / "ijbc_template_pair_label.txt", columns)
    for name, faces in [*((f"gallery_{faces.name}", faces) for faces in ijb.galleries), ("probe_mixed", ijb.probes)]:
        _write_columns(meta / f"ijbc_1N_{name}.csv", [faces.templates, faces.subjects], ",", header=True)


def generate(root: Path, part: float, dim: int, seed: int) -> dict[str, Any]:
    """Write lists and embeddings."""
    full = dataclasses.asdict(IJBSize())
    size = {name: round(part * count) for name, count in full.items()}
    # Pairs of a gallery and a probe grow with both.
    size["impostors"] = round(part**2 * full["impostors"])
    ijb = generate_ijb(IJBSize(**size), seed)
    write_lists(ijb, root / "meta")
    shape = (len(ijb.templates), 2, dim)
    views = np.lib.format.open_memmap(root / "views.npy", mode="w+", dtype=np.float32, shape=shape)
    generate_views(ijb, dim, seed, views)
    views.flush()
    return {"images": shape[0]}


def ours(root: Path, replicates: int) -> dict[str, Any]:
    """Read and evaluate, the stages clocked."""
    from ddl_tf.evaluation import ijb as module

    stages: dict[str, float] = {}

    def clocked(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments)
            stages[stage] = time.perf_counter() - start
            return result

        return run

    for stage, name in STAGES.items():
        setattr(module, name, clocked(stage, getattr(module, name)))
    start = time.perf_counter()
    ijb = read_ijb(str(root), check_images=False)
    stages["lists"] = time.perf_counter() - start
    start = time.perf_counter()
    outcome = module.evaluate_ijb(ijb, np.load(root / "views.npy", mmap_mode="r"), replicates=replicates)
    stages["evaluate_ijb"] = time.perf_counter() - start
    np.save(root / "ours.npy", outcome.scores["similarity"])
    return {"stages": stages, "result": outcome.result}


def _peer(folder: str) -> Any:
    sys.path.insert(0, str(Path(__file__).parent / "peers"))
    import insightface_ijb

    # Their readers use a name that NumPy has no more.
    np.int = int  # type: ignore[attr-defined]
    return insightface_ijb, Path(folder), dict.fromkeys(insightface_ijb.OPTIONS, True)


def _their_lists(script: Path, *reads: tuple[str, Path]) -> tuple[list[Any], float]:
    """What their readers read, and the seconds."""
    import pandas as pd

    peer, _, options = _peer(str(script.parent))
    names = peer.Script(script, options, {"pd": pd}).names
    start = time.perf_counter()
    tables = [names[reader](path) for reader, path in reads]
    return tables, time.perf_counter() - start


def theirs_11(root: Path, folder: str) -> dict[str, Any]:
    """Read the lists and run ijb_11.py."""
    peer, path, options = _peer(folder)
    meta = root / "meta"
    (faces, pairs), seconds = _their_lists(
        path / SCRIPTS[0],
        ("read_template_media_list", meta / "ijbc_face_tid_mid.txt"),
        ("read_template_pair_list", meta / "ijbc_template_pair_label.txt"),
    )
    scores = np.loadtxt(meta / "ijbc_name_5pts_score.txt", usecols=11, dtype=np.float32, ndmin=1)
    views = np.load(root / "views.npy")
    result = peer.verification(path, options, views, (*faces, scores), pairs)
    np.save(root / "theirs.npy", result.pop("score"))
    return {**result, "stages": {**result["stages"], "lists": seconds}}


def theirs_1n(root: Path, folder: str) -> dict[str, Any]:
    """Read the lists and run ijb_1n.py."""
    peer, path, options = _peer(folder)
    meta = root / "meta"
    (faces, first, second, probes), seconds = _their_lists(
        path / SCRIPTS[1],
        ("read_template_media_list", meta / "ijbc_face_tid_mid.txt"),
        ("read_template_subject_id_list", meta / "ijbc_1N_gallery_G1.csv"),
        ("read_template_subject_id_list", meta / "ijbc_1N_gallery_G2.csv"),
        ("read_template_subject_id_list", meta / "ijbc_1N_probe_mixed.csv"),
    )
    scores = np.loadtxt(meta / "ijbc_name_5pts_score.txt", usecols=11, dtype=np.float32, ndmin=1)
    gallery = [np.concatenate(columns) for columns in zip(first, second)]
    views = np.load(root / "views.npy")
    result = peer.identification(path, options, views, (*faces, scores), gallery, probes)
    return {**result, "stages": {**result["stages"], "lists": seconds}}


def _in_process(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run a function in a fresh process; its result, with the peak memory."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_with_memory, (function, arguments))


def _with_memory(function: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> dict[str, Any]:
    start = time.perf_counter()
    result = function(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{function.__name__}: {time.perf_counter() - start:.0f} s, {peak:.2f} GiB", file=sys.stderr, flush=True)
    return {**result, "peak": peak}


def compare(root: Path, mine: dict[str, Any], pairs: dict[str, Any], search: dict[str, Any]) -> dict[str, float]:
    """The largest differences between what ours and theirs say."""
    result = mine["result"]
    ours_of = {
        "TAR": (list(result["verification"]["tar"].values()), pairs["tar"]),
        "rank": (list(result["identification"]["rank"].values()), search["rank"]),
        "TPIR": (list(result["identification"]["tpir"].values()), search["tpir"]),
    }
    differences = {name: float(np.max(np.abs(np.subtract(*both)))) for name, both in ours_of.items()}
    similarities = [np.load(root / f"{whose}.npy") for whose in ("ours", "theirs")]
    differences["similarity"] = float(np.max(np.abs(np.subtract(*similarities))))
    return differences


def main(settings: Settings) -> None:
    """Generate the set, run both, and print the table.

    Args:
        settings: the flags.
    """
    folders = [Path(settings.insightface) / part for part in ("", "recognition/_evaluation_/ijb")]
    clones = [folder for folder in folders if all((folder / script).is_file() for script in SCRIPTS)]
    if not settings.insightface or not clones:
        raise InputError(f"--insightface={settings.insightface}: {' and '.join(SCRIPTS)} are not there; check the path")
    root = Path(settings.output)
    _in_process(generate, root, settings.part, settings.dim, settings.seed)
    mine = _in_process(ours, root, settings.replicates)
    pairs = _in_process(theirs_11, root, str(clones[0]))
    search = _in_process(theirs_1n, root, str(clones[0]))
    spent, verified, identified = mine["stages"], pairs["stages"], search["stages"]
    intervals = spent["intervals"]
    rows = [
        ("reading the lists, s", spent["lists"], verified["lists"] + identified["lists"]),
        ("templates, s", spent["templates"], verified["templates"] + identified["templates"]),
        ("pair similarities, s", spent["pair similarities"], verified["pair similarities"]),
        ("ROC and TAR, s", spent["ROC and TAR"], verified["ROC and TAR"]),
        ("1:N, s", spent["1:N"], identified["1:N"]),
    ]
    rows.append(("all of these, s", *(sum(row[side] for row in rows) for side in (1, 2))))
    rows.append(("peak memory, GiB", mine["peak"], max(pairs["peak"], search["peak"])))
    print("| | ddl_tf | ijb_11.py and ijb_1n.py | ratio |\n| --- | --- | --- | --- |")
    for name, seconds, other in rows:
        print(f"| {name} | {seconds:.1f} | {other:.1f} | {other / seconds:.1f} |")
    print(
        f"\nintervals, {settings.replicates} replicates: {intervals:.1f} s; evaluate_ijb: {spent['evaluate_ijb']:.1f} s"
    )
    differences = compare(root, mine, pairs, search)
    print("largest differences:", ", ".join(f"{name} {value:.1e}" for name, value in differences.items()))
    print(json.dumps(mine["result"]))
    if mine["peak"] >= MOST_GIB:
        raise AssertionError(f"{mine['peak']:.2f} GiB, where less than {MOST_GIB} is promised")


if __name__ == "__main__":
    command.run(main, Settings)
