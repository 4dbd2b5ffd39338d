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


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "ijb_golden.npz") as stored:
        return dict(stored)


def test_the_embeddings_are_those_of_the_golden_numbers(golden):
    # Versions of NumPy round float32 differently.
    assert VIEWS.sum(dtype=np.float64) == pytest.approx(float(golden["views_sum"]), rel=1e-7)


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


def _similarity(features, known, one, other):
    places = [np.searchsorted(known, templates) for templates in (one, other)]
    return features[places[0]] @ features[places[1]].T


def test_open_set_and_ranks_are_the_naive_ones():
    outcome = evaluate_ijb(IJB, VIEWS, replicates=0)
    features, known = templates.template_features(VIEWS, IJB.templates, IJB.medias, IJB.scores)
    open_set = outcome.result["open_set"]
    rates, shares = [], []
    for gallery in IJB.galleries:
        similarity = _similarity(features, known, IJB.probes.templates, gallery.templates)
        mated, found, own, others = 0, 0, [], []
        for probe, subject in enumerate(IJB.probes.subjects):
            if subject in gallery.subjects:
                mated += 1
                value = similarity[probe, list(gallery.subjects).index(subject)]
                own.append(value if value == similarity[probe].max() else -np.inf)
                found += value == similarity[probe].max()
            else:
                others.append(similarity[probe].max())
        one = open_set["galleries"][gallery.name]
        assert (one["gallery"], one["mated"], one["non_mated"]) == (len(gallery.subjects), mated, len(others))
        assert one["rank"]["1"] == pytest.approx(found / mated)
        shares.append(found / mated)
        for name, rate in (("1e-2", 0.01), ("1e-1", 0.1)):
            threshold = sorted(others, reverse=True)[int(rate * len(others))]
            assert one["tpir"][name] == pytest.approx(np.mean(np.array(own) > threshold))
        rates.append(one["tpir"]["1e-1"])
    assert open_set["rank"]["1"] == pytest.approx(np.mean(shares))
    assert open_set["tpir"]["1e-1"] == pytest.approx(np.mean(rates))
    everybody = np.concatenate([one.templates for one in IJB.galleries])
    subjects = np.concatenate([one.subjects for one in IJB.galleries])
    similarity = _similarity(features, known, IJB.probes.templates, everybody)
    rank = [
        1 + np.flatnonzero(subjects[np.argsort(-row)] == subject)[0]
        for row, subject in zip(similarity, IJB.probes.subjects)
    ]
    np.testing.assert_array_equal(outcome.scores["rank"], rank)


def test_the_result_is_json_and_has_intervals():
    outcome = evaluate_ijb(IJB, VIEWS, replicates=200, seed=3)
    assert json.loads(json.dumps(outcome.result, allow_nan=False)) == outcome.result
    assert list(outcome.result)[:2] == ["set", "protocol"]
    numbers = flat_numbers(outcome.result)
    # 2850 different pairs have no three false accepts at 1e-3.
    assert list(outcome.result["intervals"]) == [
        *(f"verification@{name}" for name in ("auc", "eer", "tar@1e-2", "tar@1e-1")),
        *(f"identification@rank@{most}" for most in (1, 5, 10)),
    ]
    for name, (low, high) in outcome.result["intervals"].items():
        assert low < numbers[name] < high
    assert outcome.scores["similarity"].dtype == np.float32
    assert evaluate_ijb(IJB, VIEWS, replicates=0).result["intervals"] == {}


def test_whom_templates_show_is_stored():
    scores = evaluate_ijb(IJB, VIEWS, replicates=0).scores
    lists = [*IJB.galleries, IJB.probes]
    subject = dict(np.concatenate([np.stack([one.templates, one.subjects], axis=1) for one in lists]).tolist())
    person = dict(zip(scores["template"].tolist(), scores["template_person"].tolist()))
    assert set(person) == {*IJB.pairs.first.tolist(), *IJB.pairs.second.tolist()}
    # Numbered otherwise, but the same people.
    assert len({(person[one], subject[one]) for one in person}) == len({subject[one] for one in person})


def test_without_lists_the_same_pairs_tell_whom_templates_show():
    whole = evaluate_ijb(IJB, VIEWS, replicates=0).scores
    pairs_only = dataclasses.replace(IJB, galleries=[], probes=None)
    # A gallery template without subject: the lists do not tell whom all pairs show.
    fewer = [dataclasses.replace(one, templates=one.templates[1:], subjects=one.subjects[1:]) for one in IJB.galleries]
    for ijb in (pairs_only, dataclasses.replace(IJB, galleries=fewer)):
        scores = evaluate_ijb(ijb, VIEWS, replicates=0).scores
        np.testing.assert_array_equal(scores["template"], whole["template"])
        linked, person = scores["template_person"], whole["template_person"]
        # Nobody is taken for somebody else; a template without any same pair is a person of its own.
        assert all(len(set(person[linked == one])) == 1 for one in set(linked.tolist()))
        same = IJB.pairs.same
        known = whole["template"]
        in_same = np.isin(known, np.r_[IJB.pairs.first[same], IJB.pairs.second[same]])
        assert len(set(linked[in_same].tolist())) == len(set(person[in_same].tolist()))


def test_one_protocol_alone():
    pairs_only = dataclasses.replace(IJB, galleries=[], probes=None)
    outcome = evaluate_ijb(pairs_only, VIEWS, replicates=0)
    assert outcome.result["identification"] is outcome.result["open_set"] is None
    assert "rank" not in outcome.scores
    search_only = evaluate_ijb(dataclasses.replace(IJB, pairs=None), VIEWS, replicates=0)
    assert search_only.result["verification"] is None
    assert "similarity" not in search_only.scores


