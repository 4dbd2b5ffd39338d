import cleaning as benchmark
import pandas as pd
import pytest
from tiny_sets import samples, stored_faces

from ddl_tf.data.writer import StoreSettings, write_set
from ddl_tf.importers.source import Source


@pytest.fixture
def faces(tmp_path):
    """Forty people with five pictures each, and one with two."""
    return stored_faces(samples(202, images_per_identity=5), tmp_path / "set")


def test_what_is_planted_is_in_the_samples(faces):
    planted = benchmark.plant(faces, 0.1, 5, 0)
    kinds = pd.Series([sample.columns["planted"] for sample in planted]).value_counts().to_dict()
    others = dict.fromkeys(["duplicate", "near_duplicate", "two_labels", "no_face", "poor_fit"], 4)
    # Wrong labels and poor fits are in the place of images.
    assert kinds == {"": 176, "wrong_label": 20, **others}
    assert len({sample.identity for sample in planted if str(sample.identity).endswith("b")}) == 4
    for sample in planted:
        row, name = sample.columns["source_row"], str(sample.identity).rstrip("b")
        if sample.columns["planted"] in ("wrong_label", "two_labels"):
            assert name != str(row // 5)
        elif row >= 0:
            assert name == str(row // 5)
        same = row >= 0 and sample.image == faces.images([row])[0]
        assert same == (sample.columns["planted"] in ("", "wrong_label", "duplicate", "two_labels"))
    assert max(sample.columns["source_row"] for sample in planted) < 200


def test_the_score_counts_what_was_found_of_what_was_planted():
    index = pd.DataFrame(
        [
            ("", 0, "near_duplicate", "1", 0.5),
            ("near_duplicate", 0, "", "1", 0.5),
            ("", 1, "near_duplicate", "1b", 0.5),
            ("wrong_label", 2, "wrong_identity", "1b", -0.5),
            ("wrong_label", 3, "outlier", "2", -0.5),
            ("", 4, "outlier", "2", 0.5),
            ("no_face", -1, "poor_fit", "2", -0.5),
            ("two_labels", 4, "", "2", 0.5),
        ],
        columns=["planted", "source_row", "fault", "identity_key", "center_margin"],
    )
    same = pd.DataFrame({"first": ["1b", "1"], "second": ["1", "2"]})
    table = benchmark.score(index, same).set_index("kind")
    assert table.loc["near_duplicate"].tolist() == [1, 2, 0.5, 1]
    assert table.loc["wrong label: wrong_identity"].tolist() == [2, 1, 1, 0.5]
    assert table.loc["wrong label: either"].tolist() == pytest.approx([2, 3, 2 / 3, 1])
    assert table.loc["wrong label: center_margin < 0, of `mine model`"].tolist() == pytest.approx([2, 3, 2 / 3, 1])
    assert table.loc["no_face or poor_fit"].tolist() == [1, 1, 1, 1]
    assert table.loc["two_labels", ["planted", "reported", "recall"]].tolist() == [1, 0, 0]
    assert table.loc["same person (pairs)"].tolist() == [1, 2, 0.5, 1]


def test_a_planted_set_can_be_stored(faces, tmp_path):
    items = benchmark.plant(faces, 0.1, 5, 0)
    source = Source("planted", "planted", len(items), lambda start: iter(items[start:]))
    assert write_set(source, StoreSettings(output=str(tmp_path / "planted")))["images"] == 216
