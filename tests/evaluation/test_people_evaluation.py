import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import DASH
from ddl_tf.evaluation.people import PeopleProtocol, evaluate_people, make_benchmark, rate_name
from ddl_tf.evaluation.people_text import people_text, sentences
from ddl_tf.evaluation.reports import results_text
from ddl_tf.metrics.bootstrap import bootstrap_pairs, bootstrap_rates, rate_interval
from ddl_tf.metrics.people_rates import pair_rates
from ddl_tf.metrics.roc import auc, eer, roc_curve
from ddl_tf.protocols.people_set import PeopleSet

NUM_PEOPLE, EACH, DIM = 30, 5, 8


def people_set(num_people=NUM_PEOPLE, each=EACH):
    people = np.repeat([f"p{number:02d}" for number in range(num_people)], each)
    count = len(people)
    columns = pd.DataFrame({"hair": np.where(np.arange(count) // each % 2, "long", "short"), "yaw": np.arange(count)})
    return PeopleSet("mine", [b""] * count, [f"{n}.jpg" for n in range(count)], people, columns, {"root": "/photos"})


def unit(people, noise, seed=0):
    """Embeddings of people, the noisier the worse."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=[people.max() + 1, DIM])[people] + noise * random.normal(size=[len(people), DIM])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


PEOPLE = np.repeat(np.arange(NUM_PEOPLE), EACH)


def evaluated(protocol, embeddings=None, replicates=40, faces=None):
    benchmark = make_benchmark(faces or people_set(), protocol)
    embeddings = unit(PEOPLE, 0.6) if embeddings is None else embeddings
    return benchmark, embeddings, evaluate_people(benchmark, embeddings, replicates, seed=2)


def test_verification_against_naive_counts():
    protocol = PeopleProtocol(fmr=[1e-2, 1e-3, 1e-4], most_pairs_per_person=7, impostor_pairs=4000, splits=0)
    benchmark, embeddings, outcome = evaluated(protocol)
    result, scores = outcome.result["verification"], outcome.scores
    pairs = benchmark.pairs
    similarity = np.array([float(embeddings[a] @ embeddings[b]) for a, b in zip(pairs.first, pairs.second)])
    np.testing.assert_allclose(scores["similarity"], similarity, atol=1e-6)
    same = PEOPLE[pairs.first] == PEOPLE[pairs.second]
    np.testing.assert_array_equal(scores["same"], same)
    assert (result["pairs"], result["same"]) == (4000 + 7 * NUM_PEOPLE, 7 * NUM_PEOPLE)
    similarity = scores["similarity"].astype(np.float64)
    curve = roc_curve(similarity, same)
    assert (result["auc"], result["eer"]) == (auc(*curve), eer(*curve))
    assert result["mean_same"] == pytest.approx(similarity[same].mean(), abs=1e-6)
    drawn = bootstrap_pairs(similarity, same, 40, 2, PEOPLE[pairs.first], PEOPLE[pairs.second])
    intervals = outcome.result["intervals"]
    assert intervals["verification@auc"] == drawn["auc"]
    for name, allowed in (("1e-2", 40), ("1e-3", 4)):
        threshold = result["threshold"][name]
        # The lowest threshold that lets so many through.
        assert np.sum(similarity[~same] >= threshold) == allowed
        assert np.sum(similarity[~same] >= threshold - 1e-6) == allowed + 1
        assert result["fmr"][name] == allowed / 4000
        assert result["fnmr"][name] == pytest.approx(np.mean(similarity[same] < threshold))
        assert result["tar"][name] == pytest.approx(1 - result["fnmr"][name])
        assert intervals[f"verification@tar@{name}"] == drawn[f"tar@{name}"]
        person = PEOPLE[pairs.first[same]]
        (rate,) = pair_rates((similarity < threshold)[same, None], person, person, 40, 2)
        assert intervals[f"verification@fnmr@{name}"] == rate.interval
    # 4,000 pairs say nothing of one in 10,000.
    for part in ("threshold", "fmr", "fnmr", "tar"):
        assert result[part]["1e-4"] is None
    assert not [name for name in intervals if name.endswith("1e-4")]
    assert outcome.result["notes"] == [
        "FMR 1e-4 is not measured: it takes 30,000 comparisons of strangers, and there are 4,000; add people or "
        "images, "
        "or ask for 8e-4. Rule of 3: 4,000 without any error leave up to 0.075% open. Rule of 30: to measure 0.01% "
        "within 30% takes 300,000."
    ]
    assert outcome.result["identification"] is outcome.result["open_set"] is None
    assert "rank" not in scores


def naive_search(benchmark, embeddings):
    """Rank and similarity of the mate of each mated probe, and whom each stranger is most similar to, by loops."""
    ranks, mates, best, person, stranger, found = [], [], [], [], [], []
    for split in benchmark.splits:
        templates = {}
        for image in split.enrolled:
            templates[PEOPLE[image]] = templates.get(PEOPLE[image], 0) + embeddings[image].astype(float)
        templates = {name: total / np.linalg.norm(total) for name, total in templates.items()}
        for image in split.mated:
            likeness = {name: float(embeddings[image] @ template) for name, template in templates.items()}
            mates.append(likeness[PEOPLE[image]])
            ranks.append(sum(value >= mates[-1] for value in likeness.values()))
            person.append(PEOPLE[image])
        for image in split.strangers:
            similarity, name = max((float(embeddings[image] @ template), name) for name, template in templates.items())
            best.append(similarity)
            found.append(name)
            stranger.append(PEOPLE[image])
    return tuple(map(np.array, (ranks, mates, best, person, stranger, found)))


def test_search_against_loops():
    protocol = PeopleProtocol(fpir=[0.05, 0.1, 0.001], enrolled=2, splits=4, strangers=0.4)
    benchmark, embeddings, outcome = evaluated(protocol)
    rank, mate, best, person, stranger, found = naive_search(benchmark, embeddings)
    scores, result = outcome.scores, outcome.result["open_set"]
    np.testing.assert_array_equal(scores["rank"], rank)
    np.testing.assert_allclose(scores["mate_similarity"], mate, atol=1e-6)
    np.testing.assert_allclose(scores["stranger_similarity"], best, atol=1e-6)
    assert scores["person"].tolist() == [f"p{number:02d}" for number in person]
    assert scores["stranger_person"].tolist() == [f"p{number:02d}" for number in stranger]
    assert outcome.result["identification"] == {
        "gallery": 18,
        "enrolled": 2,
        "probes": 4 * 18 * 3,
        "rank": {str(k): np.mean(rank <= k) for k in (1, 5, 10)},
    }
    assert (result["splits"], result["strangers"]) == (4, 12)
    assert (result["mated"], result["non_mated"]) == (4 * 18 * 3, 4 * 12 * 5)
    intervals = outcome.result["intervals"]
    assert intervals["identification@rank@1"] == bootstrap_rates(rank <= 1, 40, 2, person)
    for name, allowed in (("5e-2", 12), ("1e-1", 24)):
        threshold = result["threshold"][name]
        # The lowest that does not let more through; strangers whose nearest is the same in two splits are equal.
        passed = scores["stranger_similarity"] >= np.float32(threshold)
        assert passed.sum() <= allowed < np.sum(best >= threshold - 1e-6)
        assert result["fpir"][name] == passed.mean()
        missed = (rank != 1) | (mate < threshold)
        assert result["fnir"][name] == np.mean(missed)
        assert intervals[f"open_set@fnir@{name}"] == bootstrap_rates(missed, 40, 2, person)
        # A false alarm is of two people.
        (rate,) = pair_rates(passed[:, None], stranger, found, 40, 2)
        assert intervals[f"open_set@fpir@{name}"] == rate.interval
    # An image that is a stranger in several splits is one stranger.
    images = len(np.unique(np.concatenate([split.strangers for split in benchmark.splits])))
    assert result["threshold"]["1e-3"] is result["fnir"]["1e-3"] is None
    assert outcome.result["notes"][-1] == (
        f"FPIR 1e-3 is not measured: it takes 3,000 images of strangers, and there are {images}; add people or images, "
        f"or ask for {rate_name(np.ceil(300 / images) / 100)}. Rule of 3: {images} without any error leave up to "
        f"{300 / images:.2g}% open. Rule of 30: to measure 0.1% within 30% takes 30,000."
    )


def test_no_error_has_an_interval_over_people():
    _, _, outcome = evaluated(PeopleProtocol(fmr=[1e-2], fpir=[0.1]), unit(PEOPLE, 0.01))
    result, intervals = outcome.result, outcome.result["intervals"]
    assert result["verification"]["fnmr"]["1e-2"] == result["open_set"]["fnir"]["1e-1"] == 0
    # 30 people who all fare well.
    assert intervals["verification@fnmr@1e-2"] == rate_interval(0, NUM_PEOPLE)
    assert intervals["open_set@fnir@1e-1"] == rate_interval(0, NUM_PEOPLE)
    assert intervals["identification@rank@1"] == rate_interval(NUM_PEOPLE, NUM_PEOPLE)
    # A network that gives one embedding for everything finds nobody.
    _, _, outcome = evaluated(PeopleProtocol(fmr=[1e-2]), np.tile(unit(PEOPLE, 0.1)[:1], [len(PEOPLE), 1]))
    assert outcome.result["identification"]["rank"]["1"] == 0
    assert outcome.result["verification"]["fnmr"]["1e-2"] == 1
    assert outcome.result["verification"]["eer"] == pytest.approx(0.5)


def test_groups_have_the_one_threshold():
    protocol = PeopleProtocol(fmr=[1e-1, 1e-2, 1e-4], by=["hair", "yaw"], edges=[0, 5, 75, 1000], splits=0)
    benchmark, _, outcome = evaluated(protocol)
    groups = outcome.result["groups"]
    assert list(groups["hair"]) == ["long", "short", "two groups"]
    scores, pairs = outcome.scores, benchmark.pairs
    hair = benchmark.faces.columns["hair"].to_numpy()
    inside = (hair[pairs.first] == "long") & (hair[pairs.second] == "long")
    assert groups["hair"]["long"]["people"] == NUM_PEOPLE / 2
    for target in ("1e-1", "1e-2"):
        rejected = scores["similarity"] < outcome.result["verification"]["threshold"][target]
        assert groups["hair"]["long"]["fnmr"][target] == pytest.approx(np.mean(rejected[inside & pairs.same]))
        assert groups["hair"]["long"]["fmr"][target] == pytest.approx(np.mean(~rejected[inside & ~pairs.same]))
        assert f"groups@hair@long@fnmr@{target}" in outcome.result["intervals"]
    # A rate that is not measured for all is not for a group; a group of one person has none.
    assert list(groups["hair"]["long"]["fmr"]) == ["1e-1", "1e-2"]
    alone = groups["yaw"]["0 to 5"]
    assert (alone["people"], alone["images"], alone["same"]) == (1, 5, 10)
    assert set(alone["fnmr"].values()) == {None}
    text = people_text(outcome.result)
    assert "  0 to 5: one person, who says nothing of a group" in text.splitlines()
    assert text.count("by hair, at the threshold") == 2


def test_the_text_says_what_people_want_to_know():
    _, _, outcome = evaluated(PeopleProtocol(fmr=[1e-2, 1e-5], fpir=[1e-1]))
    result = json.loads(json.dumps(outcome.result, allow_nan=False))
    text = results_text([result])
    lines = text.splitlines()
    assert lines[0] == "mine: 30 people, 150 images"
    assert lines[1].startswith("1:1, 300 pairs of one person, 10,875 of two: AUC 9")
    verification, intervals = result["verification"], result["intervals"]
    low, high = intervals["verification@fnmr@1e-2"]
    fnmr = f"{100 * verification['fnmr']['1e-2']:.3g}% [{100 * low:.3g}, {100 * high:.3g}]"
    row = next(line.split() for line in lines if line.startswith("  1e-2"))
    assert row[:3] == ["1e-2", f"{verification['threshold']['1e-2']:.3f}", fnmr.split()[0]]
    expected = (
        f"At a threshold of {verification['threshold']['1e-2']:.3f}, one in 100 comparisons of strangers passes, "
    )
    assert f"{expected}and {fnmr} of the comparisons of one person fail." in sentences(result)
    assert len(sentences(result)) == 2
    search = result["open_set"]["threshold"]["1e-1"]
    assert lines[-1].startswith(f"With 15 people enrolled, at a threshold of {search:.3f}, one in 10 searches with a ")
    # Too rare: a dash, and why.
    assert next(line.split() for line in lines if line.startswith("  1e-5")) == ["1e-5", DASH, DASH, DASH]
    assert any(line.startswith("FMR 1e-5 is not measured: it takes 300,000 comparisons") for line in lines)
    _, _, outcome = evaluated(PeopleProtocol(fmr=[1e-2], splits=0), replicates=0)
    assert "[" not in people_text(outcome.result)
    assert "intervals" not in outcome.result


def test_what_the_notes_advise():
    few = people_set(4, 10)
    protocol = PeopleProtocol(fmr=[1e-2], fpir=[0.1], splits=1, impostor_pairs=200)
    benchmark = make_benchmark(few, protocol)
    outcome = evaluate_people(benchmark, unit(np.repeat(np.arange(4), 10), 0.5), 40)
    notes = "\n".join(outcome.result["notes"])
    assert (
        "it takes 300 comparisons of strangers, and there are 200; raise --impostor_pairs, of 600, or ask for 2e-2."
        in notes
    )
    assert (
        "FPIR 1e-1 is not measured: it takes 30 images of strangers, and there are 20; raise --splits, or ask for 2e-1."
        in notes
    )
    assert "Intervals over 4 people are too narrow" in notes
    left_out = dataclasses.replace(few, left_out={"no face": 12})
    outcome = evaluate_people(make_benchmark(left_out, protocol), unit(np.repeat(np.arange(4), 10), 0.5), 0)
    assert "left out when they were stored: 12 no face" in people_text(outcome.result).splitlines()[0]
    assert "Intervals" not in "".join(outcome.result["notes"])


def test_failures_to_acquire_and_to_enrol_are_counted_and_joined_with_the_rates():
    left_out = {"no face": 20, "no usable face": 5, "corrupt image": 9, "empty identity": 2}
    embeddings = unit(PEOPLE, 0.6)
    # Of one person no image has an embedding, of another one image has none.
    embeddings[[*range(EACH), EACH]] = 0
    faces = dataclasses.replace(people_set(), left_out=left_out)
    _, _, outcome = evaluated(PeopleProtocol(fmr=[1e-2, 1e-5], splits=0), embeddings, faces=faces)
    result = outcome.result["acquisition"]
    attempts, everybody = NUM_PEOPLE * EACH + 25, NUM_PEOPLE + 2
    assert (result["attempts"], result["failed"], result["fta"]) == (attempts, 25 + 6, 31 / attempts)
    assert (result["people"], result["not_enrolled"], result["fte"]) == (everybody, 3, 3 / everybody)
    assert outcome.result["intervals"]["acquisition@fte"] == rate_interval(3, everybody)
    # Embeddings of zeros are in the FNMR already: only what was left out is added.
    fnmr, fmr = (outcome.result["verification"][kind]["1e-2"] for kind in ("fnmr", "fmr"))
    fta, fte = 25 / attempts, 2 / everybody
    assert result["gfrr"]["1e-2"] == pytest.approx(1 - (1 - fte) * (1 - fta) * (1 - fnmr))
    assert result["gfar"]["1e-2"] == pytest.approx((1 - fte) * (1 - fta) * fmr)
    assert result["gfrr"]["1e-5"] is result["gfar"]["1e-5"] is None
    text = next(line for line in people_text(outcome.result).splitlines() if line.startswith("without a usable face"))
    assert text.startswith(
        "without a usable face: 31 of 175 images (FTA 17.7%), all images of 3 of 32 people (FTE 9.38"
    )
    assert f"at FMR 1e-2 GFRR {100 * result['gfrr']['1e-2']:.3g}%, GFAR" in text
    assert "1e-5" not in text
    _, _, outcome = evaluated(PeopleProtocol(fmr=[1e-2], splits=0))
    assert (outcome.result["acquisition"]["fta"], outcome.result["acquisition"]["fte"]) == (0, 0)
    assert "GFRR" not in people_text(outcome.result)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fmr": [0.0]}, "--fmr=0: give rates above 0 and below 1"),
        ({"fpir": [1e-2, 1.0]}, "--fpir=0.01,1: give rates"),
        ({"fmr": []}, "--fmr=: give rates"),
        ({"impostor_pairs": -1}, "--impostor_pairs=-1: must be at least 1, or 0 for all"),
        ({"most_pairs_per_person": -1}, "--most_pairs_per_person=-1"),
        ({"by": ["smile"]}, "--by=smile: no such column"),
        ({"enrolled": 5}, "nobody has 6 images"),
        ({"strangers": 1.0}, "--strangers=1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        make_benchmark(people_set(), PeopleProtocol(**settings))


def test_names_of_rates():
    assert [rate_name(rate) for rate in (0.001, 1e-4, 0.1, 0.0025, 3e-6)] == ["1e-3", "1e-4", "1e-1", "2.5e-3", "3e-6"]
