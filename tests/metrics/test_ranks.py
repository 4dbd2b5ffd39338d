import json
import math
import runpy
from pathlib import Path

import numpy as np
import pytest
from tiny_sets import assert_memory

from ddl_tf.common.errors import InputError
from ddl_tf.metrics import ranks as identification
from ddl_tf.metrics.ranks import (
    average_precisions,
    cmc_curve,
    pooled_tpir,
    rank_rates,
    ranks,
    search_galleries,
    search_gallery,
    tpir_at_fpir,
)

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = runpy.run_path(str(GOLDEN / "make_identification_golden.py"))["cases"]()


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def search():
    """Probes and a gallery with several mates, none, and two entries that are the same image."""
    random = np.random.RandomState(0)
    faces = random.normal(size=[12, 6])
    gallery_people = random.randint(0, 9, 70)
    probe_people = random.randint(0, 12, 40)
    gallery = unit(faces[gallery_people] + 1.5 * random.normal(size=[70, 6]))
    probes = unit(faces[probe_people] + 1.5 * random.normal(size=[40, 6]))
    gallery[30], gallery_people[30] = gallery[60], gallery_people[60] + 1
    return probes, gallery, probe_people, gallery_people


def naive_mate_ranks(probe, gallery, person, gallery_people):
    """Sort the gallery by hand, entries of others before mates that are as similar."""
    similarity = [float(np.dot(probe.astype(float), entry.astype(float))) for entry in gallery]
    order = sorted(range(len(gallery)), key=lambda i: (-round(similarity[i], 12), gallery_people[i] == person))
    return [rank for rank, i in enumerate(order, 1) if gallery_people[i] == person]


def naive_average_precision(places, num_mates, size):
    """The area under precision and recall by trapezoids, a point at each rank."""
    area, recall, precision = 0.0, 0.0, 1.0
    for rank in range(1, size + 1):
        hits = sum(place <= rank for place in places)
        area += (hits / num_mates - recall) * (precision + hits / rank) / 2
        recall, precision = hits / num_mates, hits / rank
    return area


def naive_tpir(rank, mate_similarity, nonmated, target):
    """The best of all thresholds whose FPIR is not above the target."""
    best = 0.0
    for threshold in [*nonmated, *mate_similarity, np.inf, -np.inf]:
        if np.mean(nonmated >= threshold) <= target:
            best = max(best, np.mean((rank == 1) & (mate_similarity >= threshold)))
    return best


@pytest.mark.parametrize("block", [(7, 11), (512, 8192)])
def test_search_against_a_naive_one(search, block, monkeypatch):
    monkeypatch.setattr(identification, "PROBES_AT_A_TIME", block[0])
    monkeypatch.setattr(identification, "GALLERY_AT_A_TIME", block[1])
    probes, gallery, probe_people, gallery_people = search
    result = search_gallery(*search)
    expected = [naive_mate_ranks(p, gallery, person, gallery_people) for p, person in zip(probes, probe_people)]
    assert [places.tolist() for places in result.mate_ranks] == expected
    assert result.rank.tolist() == ranks(*search).tolist() == [places[0] if places else 0 for places in expected]
    assert min(result.rank) == 0
    assert max(map(len, expected)) > 2
    similarity = probes.astype(float) @ gallery.T.astype(float)
    mate = probe_people[:, np.newaxis] == gallery_people
    np.testing.assert_allclose(result.mate_similarity, np.where(mate, similarity, -np.inf).max(axis=1), atol=1e-12)
    np.testing.assert_allclose(result.other_similarity, np.where(mate, -np.inf, similarity).max(axis=1), atol=1e-12)
    # People may be names.
    assert ranks(probes, gallery, probe_people.astype(str), gallery_people.astype(str)).tolist() == result.rank.tolist()


def test_memory_does_not_grow_with_the_product():
    """1,000 x 20,000 similarities in float64 would be 153 MiB."""
    random = np.random.RandomState(0)
    probes, gallery = (unit(random.normal(size=[count, 4])) for count in (1000, 20000))
    with assert_memory(100 * 2**20):
        search_gallery(probes, gallery, np.arange(1000), np.arange(20000))


@pytest.mark.parametrize("mate_at", [0, 4, 9])
def test_a_tie_counts_against_the_probe(mate_at):
    """A network that gives one embedding for everything finds nobody, wherever the mate stands."""
    gallery_people = np.arange(10)
    probe = unit(np.random.RandomState(0).normal(size=[1, 512]))
    assert ranks(probe, np.repeat(probe, 10, axis=0), np.array([mate_at]), gallery_people).tolist() == [10]
    # Two mates do not stand before each other.
    gallery_people[(mate_at + 1) % 10] = mate_at
    result = search_gallery(probe, np.repeat(probe, 10, axis=0), np.array([mate_at]), gallery_people)
    assert result.mate_ranks[0].tolist() == [9, 10]


def test_unusable_embeddings(search):
    probes, gallery, probe_people, gallery_people = search
    broken = gallery.copy()
    broken[3, 2] = np.nan
    for arguments, message in (
        (
            (probes, gallery, probe_people[1:], gallery_people),
            r"probe embeddings of shape \(40, 6\) for 39 people: expected \[39, dim\]",
        ),
        ((probes, gallery[:, 0], probe_people, gallery_people), r"gallery embeddings of shape \(70,\)"),
        (
            (probes[:, :5], gallery, probe_people, gallery_people),
            "probe embeddings of length 5, gallery embeddings of length 6",
        ),
        ((probes, broken, probe_people, gallery_people), r"gallery embedding 3 is not finite \(1 of 70 are not\)"),
    ):
        with pytest.raises(InputError, match=message):
            ranks(*arguments)


