"""How often tests of two equally good models say that they differ, where pairs share their people."""

import numpy as np

from ddl_tf.metrics.bootstrap import bootstrap_means
from ddl_tf.metrics.paired_tests import bootstrap_p, compare_scores, delong_test

PEOPLE, EACH = 40, 4
PERSON = np.repeat(np.arange(PEOPLE), EACH)
FIRST, SECOND = np.triu_indices(PEOPLE * EACH, 1)
SAME = PERSON[FIRST] == PERSON[SECOND]


def equal_models(seed):
    """Similarities of two models to which other people are hard, of all pairs of 4 templates of 40 people."""
    random = np.random.default_rng(seed)
    for _ in range(2):
        hardness = random.normal(0, 0.15, PEOPLE)
        first, second = hardness[PERSON[FIRST]], hardness[PERSON[SECOND]]
        similarity = np.where(SAME, 0.5 - first, (first + second) / 2)
        yield similarity + random.normal(0, 0.15, len(SAME))


def test_ijb_is_tested_over_people():
    alarms = {"over people": 0, "over pairs": 0}
    # Templates are named by numbers, as in IJB.
    common = {"same": SAME, "first": 5 * FIRST + 2, "second": 5 * SECOND + 2}
    common.update(template=5 * np.arange(len(PERSON)) + 2, template_person=PERSON)
    for seed in range(15):
        a, b = equal_models(seed)
        rows = compare_scores({"similarity": a, **common}, {"similarity": b, **common}, replicates=60, far_targets={})
        tests = {row["number"]: row["test"] for row in rows}
        assert tests == dict.fromkeys(("auc", "eer"), "paired bootstrap of people")
        alarms["over people"] += rows[0]["p"] < 0.05
        alarms["over pairs"] += delong_test(a, b, SAME).p < 0.05
    # 5% is right: 0.75 of 15, and 3.3 with three standard errors. Over pairs it is half of them.
    assert alarms["over people"] <= 3
    assert alarms["over pairs"] >= 5


def test_ranks_of_few_people_with_many_probes_are_tested_by_sign_flips():
    person = np.repeat(np.arange(6), 30)
    alarms = {"flips": 0, "bootstrap": 0}
    for seed in range(300):
        random = np.random.default_rng(seed)
        # What is hard differs between the models for each person.
        ranks = [np.where(random.random(180) < random.beta(2, 2, 6)[person], 1, 2) for _ in range(2)]
        (row,) = compare_scores(*({"rank": rank, "person": person} for rank in ranks), replicates=100, seed=seed)
        alarms["flips"] += row["p"] < 0.05
        difference = (ranks[0] == 1) * 1.0 - (ranks[1] == 1)
        alarms["bootstrap"] += bootstrap_p(bootstrap_means(difference, 100, seed, person)) < 0.05
    # 5% is right: 15 of 300, and 26 with three standard errors.
    assert alarms["flips"] <= 26 < alarms["bootstrap"]
