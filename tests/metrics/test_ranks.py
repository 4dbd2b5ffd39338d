import json
import math
import runpy
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from ddl_tf.common.errors import InputError
from ddl_tf.metrics import ranks as identification
from ddl_tf.metrics.ranks import pooled_tpir, rank_rates, ranks, search_galleries, search_gallery, tpir_at_fpir

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = runpy.run_path(str(GOLDEN / "make_identification_golden.py"))["cases"]()


def naive_mate_ranks(probe, gallery, person, gallery_people):
    """Sort the gallery by hand, entries of others before mates that are as similar."""
    similarity = [float(np.dot(probe.astype(float), entry.astype(float))) for entry in gallery]
    order = sorted(range(len(gallery)), key=lambda i: (-round(similarity[i], 12), gallery_people[i] == person))
    return [rank for rank, i in enumerate(order, 1) if gallery_people[i] == person]


def test_search_against_a_naive_one(monkeypatch):
    # Several mates, none, and two entries that are the same image.
    random = np.random.RandomState(0)
    faces = random.normal(size=[12, 6])
    gallery_people, probe_people = random.randint(0, 9, 70), random.randint(0, 12, 40)
    gallery = normalize(faces[gallery_people] + 1.5 * random.normal(size=[70, 6]))
    probes = normalize(faces[probe_people] + 1.5 * random.normal(size=[40, 6]))
    gallery[30], gallery_people[30] = gallery[60], gallery_people[60] + 1
    expected = [naive_mate_ranks(p, gallery, person, gallery_people) for p, person in zip(probes, probe_people)]
    assert max(map(len, expected)) > 2
    similarity = probes.astype(float) @ gallery.T.astype(float)
    mate = probe_people[:, np.newaxis] == gallery_people
    # People may be names.
    people = probe_people.astype(str), gallery_people.astype(str)
    assert ranks(probes, gallery, *people).tolist() == [places[0] if places else 0 for places in expected]
    for at_a_time in (8192, 7):
        monkeypatch.setattr(identification, "PROBES_AT_A_TIME", at_a_time)
        monkeypatch.setattr(identification, "GALLERY_AT_A_TIME", at_a_time)
        result = search_gallery(probes, gallery, probe_people, gallery_people)
        assert [places.tolist() for places in result.mate_ranks] == expected
        top = np.where(mate, similarity, -np.inf).max(axis=1), np.where(mate, -np.inf, similarity).max(axis=1)
        np.testing.assert_allclose([result.mate_similarity, result.other_similarity], top, atol=1e-12)
        np.testing.assert_array_equal(result.other, np.where(mate, -np.inf, similarity).argmax(axis=1))
    assert search_gallery(probes[:1], gallery[:1], np.array([4]), np.array([4])).other.tolist() == [-1]
    broken = gallery.copy()
    broken[3, 2] = np.nan
    for arrays, message in (
        ((probes[1:], gallery), r"probe embeddings of shape \(39, 6\) for 40 people: expected \[40, dim\]"),
        ((probes, gallery[:, 0]), r"gallery embeddings of shape \(70,\)"),
        ((probes[:, :5], gallery), "probe embeddings of length 5, gallery embeddings of length 6"),
        ((probes, broken), r"gallery embedding 3 is not finite \(1 of 70 are not\)"),
    ):
        with pytest.raises(InputError, match=message):
            ranks(*arrays, probe_people, gallery_people)


