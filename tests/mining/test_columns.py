import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ddl_tf
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import lock_folder
from ddl_tf.data.integrity import find_faults
from ddl_tf.data.layout import INDEX_COLUMNS
from ddl_tf.data.store import Faces
from ddl_tf.mining.columns import write_columns


def test_columns_are_added_and_replaced_in_every_set(two_sets):
    faces = Faces(two_sets)
    before = faces.index.copy()
    values = np.where(np.arange(len(faces)) == 3, np.nan, np.arange(len(faces), dtype=np.float32))
    write_columns(faces, {"quality": values}, {"command": "quality"})
    write_columns(faces, {"quality": values + 1, "word": values.astype(str)}, {"command": "again"})
    after = Faces(two_sets).index
    np.testing.assert_array_equal(after["quality"], values + 1)
    np.testing.assert_array_equal(after["word"].astype(str), values.astype(str))
    assert after["quality"].isna().sum() == 1
    pd.testing.assert_frame_equal(after[list(before)], before)

    for name in set(INDEX_COLUMNS) - {"group"}:
        with pytest.raises(InputError, match=f"'{name}'.*cannot be replaced"):
            write_columns(faces, {name: values}, {})
    with pytest.raises(ValueError, match="3 values for"):
        write_columns(faces, {"x": np.zeros(3)}, {})
    with lock_folder(Path(two_sets[0]), ".lock"), pytest.raises(InputError, match="another process"):
        write_columns(faces, {"x": values}, {})


def test_killed_between_its_files_a_set_is_whole_and_the_same_command_ends_it(two_sets, monkeypatch):
    faces = Faces(two_sets)
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
        assert not list(find_faults(two_sets[0]))
    write_columns(faces, {"group": group}, made_by)
    for path in two_sets:
        description = json.loads((Path(path) / "dataset.json").read_text())
        assert description["mined"] == [{"ddl_tf": ddl_tf.__version__, **made_by, "columns": ["group"]}]
        assert sum(description["groups"].values()) == description["images"]
        assert not list(find_faults(path))
    np.testing.assert_array_equal(Faces(two_sets).index["group"], group)