def _without(templates_left_out):
    """The set and the embeddings, all images of some templates missing."""
    kept = ~np.isin(IJB.templates, templates_left_out)
    columns = {name: getattr(IJB, name)[kept] for name in ("templates", "medias", "scores")}
    missing = [key for key, there in zip(IJB.keys, kept) if not there]
    return dataclasses.replace(IJB, missing_images=missing, **columns), VIEWS[kept]


def test_templates_without_images_are_counted():
    gallery, probes = IJB.galleries[0].templates[:3], IJB.probes.templates[:20]
    ijb, views = _without([*gallery, *probes])
    whole, outcome = evaluate_ijb(IJB, VIEWS, replicates=0), evaluate_ijb(ijb, views, replicates=0)
    assert outcome.result["missing_images"] == len(IJB.templates) - len(ijb.templates) > 0
    never = np.isin(IJB.pairs.first, gallery) | np.isin(IJB.pairs.second, probes)
    verification = outcome.result["verification"]
    assert verification["pairs"] == len(IJB.pairs.same)
    assert verification["missing_pairs"] == never.sum()
    np.testing.assert_array_equal(outcome.scores["similarity"][never], -2)
    np.testing.assert_array_equal(outcome.scores["similarity"][~never], whole.scores["similarity"][~never])
    # TAR by hand: pairs without images are in the denominators, and never accepted.
    similarity, same = outcome.scores["similarity"], IJB.pairs.same
    threshold = np.sort(similarity[~same])[::-1][round(0.1 * np.sum(~same))]
    assert verification["tar"]["1e-1"] == pytest.approx(np.mean(similarity[same] > threshold), abs=0.01)
    identification = outcome.result["identification"]
    assert (identification["missing_gallery"], identification["missing_probes"]) == (3, 20)
    assert (identification["gallery"], identification["probes"]) == (40, 160)
    lost = np.isin(IJB.probes.templates, probes) | np.isin(IJB.probes.subjects, IJB.galleries[0].subjects[:3])
    rank = outcome.scores["rank"]
    np.testing.assert_array_equal(rank == 0, lost)
    assert np.all(rank[~lost] <= whole.scores["rank"][~lost])
    assert identification["rank"]["10"] == np.mean((rank > 0) & (rank <= 10))
    galleries = outcome.result["open_set"]["galleries"]
    assert all(one["mated"] + one["non_mated"] == 160 for one in galleries.values())
    assert galleries["G1"]["gallery"] == 20


def test_nobody_has_an_image():
    ijb, views = _without(np.unique(IJB.templates))
    outcome = evaluate_ijb(ijb, views, replicates=0)
    json.dumps(outcome.result, allow_nan=False)
    assert outcome.result["identification"]["rank"] == {"1": 0, "5": 0, "10": 0}
    assert outcome.result["identification"]["tpir"] == {"1e-2": 0, "1e-1": 0}


def test_a_gallery_that_everybody_is_in():
    everybody = dataclasses.replace(
        IJB.galleries[0],
        templates=np.concatenate([one.templates for one in IJB.galleries]),
        subjects=np.concatenate([one.subjects for one in IJB.galleries]),
    )
    nobody = dataclasses.replace(IJB.galleries[1], templates=np.zeros(0, np.int32), subjects=np.zeros(0, np.int32))
    outcome = evaluate_ijb(dataclasses.replace(IJB, galleries=[everybody, nobody]), VIEWS, replicates=0)
    json.dumps(outcome.result, allow_nan=False)
    assert outcome.result["open_set"]["galleries"]["G1"]["tpir"] is None
    assert outcome.result["open_set"]["galleries"]["G2"]["rank"] is None
    assert outcome.result["identification"] == evaluate_ijb(IJB, VIEWS, replicates=0).result["identification"]


def test_pairs_of_one_class():
    pairs = dataclasses.replace(IJB.pairs, same=np.ones(len(IJB.pairs.same), bool))
    with pytest.raises(InputError, match="generated: 3000 pairs, of which 3000 are same: both kinds are needed"):
        evaluate_ijb(dataclasses.replace(IJB, pairs=pairs), VIEWS)


def test_rates_that_few_false_accepts_decide_are_kept_and_named():
    result = evaluate_ijb(IJB, VIEWS, replicates=0).result
    different = int(np.sum(~IJB.pairs.same))
    verification, identification = result["verification"], result["identification"]
    assert verification["few_false_accepts"] == [
        f"tar@{name}" for name in verification["tar"] if float(name) * different < 3
    ]
    assert verification["few_false_accepts"] == ["tar@1e-6", "tar@1e-5", "tar@1e-4", "tar@1e-3"]
    probes = len(IJB.probes.templates)
    assert identification["few_false_accepts"] == [
        f"tpir@{name}" for name in ("1e-2", "1e-1") if float(name) * probes < 3
    ]
    for gallery in result["open_set"]["galleries"].values():
        assert ("tpir@1e-2" in gallery["few_false_accepts"]) == (0.01 * gallery["non_mated"] < 3)
    assert "tpir@1e-2" in result["open_set"]["few_false_accepts"]
    lines = results_text([result]).splitlines()
    assert lines[-1] == "*: fewer than 3 false accepts, not measured reliably"
    marked = [line.split()[0] for line in lines[1:-1] if line.endswith("*")]
    assert "verification@tar@1e-3" in marked
    assert "verification@tar@1e-2" not in marked
    assert sorted(marked) == sorted(unreliable_numbers(result))
