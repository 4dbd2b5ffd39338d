import pytest

from ddl_tf.common.markdown import DASH
from ddl_tf.reporting.error_rates import error_rates, rates_of
from ddl_tf.reporting.evaluations import EvaluatedModel, EvaluatedSet

PAIRS = {
    "pairs": 900,
    "same": 400,
    "tar": {"1e-1": 0.9, "1e-3": None},
    "error_rates": {"threshold": {}, "fmr": {"1e-1": 0.1, "1e-3": None}, "fnmr": {"1e-1": 0.1, "1e-3": None}},
    "intervals": {"error_rates@fnmr@1e-1": [0.05, 0.2], "tar@1e-1": [0.8, 0.95]},
}
PEOPLE = {
    "protocol": "people",
    "verification": {"pairs": 90, "same": 40, "tar": {"1e-1": 0.7}, "fnmr": {"1e-1": 0.3}, "fmr": {"1e-1": 0.09}},
    "open_set": {"fpir": {"1e-1": 0.1}, "fnir": {"1e-1": 0.4}},
    "acquisition": {"fta": 0.25, "fte": 0.0, "gfrr": {"1e-1": 0.5}, "gfar": {"1e-1": None}},
    "intervals": {"acquisition@fte": [0.0, 0.1]},
}
TEMPLATES = {
    "verification": {"pairs": 90, "same": 40, "tar": {"1e-1": 0.7, "1e-4": 0.2}, "few_false_accepts": ["tar@1e-4"]},
    "identification": {"tpir": {"1e-1": 0.8}},
    "intervals": {"verification@tar@1e-1": [0.6, 0.9]},
}


def model(name, **results):
    sets = {key: EvaluatedSet(key, result, {}, None, None, {}) for key, result in results.items()}
    return EvaluatedModel(name, "", sets)


def test_the_table_has_the_rates_of_each_protocol_and_the_rules_where_they_are_not_measured():
    models = [model("a", lfw=PAIRS, mine=PEOPLE, ijbc=TEMPLATES), model("b", lfw=PAIRS)]
    section = error_rates(models)
    assert section.sentences == [
        "lfw: FMR 1e-3 is not measured with 500 pairs of two people. Rule of 3: 500 without any error leave up to "
        "0.6% open. Rule of 30: to measure 0.1% within 30% takes 30,000.",
        "ijbc: FMR 1e-4 is not measured with 50 pairs of two people. Rule of 3: 50 without any error leave up to "
        "6% open. Rule of 30: to measure 0.01% within 30% takes 300,000.",
    ]
    (table,) = section.parts
    assert table.header == ["set", "rate", "a", "b"]
    assert table.rows == [
        ["lfw", "FNMR at FMR 1e-1", "10% [5, 20]", "10% [5, 20]"],
        ["lfw", "FNMR at FMR 1e-3", DASH, DASH],
        ["mine", "verification: FNMR at FMR 1e-1", "30%", DASH],
        ["mine", "open set: FNIR at FPIR 1e-1", "40%", DASH],
        ["mine", "failures: FTA", "25%", DASH],
        ["mine", "failures: FTE", "0% [0, 10]", DASH],
        ["mine", "failures: GFRR@1e-1", "50%", DASH],
        ["ijbc", "verification: FNMR at FMR 1e-1", "30% [10, 40]", DASH],
        ["ijbc", "verification: FNMR at FMR 1e-4", DASH, DASH],
        ["ijbc", "identification: FNIR at FPIR 1e-1", "20%", DASH],
    ]
    assert not error_rates([model("a", scface={"rank1": {"d1": 0.5}})]).parts


def test_rates_of_templates_are_those_that_are_missed():
    rate, interval = rates_of(TEMPLATES)["verification@fnmr@1e-1"]
    assert (rate, *interval) == pytest.approx((0.3, 0.1, 0.4))
