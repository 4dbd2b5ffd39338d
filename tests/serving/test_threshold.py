from pathlib import Path

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embedding_file import fingerprint
from ddl_tf.evaluation.stored import Outcome, write_outcome
from ddl_tf.metrics.roc import threshold_at_far
from ddl_tf.serving import check_same_model, choose_threshold


def _pairs(different=1000, same=500, seed=0):
    random = np.random.RandomState(seed)
    similarity = np.concatenate([random.normal(0.1, 0.15, different), random.normal(0.6, 0.15, same)])
    return similarity, np.arange(different + same) >= different


@pytest.fixture
def evaluation(tmp_path):
    similarity, same = _pairs()
    checkpoint = tmp_path / "best.keras"
    checkpoint.write_bytes(b"a network")
    folder = tmp_path / "evaluation"
    provenance = {"model": str(checkpoint), "sha256": fingerprint(checkpoint), "flip": False, "date": "2026-01-01"}
    result = {"set": "lfw", "protocol": "pairs"}
    write_outcome(folder / "lfw", Outcome(result, {"similarity": similarity, "same": same}), provenance)
    probes = Outcome({"set": "scface", "protocol": "identification"}, {"rank": np.ones(3, int)})
    write_outcome(folder / "scface", probes, provenance)
    return str(folder)


def test_a_chosen_threshold_has_its_source_and_bad_choices_are_refused(evaluation, tmp_path):
    checkpoint = tmp_path / "best.keras"
    threshold = choose_threshold(evaluation, "lfw", 0.01)
    similarity, same = _pairs()
    assert threshold.value == threshold_at_far(similarity, same, 0.01)
    assert (threshold.far, threshold.set, threshold.protocol) == (0.01, "lfw", "pairs")
    source = threshold.evaluation
    assert (source["different"], source["same"], source["far"]) == (1000, 500, 0.01)
    assert source["tar"] == pytest.approx(np.mean(similarity[same] > threshold.value))
    assert source["folder"] == str(Path(evaluation).resolve())
    assert source["date"] == "2026-01-01"
    check_same_model(threshold, checkpoint, flip=False)
    with pytest.raises(InputError, match="evaluated with --noflip, the export is with --flip"):
        check_same_model(threshold, checkpoint, flip=True)
    checkpoint.write_bytes(b"another network")
    with pytest.raises(InputError, match=r"not with .*best\.keras"):
        check_same_model(threshold, checkpoint, flip=False)
    # Three accepted pairs are enough.
    assert choose_threshold(evaluation, "lfw", 3e-3).evaluation["far"] == 3e-3
    few = "lfw has 1,000 different pairs, too few to measure a false accept rate of 0.001, which takes 3,000"
    for name, far, message in (
        ("lfw", 1e-3, few),
        ("cfp", 1e-2, r"has no set 'cfp', but lfw, scface"),
        ("scface", 1e-2, r"the set scface \(identification\) has no pairs"),
        ("lfw", 0.0, r"false accept rate 0: must be above 0"),
    ):
        with pytest.raises(InputError, match=message):
            choose_threshold(evaluation, name, far)
