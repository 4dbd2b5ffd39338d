"""IJB: the numbers of InsightFace's scripts on the same embeddings, and templates that have no image."""

import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.ijb import evaluate_ijb
from ddl_tf.evaluation.reports import flat_numbers, results_text, unreliable_numbers
from ddl_tf.metrics import templates

GOLDEN = Path(__file__).parents[1] / "golden"
MAKER = runpy.run_path(str(GOLDEN / "make_ijb_golden.py"))
IJB, VIEWS = MAKER["case"]()
# Both galleries as one.
MERGED = {name: np.concatenate([getattr(g, name) for g in IJB.galleries]) for name in ("templates", "subjects")}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "ijb_golden.npz") as stored:
        numbers = dict(stored)
    # Versions of NumPy round float32 differently.
    assert VIEWS.sum(dtype=np.float64) == pytest.approx(float(numbers["views_sum"]), rel=1e-7)
    return numbers


@pytest.mark.parametrize(("flip", "norms", "scores"), MAKER["OPTIONS"])
@pytest.mark.parametrize("dense", [0, np.inf])
def test_equals_insightface(golden, monkeypatch, flip, norms, scores, dense):
    monkeypatch.setattr(templates, "_DENSE", dense)
    outcome = evaluate_ijb(IJB, VIEWS, flip, norms, scores, replicates=0)
    key = f"F{flip:d}N{norms:d}D{scores:d}"
    verification, identification = outcome.result["verification"], outcome.result["identification"]
    np.testing.assert_allclose(list(verification["tar"].values()), golden[f"{key}/tar"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(outcome.scores["similarity"], golden[f"{key}/score"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(list(identification["rank"].values()), golden[f"{key}/rank"], rtol=0, atol=1e-12)
    # They print ten digits.
    np.testing.assert_allclose(list(identification["tpir"].values()), golden[f"{key}/tpir"], rtol=0, atol=1e-9)


def test_what_is_pooled_first_is_said_and_changes_the_features():
    results = {
        first: evaluate_ijb(IJB, VIEWS, replicates=0, pool_first=first) for first in ("media", "none", "cluster")
    }
    named = {first: outcome.result["pooling"] for first, outcome in results.items()}
    mean = "norm- and quality-weighted mean"
    assert named == {"media": f"{mean}, medias first", "none": mean, "cluster": f"{mean}, up to 4 clusters first"}
    assert results_text([results["none"].result]).startswith(f"generated, pooling: {mean}:\n")
    similarities = [outcome.scores["similarity"] for outcome in results.values()]
    assert np.abs(similarities[0] - similarities[1]).max() > 1e-3
    one = dataclasses.replace(IJB, medias=np.zeros_like(IJB.medias))
    np.testing.assert_allclose(evaluate_ijb(one, VIEWS, replicates=0).scores["similarity"], similarities[1], atol=1e-6)


def test_open_set_and_ranks_are_the_naive_ones():
    outcome = evaluate_ijb(IJB, VIEWS, replicates=0)
    features, known = templates.template_features(VIEWS, IJB.templates, IJB.medias, IJB.scores)
    probes = features[np.searchsorted(known, IJB.probes.templates)]
    open_set = outcome.result["open_set"]
    rates, shares = [], []
    for gallery in IJB.galleries:
        similarity = probes @ features[np.searchsorted(known, gallery.templates)].T
        mates, others = [], []
        for row, subject in zip(similarity, IJB.probes.subjects):
            if subject in gallery.subjects:
                value = row[list(gallery.subjects).index(subject)]
                mates.append(value if value == row.max() else -np.inf)
            else:
                others.append(row.max())
        numbers = open_set["galleries"][gallery.name]
        counts = (numbers["gallery"], numbers["mated"], numbers["non_mated"])
        assert counts == (len(gallery.subjects), len(mates), len(others))
        shares.append(np.mean(np.isfinite(mates)))
        assert numbers["rank"]["1"] == pytest.approx(shares[-1])
        for name, rate in (("1e-2", 0.01), ("1e-1", 0.1)):
            threshold = sorted(others, reverse=True)[int(rate * len(others))]
            assert numbers["tpir"][name] == pytest.approx(np.mean(np.array(mates) > threshold))
        rates.append(numbers["tpir"]["1e-1"])
    assert (open_set["rank"]["1"], open_set["tpir"]["1e-1"]) == pytest.approx((np.mean(shares), np.mean(rates)))
    similarity = probes @ features[np.searchsorted(known, MERGED["templates"])].T
    ranking = MERGED["subjects"][np.argsort(-similarity, axis=1)] == np.reshape(IJB.probes.subjects, [-1, 1])
    np.testing.assert_array_equal(outcome.scores["rank"], 1 + ranking.argmax(axis=1))


def test_the_result_is_json_has_intervals_and_names_rates_that_few_false_accepts_decide():
    outcome = evaluate_ijb(IJB, VIEWS, replicates=200, seed=3)
    result = outcome.result
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    numbers = flat_numbers(result)
    # 2850 different pairs have no three false accepts at 1e-3.
    names = [f"verification@{name}" for name in ("auc", "eer", "tar@1e-2", "tar@1e-1")]
    assert list(result["intervals"]) == [*names, *(f"identification@rank@{most}" for most in (1, 5, 10))]
    for name, (low, high) in result["intervals"].items():
        assert low < numbers[name] < high
    assert result["verification"]["few_false_accepts"] == ["tar@1e-6", "tar@1e-5", "tar@1e-4", "tar@1e-3"]
    few = [f"tpir@{name}" for name in ("1e-2", "1e-1") if float(name) * len(IJB.probes.templates) < 3]
    assert result["identification"]["few_false_accepts"] == few
    assert "tpir@1e-2" in result["open_set"]["few_false_accepts"]
    lines = results_text([result]).splitlines()
    marked = [line.split()[0] for line in lines[1:-1] if line.endswith("*")]
    assert "verification@tar@1e-3" in marked
    few = unreliable_numbers(result)
    errors = [name.replace("tar@", "fnmr@").replace("tpir@", "fnir@") for name in few]
    assert sorted(marked) == sorted([*few, *errors])
    fnmr = next(line.split()[1] for line in lines if line.split()[0] == "verification@fnmr@1e-1")
    assert float(fnmr) == pytest.approx(1 - result["verification"]["tar"]["1e-1"], abs=1e-4)
    search_only = evaluate_ijb(dataclasses.replace(IJB, pairs=None), VIEWS, replicates=0)
    assert search_only.result["verification"] is None
    one_class = dataclasses.replace(IJB.pairs, same=np.ones(len(IJB.pairs.same), bool))
    with pytest.raises(InputError, match="generated: 3000 pairs, of which 3000 are same: both kinds are needed"):
        evaluate_ijb(dataclasses.replace(IJB, pairs=one_class), VIEWS)


def test_a_gallery_that_everybody_is_in():
    everybody = dataclasses.replace(IJB.galleries[0], **MERGED)
    nobody = dataclasses.replace(IJB.galleries[1], templates=np.zeros(0, np.int32), subjects=np.zeros(0, np.int32))
    result = evaluate_ijb(dataclasses.replace(IJB, galleries=[everybody, nobody]), VIEWS, replicates=0).result
    json.dumps(result, allow_nan=False)
    assert result["open_set"]["galleries"]["G1"]["tpir"] is result["open_set"]["galleries"]["G2"]["rank"] is None
    assert result["identification"] == evaluate_ijb(IJB, VIEWS, replicates=0).result["identification"]


def test_whom_templates_show_is_stored_by_the_lists_or_else_the_same_pairs():
    whole = evaluate_ijb(IJB, VIEWS, replicates=0).scores
    known, person, same = whole["template"], whole["template_person"], IJB.pairs.same
    subject = dict(pair for part in [*IJB.galleries, IJB.probes] for pair in zip(part.templates, part.subjects))
    assert set(known) == {*IJB.pairs.first, *IJB.pairs.second}
    # Numbered otherwise, but the same people.
    assert len({(p, subject[t]) for t, p in zip(known, person)}) == len({subject[t] for t in known}) == len(set(person))
    pairs_only = dataclasses.replace(IJB, galleries=[], probes=None)
    # A gallery template without subject: the lists do not say whom all pairs show.
    fewer = [dataclasses.replace(g, templates=g.templates[1:], subjects=g.subjects[1:]) for g in IJB.galleries]
    for ijb in (pairs_only, dataclasses.replace(IJB, galleries=fewer)):
        scores = evaluate_ijb(ijb, VIEWS, replicates=0).scores
        assert ("rank" in scores) == (ijb is not pairs_only)
        np.testing.assert_array_equal(scores["template"], known)
        linked = scores["template_person"]
        # Nobody is taken for somebody else; a template without any same pair is a person of its own.
        assert all(len(set(person[linked == number])) == 1 for number in set(linked.tolist()))
        in_same = np.isin(known, np.r_[IJB.pairs.first[same], IJB.pairs.second[same]])
        assert len(set(linked[in_same].tolist())) == len(set(person[in_same].tolist()))


def test_templates_without_images_are_counted():
    def evaluated_without(missing):
        kept = ~np.isin(IJB.templates, missing)
        columns = {name: getattr(IJB, name)[kept] for name in ("templates", "medias", "scores")}
        keys = [key for key, present in zip(IJB.keys, kept) if not present]
        return evaluate_ijb(dataclasses.replace(IJB, missing_images=keys, **columns), VIEWS[kept], replicates=0)

    gallery, probes = IJB.galleries[0].templates[:3], IJB.probes.templates[:20]
    whole, outcome = (evaluated_without(missing) for missing in ([], [*gallery, *probes]))
    assert outcome.result["missing_images"] == np.isin(IJB.templates, [*gallery, *probes]).sum()
    never = np.isin(IJB.pairs.first, gallery) | np.isin(IJB.pairs.second, probes)
    verification, identification = outcome.result["verification"], outcome.result["identification"]
    assert (verification["pairs"], verification["missing_pairs"]) == (len(never), never.sum())
    similarity, same = outcome.scores["similarity"], IJB.pairs.same
    np.testing.assert_array_equal(similarity, np.where(never, -2, whole.scores["similarity"]))
    # TAR by hand: pairs without images are in the denominators, and never accepted.
    threshold = np.sort(similarity[~same])[::-1][round(0.1 * np.sum(~same))]
    assert verification["tar"]["1e-1"] == pytest.approx(np.mean(similarity[same] > threshold), abs=0.01)
    counts = {"missing_gallery": 3, "missing_probes": 20, "gallery": 40, "probes": 160}
    assert {name: identification[name] for name in counts} == counts
    lost = np.isin(IJB.probes.templates, probes) | np.isin(IJB.probes.subjects, IJB.galleries[0].subjects[:3])
    rank = outcome.scores["rank"]
    np.testing.assert_array_equal(rank == 0, lost)
    assert identification["rank"]["10"] == np.mean((rank > 0) & (rank <= 10))
    nothing = evaluated_without(IJB.templates).result
    json.dumps(nothing, allow_nan=False)
    assert nothing["identification"]["rank"] == {"1": 0, "5": 0, "10": 0}
