"""Identification by the networks of a comparison: is a probe's own person first in a gallery with distractors?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from ddl_tf.common.files import write_aside
from ddl_tf.common.progress import Progress
from ddl_tf.data.store import Faces
from ddl_tf.finetuning import FeatureCache, train_only
from ddl_tf.metrics.ranks import rank_rates, ranks
from ddl_tf.models import embedding_model
from ddl_tf.models.checkpoints import load_network
from ddl_tf.tuning.runs import RESULTS

IDENTIFICATION = "identification.csv"
# By what a run is known; `value` is text, empty where an arm has none.
RUN = ["arm", "value", "seed"]
_NOBODY = -1


class Embedded(NamedTuple):
    """Images as a network sees them.

    Attributes:
        embeddings: `[images, dim]` of unit norm.
        people: `[images]` int from 0, whom each shows.
        numbers: `[images]` int, the place of a frontal image among those of its person; a copy has that of its image.
    """

    embeddings: np.ndarray
    people: np.ndarray
    numbers: np.ndarray


def rank_one(sharp: Embedded, probes: Embedded, distractors: np.ndarray) -> float:
    """Search probes in galleries of one sharp image a person and of distractors.

    The first gallery has the first image of each person, the next the second, up to the last that all people have.

    Args:
        sharp: the frontal images.
        probes: what is searched; a probe that is the enrolled image, or a copy of it, does not count.
        distractors: `[distractors, dim]` of unit norm.

    Returns:
        The share of the probes whose person is first, the mean over the galleries.
    """
    rates = []
    for number in range(np.bincount(sharp.people).min()):
        enrolled, counted = sharp.numbers == number, probes.numbers != number
        gallery = np.concatenate([sharp.embeddings[enrolled], distractors])
        people = np.concatenate([sharp.people[enrolled], np.full(len(distractors), _NOBODY)])
        rank = ranks(probes.embeddings[counted], gallery, probes.people[counted], people)
        rates.append(rank_rates(rank, [1])[0])
    return float(np.mean(rates))


def compared_rows(run_dir: Path) -> pd.DataFrame:
    """Read the rows of the runs that `tune` compared: one for each run and test set.

    Of an arm that was compared with several values, which further values to try can lead to, those of the last are
    taken; runs that diverged have no rows.

    Args:
        run_dir: of `tune`.

    Returns:
        Its results, with `value` as text.
    """
    table = pd.read_csv(run_dir / RESULTS, dtype={"set": str})
    table = table[(table["stage"] == "compare") & table["set"].notna()]
    value = ["" if pd.isna(number) else f"{number:g}" for number in table["value"]]
    table = table.assign(value=value)
    last = table.groupby("arm")["value"].transform("last")
    return table[table["value"] == last].reset_index(drop=True)


def identification(run_dir: Path, pair_sets: Sequence[str], distractors: Path, train_blocks: int) -> None:
    """Measure the rank-1 rates of all compared runs, and add them to `identification.csv` of their folder, run by run.

    Args:
        run_dir: of `tune`.
        pair_sets: the folders of sets of `made_sets.all_pairs`; the first one has the sharp images, of which the
            galleries are.
        distractors: the set whose images are in every gallery.
        train_blocks: the blocks that trained: the activations before them are kept, as those of the training are.
    """
    path = run_dir / IDENTIFICATION
    done = read_identification(run_dir)
    known = set(done[RUN].astype(str).itertuples(index=False, name=None))
    runs = compared_rows(run_dir)[RUN].astype(str).drop_duplicates()
    waiting = [run for run in runs.itertuples(index=False, name=None) if run not in known]
    if not waiting:
        return
    sets = {Path(folder).name: Faces([folder]) for folder in pair_sets}
    others = Faces([str(distractors)])
    with Progress("identification", len(runs), len(runs) - len(waiting), "run") as progress:
        for run in waiting:
            name = "_".join(part for part in run if part)
            checkpoint = run_dir / "compare" / name / "checkpoints/last.keras"
            images = {**{of: faces.images() for of, faces in sets.items()}, "distractors": others.images()}
            embeddings = _embeddings(checkpoint, images, train_blocks, run_dir / "features")
            rates = _rates(embeddings, {of: faces.index for of, faces in sets.items()})
            rows = pd.DataFrame([{**dict(zip(RUN, run)), "set": of, "rank1": rate} for of, rate in rates.items()])
            done = pd.concat([done, rows])
            with write_aside(path) as aside:
                done.to_csv(aside, index=False)
            progress.advance(note=name)


def read_identification(run_dir: Path) -> pd.DataFrame:
    """Read the rank-1 rates that were measured: columns of `RUN` as text, `set`, `rank1`."""
    path = run_dir / IDENTIFICATION
    if not path.exists():
        return pd.DataFrame(columns=[*RUN, "set", "rank1"])
    return pd.read_csv(path, dtype={**dict.fromkeys(RUN, str), "set": str}, keep_default_na=False)


def _embeddings(
    checkpoint: Path, images: Mapping[str, Sequence[bytes]], train_blocks: int, features: Path
) -> dict[str, np.ndarray]:
    """Embed the images of sets by the network of a run."""
    tf.keras.backend.clear_session()
    network = embedding_model(load_network(checkpoint))
    train_only(network, train_blocks)
    cache = FeatureCache(network, features)
    return {name: cache.embed(encoded, name) for name, encoded in images.items()}


def _rates(embeddings: Mapping[str, np.ndarray], tables: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """The rank-1 rate of the probes of each set; the first set has the sharp images."""
    sharp, *_ = tables
    people, codes = np.unique(tables[sharp]["person"].to_numpy(str), return_inverse=True)
    rates = {}
    for name, table in tables.items():
        probes = table["probe"].to_numpy() == 1
        person = np.searchsorted(people, table["person"].to_numpy(str)[probes])
        rates[name] = rank_one(
            Embedded(embeddings[sharp], codes, tables[sharp]["number"].to_numpy()),
            Embedded(embeddings[name][probes], person, table["number"].to_numpy()[probes]),
            embeddings["distractors"],
        )
    return rates