def test_memory_does_not_grow_with_the_product():
    """1,000 x 20,000 similarities in float64 would be 153 MiB."""
    random = np.random.RandomState(0)
    probes, gallery = (normalize(random.normal(size=[count, 4])) for count in (1000, 20000))
    tracemalloc.start()
    search_gallery(probes, gallery, np.arange(1000), np.arange(20000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20


@pytest.mark.parametrize("mate_at", [0, 9])
def test_a_tie_counts_against_the_probe(mate_at):
    """A network that gives one embedding for everything finds nobody, wherever the mate stands."""
    people, probe = np.arange(10), normalize(np.random.RandomState(0).normal(size=[1, 512]))
    assert ranks(probe, np.repeat(probe, 10, axis=0), np.array([mate_at]), people).tolist() == [10]
    # Two mates do not stand before each other.
    people[(mate_at + 1) % 10] = mate_at
    result = search_gallery(probe, np.repeat(probe, 10, axis=0), np.array([mate_at]), people)
    assert result.mate_ranks[0].tolist() == [9, 10]
    gallery = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert search_galleries(np.array([[1.0, 0.0]]), [gallery], np.array([1]), keep=2).above.tolist() == [[1]]


def test_open_set():
    random = np.random.RandomState(0)
    rank = random.choice([0, 1, 1, 1, 2], 60)
    # Rounded, so that there are ties within and between mates and others.
    mates, others = np.round(random.normal(0.6, 0.2, 60), 2), np.round(random.normal(0.4, 0.2, 40), 2)
    targets = [0.0, 0.01, 0.025, 0.1, 0.3, 0.5, 0.999, 1.0]
    tpir, thresholds = tpir_at_fpir(rank, mates, others, targets)
    every = [*others, *mates, np.inf, -np.inf]
    for target, share, threshold in zip(targets, tpir, thresholds):
        # The best of all thresholds whose FPIR is not above the target.
        best = max(np.mean((rank == 1) & (mates >= t)) for t in every if np.mean(others >= t) <= target)
        assert np.mean(others >= threshold) <= target
        assert np.mean((rank == 1) & (mates >= threshold)) == share == pytest.approx(best, abs=1e-12)
    # A share that is whole: 0.29 of 100 non-mated probes are 29, although 0.29 * 100 is less in floating point.
    tpir, _ = tpir_at_fpir(np.ones(2, int), np.array([0.705, 0.715]), np.arange(100) / 100, [0.29, 0.28])
    assert tpir.tolist() == [1.0, 0.5]


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_field_s_own_scripts_agree(name):
    _, _, probe_people, gallery_people = CASES[name]
    golden = json.loads((GOLDEN / "identification_golden.json").read_text())[name]
    result = search_gallery(*CASES[name])
    # AdaFace's are float32.
    np.testing.assert_allclose(rank_rates(result.rank, [1, 5, 20]), golden["adaface"], rtol=0, atol=1e-6)
    rates = identification.cmc_curve(result.rank, 50)[[0, 4, 9, 19, 49]]
    np.testing.assert_allclose(rates, golden["official"]["rates"], rtol=0, atol=1e-12)
    num_mates = np.array([np.sum(gallery_people == person) for person in probe_people])
    precision = identification.average_precisions(result.mate_ranks, num_mates).mean()
    assert precision == pytest.approx(golden["official"]["map"], rel=0, abs=1e-12)


def galleries_of_templates():
    random = np.random.RandomState(0)
    galleries, mate = [random.normal(size=[n, 6]) for n in (9, 14)], random.randint(-1, 23, 50)
    probes = random.normal(size=[50, 6])
    probes[mate >= 0] += np.concatenate(galleries)[mate[mate >= 0]]
    return *map(normalize, (probes, *galleries)), mate


@pytest.mark.parametrize("cells", [1, 100, 2**23])
def test_a_search_of_galleries_is_the_naive_one(monkeypatch, cells):
    monkeypatch.setattr(identification, "_CELLS", cells)
    probes, first, second, mate = galleries_of_templates()
    result = search_galleries(probes, [first, second], mate, keep=40)
    everybody, others = np.concatenate([first, second]), []
    for number, probe in enumerate(probes):
        similarity = [float(np.dot(probe, template)) for template in everybody]
        of_mate = similarity[mate[number]] if mate[number] >= 0 else -np.inf
        assert result.mate[number] == pytest.approx(of_mate)
        for gallery, members in enumerate([range(9), range(9, 23)]):
            rest = [similarity[member] for member in members if member != mate[number]]
            assert result.best_other[gallery, number] == pytest.approx(max(rest))
            assert result.above[gallery, number] == sum(other >= of_mate for other in rest) or mate[number] < 0
            others += rest
    np.testing.assert_allclose(result.largest_others, sorted(others, reverse=True)[:40])
    # There may be fewer others than are kept, and empty galleries.
    result = search_galleries(probes, [first, second[:0]], np.full(50, -1), keep=5000)
    assert len(result.largest_others) == 50 * 9
    assert np.all(result.best_other[1] == -np.inf)
    assert np.all(result.mate == -np.inf)


def test_pooled_tpir_is_the_naive_one():
    probes, first, second, mate = galleries_of_templates()
    mate = np.abs(mate)
    search = search_galleries(probes, [first, second], mate, keep=25)
    similarity = probes @ np.concatenate([first, second]).T
    of_mate = similarity[np.arange(50), mate].copy()
    similarity[np.arange(50), mate] = -2
    for rate in (0.01, 0.1, 0.5):
        threshold = sorted(similarity.ravel(), reverse=True)[math.ceil(50 * rate) - 1]
        assert pooled_tpir(search, 50, rate) == pytest.approx(np.mean(of_mate > threshold), abs=1e-12)
    # Two more probes have no image.
    assert pooled_tpir(search, 52, 0.01) == pytest.approx(pooled_tpir(search, 50, 0.01) * 50 / 52)
