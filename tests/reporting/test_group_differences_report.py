import numpy as np

from ddl_tf.common.markdown import DASH
from ddl_tf.evaluation.people_text import MEASURE_TITLES, measure_text
from ddl_tf.metrics.group_differences import MEASURES, group_differences
from ddl_tf.metrics.people_rates import Comparisons
from ddl_tf.reporting import group_differences as section
from ddl_tf.reporting.evaluations import EvaluatedModel, EvaluatedSet
from ddl_tf.reporting.numbers import lower_is_better, numbers_of, title_of


def result_of(seed):
    people = np.repeat(np.arange(18), 4)
    first, second = np.triu_indices(72, 1)
    same = people[first] == people[second]
    random = np.random.default_rng(seed)
    accepted = random.random([len(first), 1]) < np.where(same, 0.8, 0.05)[:, None]
    pairs = Comparisons(first, second, same, accepted)
    group = np.minimum(people // 9 + (people == 17), 2)
    found = group_differences(["old", "young", "alone"], group, people, pairs, {"5e-2": 0.05}, 40, 0)
    intervals = {path.replace("@", "@age@", 1): ends for path, ends in found.intervals.items()}
    differences = {"threshold": {"5e-2": 0.3}, **found.differences}
    return {"groups": {"age": found.groups}, "differences": {"age": differences}, "intervals": intervals}


def models(*seeds):
    sets = [{"bfw": EvaluatedSet("bfw", result_of(seed), {}, None, None, {})} for seed in seeds]
    return [EvaluatedModel(f"m{number}", "", known) for number, known in enumerate(sets)]


def test_the_matrix_and_the_tables_have_the_rates_of_each_model():
    two = models(0, 1)
    known = section.group_differences(two)
    picture, measures, cells = known.parts
    assert picture.name == "differences-bfw-age"
    results = [model.sets["bfw"].result for model in two]
    axes = [axes for axes in picture.figure.axes if axes.images]
    assert len(axes) == 4
    for place, result in enumerate(results):
        for kind, panel in zip(("fmr", "fnmr"), axes[2 * place :]):
            groups, pairs = result["groups"]["age"], result["differences"]["age"]["pairs"]
            matrix = section.rate_matrix(result, "age", kind, "5e-2")
            assert matrix[0, 0] == groups["old"][kind]["5e-2"]
            assert np.isnan(matrix[2, 2])
            if kind == "fmr":
                assert matrix[0, 1] == matrix[1, 0] == pairs["old and young"][kind]["5e-2"]
            texts = {text.get_text() for text in panel.texts}
            assert texts == {f"{100 * value:.2g}%" for value in matrix[np.isfinite(matrix)]}
    assert measures.header == ["measure", "threshold of", "m0", "m1"]
    assert [row[0] for row in measures.rows] == list(MEASURE_TITLES.values())
    garbe = results[1]["differences"]["age"]["garbe"]["5e-2"]
    row = next(row for row in measures.rows if row[0] == "GARBE")
    assert row[3] == measure_text(garbe, results[1]["intervals"]["differences@age@garbe@5e-2"])
    assert [row[0] for row in cells.rows][:5] == ["old", "young", "alone", "two groups", "old and young"]
    assert cells.rows[2][4:] == [DASH] * 4
    fmr = results[0]["groups"]["age"]["old"]["fmr"]["5e-2"]
    assert cells.rows[0][4].startswith(f"{100 * fmr:.3g}% [")
    assert known.sentences[0].startswith("m0 on bfw: at FMR 5e-2 on all pairs, the FMR by age goes from ")
    assert set(MEASURE_TITLES) == set(MEASURES)


def test_without_groups_there_is_no_section():
    sets = {"lfw": EvaluatedSet("lfw", {"auc": 0.9}, {}, None, None, {})}
    known = section.group_differences([EvaluatedModel("a", "", sets)])
    assert not known.parts
    assert not known.sentences


def test_measures_have_names_and_cells_are_no_headlines():
    numbers = numbers_of(result_of(0))
    assert not [name for name in numbers if "old and young" in name]
    titles = {name: title_of(name) for name in numbers if name.startswith("differences")}
    assert titles["differences@age@garbe@5e-2"] == "age, GARBE at FMR 5e-2"
    better = {name.split("@")[2] for name in titles if not lower_is_better(name)}
    assert better == {"fairness_discrepancy"}
