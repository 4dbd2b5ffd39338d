import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import lock_folder
from ddl_tf.data.integrity import find_faults
from ddl_tf.data.layout import INDEX_COLUMNS
from ddl_tf.data.store import Faces
from ddl_tf.data.writer import StoreSettings, write_set
from ddl_tf.mining.columns import write_columns


@pytest.fixture
def stored(tmp_path, tiny_samples):
    for name in ("a", "b"):
        write_set(tiny_samples, StoreSettings(output=str(tmp_path / name)))
    return [str(tmp_path / name) for name in ("a", "b")]


def test_columns_are_added_and_replaced_in_every_set(stored):
    faces = Faces(stored)
    before = faces.index.copy()
    values = np.arange(len(faces), dtype=np.float32)
    values[3] = np.nan
    write_columns(faces, {"quality": values}, {"command": "quality"})
    write_columns(faces, {"quality": values + 1, "word": values.astype(str)}, {"command": "again"})
    after = Faces(stored).index
    np.testing.assert_array_equal(after["quality"], values + 1)
    np.testing.assert_array_equal(after["word"].astype(str), values.astype(str))
    assert after["quality"].isna().sum() == 1
    pd.testing.assert_frame_equal(after[list(before)], before)


def test_the_description_says_what_was_made_by_what(stored):
    faces = Faces(stored)
    write_columns(faces, {"group": np.arange(len(faces)) % 3 - 1}, {"command": "rules", "easy": "yaw < 3"})
    for path in stored:
        description = json.loads((Path(path) / "dataset.json").read_text())
        (step,) = description["mined"]
        assert step["command"] == "rules"
        assert step["easy"] == "yaw < 3"
        assert step["columns"] == ["group"]
        assert sum(description["groups"].values()) == description["images"]


def test_a_set_with_mined_groups_is_whole(stored):
    faces = Faces(stored[:1])
    assert not list(find_faults(stored[0]))
    write_columns(faces, {"group": np.full(len(faces), 5)}, {"command": "rules"})
    assert Faces(stored[:1]).index["group"].eq(5).all()
    assert not list(find_faults(stored[0]))


@pytest.mark.parametrize("name", [name for name in INDEX_COLUMNS if name != "group"])
def test_what_says_where_an_image_is_stays(stored, name):
    faces = Faces(stored)
    with pytest.raises(InputError, match=f"'{name}'.*cannot be replaced"):
        write_columns(faces, {name: np.zeros(len(faces))}, {})


def test_a_value_for_each_image(stored):
    with pytest.raises(ValueError, match="3 values for"):
        write_columns(Faces(stored), {"x": np.zeros(3)}, {})


def test_one_process_at_a_time(stored):
    faces = Faces(stored)
    with lock_folder(Path(stored[0]), ".lock"), pytest.raises(InputError, match="another process"):
        write_columns(faces, {"x": np.zeros(len(faces))}, {})


def test_killed_between_its_files_a_set_is_whole_and_the_same_command_ends_it(stored, monkeypatch):
    faces = Faces(stored)
    group, made_by = (np.arange(len(faces)) + 1) % 2, {"command": "rules"}
    replace = os.replace
    # The second and third time the record of the first is there.
    for places in (["dataset.json"], ["index.parquet"], ["index.parquet", "dataset.json"]):
        written = []

        def killed(source, target, places=places, written=written):
            replace(source, target)
            written.append(Path(target).name)
            if written == places:
                raise MemoryError("as if killed")

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", killed)
            with pytest.raises(MemoryError):
                write_columns(faces, {"group": group}, made_by)
        assert not list(find_faults(stored[0]))
    write_columns(faces, {"group": group}, made_by)
    for path in stored:
        description = json.loads((Path(path) / "dataset.json").read_text())
        assert len(description["mined"]) == 1
        assert not list(find_faults(path))
    np.testing.assert_array_equal(Faces(stored).index["group"], group)
