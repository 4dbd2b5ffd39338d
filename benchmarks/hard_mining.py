"""What mining does to the batches: similarities of hardest negatives and of positives, and the time to draw.

    python benchmarks/hard_mining.py --data=datasets/celeba --model=runs/celeba_cfp_pretrain

draws batches of a stored set with groups, looks at them with the network that they are mined by, and prints the table
of docs/results/mining.md.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import time
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.settings import setting
from ddl_tf.data.pools import StoredPairs
from ddl_tf.data.sampling import StreamSampler, StreamSizes
from ddl_tf.data.store import Faces
from ddl_tf.losses import group_similarities
from ddl_tf.mining.neighbours import nearest_identities
from ddl_tf.mining.pairs import PairRules, mine_pairs
from ddl_tf.mining.view import Viewer, mean_sums
from ddl_tf.runtimes.views import unit


@dataclasses.dataclass
class Settings:
    """What to draw, and how often."""

    data: list[str] = setting([], "Stored sets with groups; required.")
    model: Optional[str] = setting(None, "The network: a checkpoint or run folder; required.")
    output: str = setting("runs/hard_mining", "Folder for the embeddings.")
    rows: int = setting(32, "Classified rows, and pairs, of each group.")
    batches: int = setting(200, "Batches of each kind.")
    seed: int = setting(0, "Seed of the batches.")


def _look(name: str, sampler: StreamSampler, vectors: np.ndarray, batches: int) -> dict[str, object]:
    """One line of the table: the mean similarities of each group in some batches."""
    by_group: dict[str, list[float]] = {}
    seconds = 0.0
    for step in range(batches):
        began = time.perf_counter()
        rows = sampler.rows(step)
        seconds += time.perf_counter() - began
        kinds = group_similarities(vectors[rows.record], rows.identity, rows.group, positive_threshold=-2.0)
        for kind, groups in zip(("positive", "hardest negative"), kinds):
            for group, values in zip(("easy", *(f"hard {number}" for number in sampler.groups[1:])), groups):
                by_group.setdefault(f"{group}, {kind}", []).append(float(np.mean(values)))
    return {
        "batches": name,
        **{key: float(np.mean(v)) for key, v in by_group.items()},
        "ms a batch": 1e3 * seconds / batches,
    }


def main(settings: Settings) -> None:
    """Draw batches, and print the table.

    Args:
        settings: the flags.
    """
    if not settings.data:
        raise InputError("--data is missing; see --help")
    viewer, faces = Viewer(settings.model), Faces(settings.data)
    embeddings = viewer.embed(faces, Path(settings.output) / "embeddings")
    identity, group = (faces.index[name].to_numpy(np.int64) for name in ("identity", "group"))
    vectors = unit(embeddings.rows(np.arange(len(faces))))
    centers = unit(mean_sums(embeddings, identity, faces.num_identities))
    began = time.perf_counter()
    nearest = nearest_identities(centers, 32, np.unique(identity[group >= 0]))
    search = time.perf_counter() - began
    kept = mine_pairs(embeddings.rows, identity, group, PairRules(per_identity=1), seed=settings.seed).kept
    hardest = StoredPairs(*(kept[name].to_numpy(np.int64) for name in ("group", "first", "second")))

    def sampler(confusable: int, pairs: Optional[StoredPairs] = None) -> StreamSampler:
        sizes = StreamSizes(per_group=settings.rows, pairs_per_group=settings.rows, confusable=confusable)
        return StreamSampler(faces.index, sizes, settings.seed, pairs, lambda step: nearest)

    lines = {
        "at random": sampler(1),
        "--confusable=2": sampler(2),
        "--confusable=4": sampler(4),
        "--confusable=8": sampler(8),
        "--mined_pairs, the hardest of each identity": sampler(1, hardest),
        "both, --confusable=4": sampler(4, hardest),
    }
    table = pd.DataFrame([_look(name, line, vectors, settings.batches) for name, line in lines.items()])
    print(markdown_table(table))
    print(f"\nthe search for the nearest of {len(np.unique(identity[group >= 0])):,} centers took {search:.2f} s")


if __name__ == "__main__":
    command.run(main, Settings)
