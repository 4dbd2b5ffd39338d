import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.rfw import summarise_rfw

RACES = ["african", "asian", "caucasian", "indian"]
GOLDEN = json.loads((Path(__file__).parents[1] / "golden/rfw_golden.json").read_text())


def results(accuracies, names=RACES):
    return [{"set": f"rfw_{race}", "pairs": 6000, "accuracy": value} for race, value in zip(names, accuracies)]


def test_mean_and_deviation_of_tface():
    for golden in GOLDEN:
        summary = summarise_rfw(results(golden["accuracies"]))
        assert summary["mean"] == pytest.approx(golden["mean"], rel=1e-14)
        assert 100 * summary["std"] == pytest.approx(golden["std_percent"], rel=1e-12)


def test_naive_twin():
    values = np.random.default_rng(0).uniform(0.6, 0.99, 4).tolist()
    summary = summarise_rfw(results(values[::-1], RACES[::-1]))
    assert json.loads(json.dumps(summary)) == summary
    assert list(summary["accuracy"].items()) == list(zip(RACES, values))
    assert summary == {
        "set": "rfw",
        "protocol": "rfw",
        "pairs": 24000,
        "accuracy": summary["accuracy"],
        "mean": pytest.approx(sum(values) / 4),
        "std": pytest.approx(statistics.stdev(values)),
        "skewed_error_ratio": pytest.approx((1 - min(values)) / (1 - max(values))),
        "worst": RACES[values.index(min(values))],
    }


def test_no_ratio_without_an_error_and_nothing_but_the_four():
    for accuracies in ([0.9, 0.95, 1.0, 0.9], [1.0] * 4):
        assert summarise_rfw(results(accuracies))["skewed_error_ratio"] is None
    for names in (RACES[:3], [*RACES, "asian"], ["african", "asian", "caucasian", "other"], []):
        with pytest.raises(InputError, match="RFW is rfw_african, rfw_asian, rfw_caucasian, rfw_indian, each once"):
            summarise_rfw(results([0.9] * 5, names))
