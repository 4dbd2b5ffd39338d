import json

import pytest

from ddl_tf.evaluation.reports import json_line, pairs_table


def _result(**changes):
    numbers = {"accuracy": 0.99625, "accuracy_std": 0.00291, "threshold_accuracy": 0.997, "auc": 0.9991, "eer": 0.0042}
    rates = {"1e-1": 0.9998, "1e-2": 0.9961, "1e-3": 0.9912, "1e-4": 0.9}
    return {"set": "lfw", "pairs": 6000, **numbers, "tar": rates, "expectation_margin": 0.61834, **changes}


def test_table_is_aligned_and_a_tar_that_cannot_be_measured_is_a_dash():
    rates = {"1e-1": 0.9998, "1e-2": 0.9961, "1e-3": None, "1e-4": None}
    sets = [_result(), _result(set="cfp_fp", accuracy=1.0), _result(tar=rates)]
    header, first, second, third, note = pairs_table(sets).splitlines()
    assert header.split()[0] == "set"
    assert len(header) == len(first) == len(second) == len(third)
    assert "99.62 +- 0.29" in first
    assert (second.split()[0], second.split()[-1]) == ("cfp_fp", "0.618")
    assert third.split()[-3:-1] == ["\N{EN DASH}", "\N{EN DASH}"]
    assert note == "\N{EN DASH}: not measurable, FAR x different pairs is less than 3"
    assert len(pairs_table([_result()]).splitlines()) == 2


def test_json_is_one_line_without_nan():
    line = json_line(_result())
    assert "\n" not in line
    assert json.loads(line) == _result()
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_line(_result(auc=float("nan")))
