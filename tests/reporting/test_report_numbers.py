from ddl_tf.reporting.numbers import (
    interval_of,
    is_countable,
    lower_is_better,
    meanings_of,
    number_of_test,
    numbers_of,
    title_of,
)

RESULT = {
    "set": "lfw",
    "pairs": 600,
    "same": 300,
    "accuracy": 0.9,
    "accuracy_std": 0.01,
    "threshold": 0.3,
    "auc": 0.95,
    "val": {"tar": 0.5, "tar_std": 0.1, "far": 0.001},
    "tar": {"1e-2": 0.6, "1e-3": 0.5},
    "mean_same": 0.5,
    "intervals": {"auc": [0.9, 0.99], "tar@1e-2": [0.5, 0.7]},
}
IJB = {
    "verification": {"pairs": 10000, "same": 100, "tar": {"1e-4": 0.8, "1e-2": 0.9}},
    "identification": {"rank": {"1": 0.9}},
    "open_set": None,
    "intervals": {"verification@tar@1e-2": [0.88, 0.92]},
}


def test_what_says_how_good_a_model_is():
    assert numbers_of(RESULT) == {"accuracy": 0.9, "auc": 0.95, "tar@1e-2": 0.6, "tar@1e-3": 0.5}
    assert list(numbers_of(IJB)) == ["verification@tar@1e-4", "verification@tar@1e-2", "identification@rank@1"]


def test_intervals():
    assert interval_of(RESULT, "auc") == (0.9, 0.99)
    assert interval_of(RESULT, "tar@1e-2") == (0.5, 0.7)
    assert interval_of(RESULT, "accuracy") is None
    assert interval_of(IJB, "verification@tar@1e-2") == (0.88, 0.92)
    assert interval_of({"intervals": {"rank1.d1": [0, 1]}}, "rank1@d1") == (0, 1)
    assert interval_of({}, "auc") is None


def test_a_tar_needs_three_false_accepts():
    assert is_countable(RESULT, "tar@1e-2")
    assert not is_countable(RESULT, "tar@1e-3")
    assert is_countable(RESULT, "auc")
    assert is_countable(IJB, "verification@tar@1e-2")
    assert not is_countable(IJB, "verification@tar@1e-4")
    assert is_countable({"tar": {"1e-6": 0.5}}, "tar@1e-6")
    result = {"tar": {"1e-5": 0.5, "1e-6": 0.4}, "impostor_pairs": 400_000, "pairs": 30}
    assert [is_countable(result, f"tar@{name}") for name in result["tar"]] == [True, False]
    named = {"open_set": {"tpir": {"1e-2": 0.5}, "few_false_accepts": ["tpir@1e-2"]}}
    assert not is_countable(named, "open_set@tpir@1e-2")


def test_titles():
    titles = {
        "tar@1e-2": "TAR@1e-2",
        "rank1": "rank-1",
        "rank10@average": "rank-10, average",
        "identification@rank@5": "identification: rank-5",
        "open_set@tpir@1e-2": "open set: TPIR@1e-2",
        "open_set@galleries@G1@rank@1": "open set, G1: rank-1",
        "auc": "AUC",
        "skewed_error_ratio": "skewed error ratio",
    }
    assert {number: title_of(number) for number in titles} == titles


def test_errors_are_better_low_and_meanings_come_once():
    assert all(map(lower_is_better, ("eer", "gap", "skewed_error_ratio", "std")))
    assert not any(map(lower_is_better, ("auc", "tar@1e-2", "rank1", "expectation_margin")))
    text = meanings_of(["tar@1e-2", "tar@1e-3", "rank1@d1", "unheard_of"])
    assert text.count("TAR@FAR") == 1
    assert "rank-k" in text
    assert ";" in text


def test_names_of_tests():
    assert number_of_test("rank-5", {}) == "rank5"
    assert number_of_test("rank-1 d1", {}) == "rank1@d1"
    assert number_of_test("rank-1", IJB) == "identification@rank@1"
    assert number_of_test("auc", RESULT) == "auc"
    assert number_of_test("tar@1e-2", IJB) == "verification@tar@1e-2"
    assert number_of_test("mean_same", RESULT) is None