def test_rates_and_curve():
    rank = np.array([1, 2, 0, 5, 1, 17])
    assert cmc_curve(rank, 20).tolist() == [np.mean((rank > 0) & (rank <= k)) for k in range(1, 21)]
    assert rank_rates(np.zeros(3, int), [1]).tolist() == [0]


def test_average_precision(search):
    chosen = [places for places in search_gallery(*search).mate_ranks if len(places)]
    num_mates = np.array([len(places) + extra % 2 for extra, places in enumerate(chosen)])
    expected = [naive_average_precision(places, mates, 70) for places, mates in zip(chosen, num_mates)]
    np.testing.assert_allclose(average_precisions(chosen, num_mates), expected, rtol=0, atol=1e-12)
    assert average_precisions([np.array([1, 2, 3]), np.array([], int)], np.array([3, 2])).tolist() == [1, 0]


def test_open_set():
    random = np.random.RandomState(0)
    rank = random.choice([0, 1, 1, 1, 2], 60)
    # Rounded, so that there are ties within and between mates and others.
    mates, others = np.round(random.normal(0.6, 0.2, 60), 2), np.round(random.normal(0.4, 0.2, 40), 2)
    targets = [0.0, 0.01, 0.025, 0.1, 0.3, 0.5, 0.999, 1.0]
    tpir, thresholds = tpir_at_fpir(rank, mates, others, targets)
    np.testing.assert_allclose(
        tpir, [naive_tpir(rank, mates, others, target) for target in targets], rtol=0, atol=1e-12
    )
    for target, rate, threshold in zip(targets, tpir, thresholds):
        assert np.mean(others >= threshold) <= target
        assert np.mean((rank == 1) & (mates >= threshold)) == rate
    assert thresholds[-1] == -np.inf
    # A share that is whole: 0.29 of 100 non-mated probes are 29, although 0.29 * 100 is less in floating point.
    assert 0.29 * 100 < 29
    tpir, _ = tpir_at_fpir(np.ones(2, int), np.array([0.705, 0.715]), np.arange(100) / 100, [0.29, 0.28])
    assert tpir.tolist() == [1.0, 0.5]


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_field_s_own_scripts_agree(name):
    _, _, probe_people, gallery_people = CASES[name]
    golden = json.loads((GOLDEN / "identification_golden.json").read_text())[name]
    result = search_gallery(*CASES[name])
    # AdaFace's are float32.
    np.testing.assert_allclose(rank_rates(result.rank, [1, 5, 20]), golden["adaface"], rtol=0, atol=1e-6)
    rates = rank_rates(result.rank, [1, 5, 10, 20, 50])
    np.testing.assert_allclose(rates, golden["official"]["rates"], rtol=0, atol=1e-12)
    num_mates = np.array([np.sum(gallery_people == person) for person in probe_people])
    precision = average_precisions(result.mate_ranks, num_mates).mean()
    assert precision == pytest.approx(golden["official"]["map"], rel=0, abs=1e-12)


def galleries_of_templates(seed=0):
    random = np.random.RandomState(seed)
    galleries = [random.normal(size=[count, 6]) for count in (9, 14)]
    mate = random.randint(-1, 23, 50)
    probes = random.normal(size=[50, 6])
    probes[mate >= 0] += np.concatenate(galleries)[mate[mate >= 0]]
    return *([rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (probes, *galleries)]), mate


@pytest.mark.parametrize("cells", [1, 100, 2**23])
def test_a_search_of_galleries_is_the_naive_one(monkeypatch, cells):
    monkeypatch.setattr(identification, "_CELLS", cells)
    probes, first, second, mate = galleries_of_templates()
    result = search_galleries(probes, [first, second], mate, keep=40)
    everybody, others = np.concatenate([first, second]), []
    for number, probe in enumerate(probes):
        similarity = [float(np.dot(probe, template)) for template in everybody]
        own = similarity[mate[number]] if mate[number] >= 0 else -np.inf
        assert result.mate[number] == pytest.approx(own)
        for gallery, members in enumerate([range(9), range(9, 23)]):
            rest = [similarity[place] for place in members if place != mate[number]]
            assert result.best_other[gallery, number] == pytest.approx(max(rest))
            assert result.above[gallery, number] == sum(np.array(rest) >= own) or mate[number] < 0
            others += rest
    np.testing.assert_allclose(result.largest_others, sorted(others, reverse=True)[:40])


def test_fewer_others_than_are_kept():
    probes, first, second, mate = galleries_of_templates()
    others = search_galleries(probes, [first, second], mate, keep=5000).largest_others
    assert len(others) == 50 * 23 - np.sum(mate >= 0)
    result = search_galleries(probes, [first, second[:0]], np.full(50, -1), keep=3)
    assert np.all(result.best_other[1] == -np.inf)
    assert np.all(result.mate == -np.inf)
    # A tie counts against the mate.
    gallery = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert search_galleries(np.array([[1.0, 0.0]]), [gallery], np.array([1]), keep=2).above.tolist() == [[1]]


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_pooled_tpir_is_the_naive_one(rate):
    probes, first, second, mate = galleries_of_templates()
    mate = np.abs(mate)
    result = search_galleries(probes, [first, second], mate, keep=25)
    similarity = probes @ np.concatenate([first, second]).T
    own = similarity[np.arange(50), mate].copy()
    similarity[np.arange(50), mate] = -2
    threshold = sorted(similarity.ravel(), reverse=True)[math.ceil(50 * rate) - 1]
    assert pooled_tpir(result, 50, rate) == pytest.approx(np.mean(own > threshold), abs=1e-12)
    # Two more probes have no image.
    assert pooled_tpir(result, 52, 0.01) == pytest.approx(pooled_tpir(result, 50, 0.01) * 50 / 52)
