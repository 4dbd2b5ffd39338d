import pandas as pd
import pytest
from tiny_sets import samples, store

from ddl_tf.common.errors import InputError
from ddl_tf.data.store import Faces
from ddl_tf.data.writer import StoreSettings, write_set
from ddl_tf.mining.columns import write_columns
from ddl_tf.mining.selection import identity_names, merged_names, selected_source


@pytest.fixture
def faces(tmp_path):
    store(samples(9, text="a", missing=None), tmp_path / "set")
    return Faces([str(tmp_path / "set")])


def test_the_new_set_has_the_same_bytes_columns_and_groups(faces, tmp_path):
    source = selected_source(faces, [8, 0, 1, 4], identity_names(faces), without=["text"])
    write_set(source, StoreSettings(output=str(tmp_path / "new")))
    new = Faces([str(tmp_path / "new")])
    assert new.index["source_row"].tolist() == [8, 0, 1, 4]
    assert new.index["identity_key"].tolist() == ["person 2", "person 0", "person 0", "person 1"]
    assert new.index["identity"].tolist() == [0, 1, 1, 2]
    assert new.index["number"].tolist() == [8, 0, 1, 4]
    assert new.index["group"].tolist() == [0, 0, 1, 0]
    assert new.index["missing"].isna().all()
    assert "text" not in new.index
    assert list(new.images()) == list(faces.images([8, 0, 1, 4]))
    # Reading from the middle gives what is left.
    assert [sample.source for sample in source.read(2)] == [sample.source for sample in source.read(0)][2:]


def test_identities_are_merged_by_a_column(faces, tmp_path):
    write_columns(faces, {"merge_with": pd.Series(["person 2"] * 3 + [""] * 6).to_numpy()}, {})
    faces = Faces(faces.paths)
    source = selected_source(faces, range(9), merged_names(faces, "merge_with"))
    write_set(source, StoreSettings(output=str(tmp_path / "new")))
    new = Faces([str(tmp_path / "new")])
    assert new.num_identities == 2
    assert new.index["identity_key"].tolist() == ["person 2"] * 3 + ["person 1"] * 3 + ["person 2"] * 3


def test_other_rows_or_names_are_another_source(faces):
    names = identity_names(faces)
    merged = names.copy()
    merged[0] = "person 2"
    sources = [selected_source(faces, rows, of) for rows, of in (([0, 1], names), ([0, 2], names), ([0, 1], merged))]
    assert len({source.name for source in sources}) == 3


def test_keys_of_two_sets_are_told_apart(faces, tmp_path):
    store(samples(3), tmp_path / "other")
    both = Faces([*faces.paths, str(tmp_path / "other")])
    assert list(dict.fromkeys(identity_names(both))) == [
        "person 0 (identity 0)",
        "person 1",
        "person 2",
        "person 0 (identity 3)",
    ]


def test_what_cannot_be_selected_is_refused(faces):
    with pytest.raises(InputError, match="no image is selected: loosen the rule"):
        selected_source(faces, [], identity_names(faces))
    with pytest.raises(InputError, match="the index has no column 'merge_with': run"):
        merged_names(faces, "merge_with")
    write_columns(faces, {"merge_with": pd.Series(["stranger"] + [""] * 8).to_numpy()}, {})
    with pytest.raises(InputError, match="names the identity 'stranger', which is not in these sets"):
        merged_names(Faces(faces.paths), "merge_with")
