from ddl_tf.reporting import numbers
from ddl_tf.reporting.numbers import interval_of, is_countable, number_of_test, numbers_of

RESULT = {
    **{"set": "lfw", "pairs": 600, "same": 300, "mean_same": 0.5, "threshold": 0.3},
    **{"accuracy": 0.9, "accuracy_std": 0.01, "auc": 0.95, "tar": {"1e-2": 0.6, "1e-3": 0.5}},
    "val": {"tar": 0.5, "tar_std": 0.1, "far": 0.001},
    "intervals": {"auc": [0.9, 0.99], "tar@1e-2": [0.5, 0.7]},
}
IJB = {
    "verification": {"pairs": 10000, "same": 100, "tar": {"1e-4": 0.8, "1e-2": 0.9}},
    "identification": {"rank": {"1": 0.9}},
    "open_set": None,
    "intervals": {"verification@tar@1e-2": [0.88, 0.92]},
}


def test_what_says_how_good_a_model_is_with_its_intervals():
    assert numbers_of(RESULT) == {"accuracy": 0.9, "auc": 0.95, "tar@1e-2": 0.6, "tar@1e-3": 0.5}
    assert list(numbers_of(IJB)) == ["verification@tar@1e-4", "verification@tar@1e-2", "identification@rank@1"]
    for result, number, interval in (
        (RESULT, "auc", (0.9, 0.99)),
        (RESULT, "accuracy", None),
        (IJB, "verification@tar@1e-2", (0.88, 0.92)),
        ({"intervals": {"rank1.d1": [0, 1]}}, "rank1@d1", (0, 1)),
        ({}, "auc", None),
    ):
        assert interval_of(result, number) == interval


def test_a_tar_needs_three_false_accepts():
    megaface = {"tar": {"1e-5": 0.5, "1e-6": 0.4}, "impostor_pairs": 400_000, "pairs": 30}
    named = {"open_set": {"tpir": {"1e-2": 0.5}, "few_false_accepts": ["tpir@1e-2"]}}
    for result, number, countable in (
        (RESULT, "tar@1e-2", True),
        (RESULT, "tar@1e-3", False),
        (RESULT, "auc", True),
        (IJB, "verification@tar@1e-2", True),
        (IJB, "verification@tar@1e-4", False),
        ({"tar": {"1e-6": 0.5}}, "tar@1e-6", True),
        (megaface, "tar@1e-5", True),
        (megaface, "tar@1e-6", False),
        (named, "open_set@tpir@1e-2", False),
    ):
        assert is_countable(result, number) == countable, number


def test_words():
    titles = {
        "tar@1e-2": "TAR@1e-2",
        "rank10@average": "rank-10, average",
        "identification@rank@5": "identification: rank-5",
        "open_set@tpir@1e-2": "open set: TPIR@1e-2",
        "open_set@galleries@G1@rank@1": "open set, G1: rank-1",
        "skewed_error_ratio": "skewed error ratio",
    }
    assert {number: numbers.title_of(number) for number in titles} == titles
    lower = {"eer", "gap", "skewed_error_ratio", "std"}
    assert set(filter(numbers.lower_is_better, [*lower, "auc", "tar@1e-2", "rank1", "expectation_margin"])) == lower
    text = numbers.meanings_of(["tar@1e-2", "tar@1e-3", "rank1@d1", "unheard_of"])
    assert (text.count("TAR@FAR"), text.count("rank-k"), text.count(";")) == (1, 1, 1)
    for name, result, number in (
        ("rank-5", {}, "rank5"),
        ("rank-1 d1", {}, "rank1@d1"),
        ("rank-1", IJB, "identification@rank@1"),
        ("auc", RESULT, "auc"),
        ("tar@1e-2", IJB, "verification@tar@1e-2"),
        ("mean_same", RESULT, None),
    ):
        assert number_of_test(name, result) == number
