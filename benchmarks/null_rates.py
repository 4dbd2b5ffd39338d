"""How often tests of two equally good models say that they differ, in every protocol: 5% is right.

    python benchmarks/null_rates.py

draws people who are as hard to recognise to one model as to the other on average, but not each of them; evaluates both
models by the protocol, compares them as `evaluate compare` does, and prints the share of draws with p < 0.05 as
the table of docs/results/intervals.md, with its standard error. It takes about ten minutes on one core.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from generated_ijb import IJBSize, generate_ijb

from ddl_tf.common.progress import Progress
from ddl_tf.common.settings import setting
from ddl_tf.evaluation.ijb import evaluate_ijb
from ddl_tf.evaluation.megaface import evaluate_megaface
from ddl_tf.evaluation.pairs import evaluate_pair_set
from ddl_tf.evaluation.scface import evaluate_scface
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.evaluation.tinyface import evaluate_tinyface
from ddl_tf.importers.scface import DISTANCES
from ddl_tf.metrics.paired_tests import compare_scores
from ddl_tf.protocols.gallery_set import GallerySet
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.protocols.tinyface import DISTRACTOR

DIM, ALPHA = 32, 0.05
Outcomes = Iterator[Outcome]


@dataclasses.dataclass
class Settings:
    """How much to simulate."""

    draws: int = setting(400, "Sets to draw of each protocol.")
    replicates: int = setting(200, "Bootstrap replicates of each.")
    seed: int = setting(0, "Seed of everything random.")
    only: str = setting("", "Only the protocols whose title holds this text.")


def two_models(person: np.ndarray, random: np.random.Generator, noise: float) -> Iterator[np.ndarray]:
    """Draw the embeddings of two equally good models, `[images, DIM]` of unit norm.

    Args:
        person: `[images]` whom each shows, from 0.
        random: what draws.
        noise: how far an image is from its person, on average; half of the hardness is one model's alone.
    """
    num_people = int(person.max()) + 1
    centers, common = random.normal(size=[num_people, DIM]), random.normal(size=[len(person), DIM])
    hardness = random.normal(0, 0.3, num_people)
    for _ in range(2):
        # What one model makes of a person, and of an image.
        own_centers = centers + 0.5 * random.normal(size=centers.shape)
        deviations = 0.7 * (common + random.normal(size=common.shape))
        strength = noise * np.exp(0.7 * (hardness + random.normal(0, 0.3, num_people)))
        rows = own_centers[person] + strength[person, np.newaxis] * deviations
        yield (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _pair_set(person: np.ndarray, pairs: int, random: np.random.Generator, known: bool) -> PairSet:
    """Draw pairs of images, as many same as different ones; images of one person are neighbours."""
    each = len(person) // (int(person.max()) + 1)
    first = random.integers(0, len(person), 2 * pairs)
    same = np.arange(2 * pairs) % 2 == 0
    shift = random.integers(1, each, 2 * pairs)
    mate = first // each * each + (first % each + shift) % each
    other = (first + each * random.integers(1, len(person) // each, 2 * pairs)) % len(person)
    second = np.where(same, mate, other)
    fold = np.arange(2 * pairs) * 10 // (2 * pairs)
    return PairSet("pairs", [], first, second, same, fold, people=person.astype(str) if known else None)


def _pairs(people: int, each: int, pairs: int, known: bool = True) -> Callable[[np.random.Generator], Outcomes]:
    def outcomes(random: np.random.Generator) -> Outcomes:
        person = np.repeat(np.arange(people), each)
        pair_set = _pair_set(person, pairs, random, known)
        for embeddings in two_models(person, random, 1.3):
            yield evaluate_pair_set(pair_set, embeddings)

    return outcomes


def independent_pairs(random: np.random.Generator) -> Outcomes:
    """Pairs that share no person: the one case in which DeLong's and McNemar's tests are right."""
    pairs = np.arange(600)
    same = pairs % 2 == 0
    person = np.stack([2 * pairs, np.where(same, 2 * pairs, 2 * pairs + 1)], axis=1).ravel()
    pair_set = PairSet("pairs", [], 2 * pairs, 2 * pairs + 1, same, pairs * 10 // 600)
    for embeddings in two_models(person, random, 1.3):
        yield evaluate_pair_set(pair_set, embeddings)


def scface(random: np.random.Generator) -> Outcomes:
    """80 subjects, a mugshot, and five probes at each of three distances."""
    person = np.repeat(np.arange(80), 16)
    place = np.arange(len(person)) % 16
    gallery, probes = np.flatnonzero(place == 0), np.flatnonzero(place > 0)
    condition = np.array([f"d{DISTANCES[(image - 1) // 5]}" for image in place[probes]])
    made = GallerySet("scface", [b""] * len(person), [], gallery, person[gallery], probes, person[probes], condition)
    for embeddings in two_models(person, random, 1.5):
        yield evaluate_scface(made, embeddings, 0)


def tinyface(random: np.random.Generator) -> Outcomes:
    """150 people of two gallery images and one to four probes, among 1,000 distractors."""
    person = np.concatenate([np.repeat(np.arange(150), 6), np.arange(150, 1150)])
    place = np.arange(900) % 6
    is_probe = (place >= 2) & (place < 3 + random.integers(0, 4, 150)[person[:900]])
    probes = np.flatnonzero(is_probe)
    gallery = np.concatenate([np.flatnonzero(place < 2), np.arange(900, 1900)])
    named = np.where(person[gallery] < 150, person[gallery], DISTRACTOR)
    made = GallerySet(
        "tinyface", [b""] * len(person), [], gallery, named, probes, person[probes], np.full(len(probes), "")
    )
    for embeddings in two_models(person, random, 1.5):
        yield evaluate_tinyface(made, embeddings, 0)


def ijb(random: np.random.Generator, pairs: int = 12_000) -> Outcomes:
    """60 people, 300 probe templates of few images, 300 same and 12,000 different pairs, both galleries."""
    made = generate_ijb(IJBSize(900, 60, 300, 300, pairs), int(random.integers(2**31)))
    if not pairs:
        made = dataclasses.replace(made, pairs=None)
    lists = [*made.galleries, *([made.probes] if made.probes else [])]
    templates = np.concatenate([faces.templates for faces in lists])
    subjects = np.concatenate([faces.subjects for faces in lists])
    order = np.argsort(templates)
    person = subjects[order][np.searchsorted(templates[order], made.templates)]
    for embeddings in two_models(person, random, 1.8):
        yield evaluate_ijb(made, embeddings[:, np.newaxis], flip=False, replicates=0)


def megaface(random: np.random.Generator) -> Outcomes:
    """80 people of 6 photos, as FaceScrub's 80, among 1,000 distractors."""
    person = np.concatenate([np.repeat(np.arange(80), 6), np.arange(80, 1080)])
    for embeddings in two_models(person, random, 1.5):
        yield evaluate_megaface(embeddings[:480], person[:480], [embeddings[480:]], 1000, replicates=0)


PROTOCOLS: Mapping[str, Callable[[np.random.Generator], Outcomes]] = {
    "pairs, nobody in two of them": independent_pairs,
    "pairs, people known (100 people, 600 + 600)": _pairs(100, 6, 600),
    "pairs, people unknown, images in several (100 people, 600 + 600)": _pairs(100, 6, 600, known=False),
    "RFW, one race (300 people, 600 + 600)": _pairs(300, 4, 600),
    "SCface": scface,
    "TinyFace": tinyface,
    "IJB, 1:1 and 1:N": ijb,
    "IJB, 1:N alone": functools.partial(ijb, pairs=0),
    "MegaFace": megaface,
}
# Not of the results, so that nothing tests them.
_UNTESTED = ("mean_same", "mean_different")


def false_alarms(
    draw: Callable[[np.random.Generator], Outcomes], settings: Settings, progress: Progress
) -> dict[tuple[str, str], float]:
    """Count how often two equally good models differ.

    Args:
        draw: gives the outcomes of both models.
        settings: how much to simulate.
        progress: to tell of each draw.

    Returns:
        Number and test -> the share of draws with p < 0.05.
    """
    alarms: dict[tuple[str, str], float] = {}
    for number in range(settings.draws):
        first, second = draw(np.random.default_rng([settings.seed, number]))
        far_targets = {"1e-1": 1e-1, "1e-2": 1e-2}
        rows = compare_scores(
            first.scores, second.scores, replicates=settings.replicates, seed=number, far_targets=far_targets
        )
        for row in rows:
            if row["p"] is not None and row["number"] not in _UNTESTED:
                key = str(row["number"]), str(row["test"])
                alarms[key] = alarms.get(key, 0.0) + (float(row["p"]) < ALPHA) / settings.draws
        progress.advance()
    return alarms


def main(settings: Settings) -> None:
    """Print the table.

    Args:
        settings: the flags.
    """
    error = np.sqrt(ALPHA * (1 - ALPHA) / settings.draws)
    print(f"p < {ALPHA} in so many of {settings.draws} draws; standard error of a true 5%: {error:.1%}\n")
    print("| equal models of | number | test | that differ, p < 0.05 |\n| --- | --- | --- | --- |", flush=True)
    chosen = {title: draw for title, draw in PROTOCOLS.items() if settings.only in title}
    with Progress("null rates", settings.draws * len(chosen), unit="draw") as progress:
        for title, draw in chosen.items():
            for (number, test), share in false_alarms(draw, settings, progress).items():
                print(f"| {title} | {number} | {test} | {share:.1%} |", flush=True)


if __name__ == "__main__":
    command.run(main, Settings)
