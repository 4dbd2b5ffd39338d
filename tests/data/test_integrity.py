import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_sets import picture, samples, store

from ddl_tf.common.errors import InputError
from ddl_tf.data.integrity import find_faults
from ddl_tf.data.store import Faces
from ddl_tf.importers.source import Sample
from ddl_tf.mining.columns import write_columns

SHARD = "shard-00000.tfrecord"


@pytest.fixture
def stored(tmp_path):
    store([*samples(5), Sample(picture(9, 64), "person 1", "item 5", 0, {"number": 5})], tmp_path / "faces")
    return tmp_path / "faces"


def faults(stored):
    return [(fault.kind, fault.source.split("/")[-1]) for fault in find_faults(str(stored))]


@pytest.mark.parametrize("records", [1, 4, 1000])
def test_damage_and_the_records_before_it(stored, monkeypatch, capsys, records):
    monkeypatch.setattr("ddl_tf.data.integrity._RECORDS", records)
    assert faults(stored) == []
    content = bytearray((stored / SHARD).read_bytes())
    index = pd.read_parquet(stored / "index.parquet")
    content[index["offset"][3] + 100] ^= 1
    (stored / SHARD).write_bytes(content)
    index.loc[2, "group"] = 3
    index.to_parquet(stored / "index.parquet", index=False)
    assert faults(stored) == [("wrong index", f"{SHARD}, record 2"), ("damaged shard", SHARD)]
    assert "corrupted record" in capsys.readouterr().err


def test_index_and_description_disagree(stored):
    index = pd.read_parquet(stored / "index.parquet")
    index.loc[2, "identity"] = 1
    index.loc[4, "group"] = 3
    index.to_parquet(stored / "index.parquet", index=False)
    assert faults(stored) == [("wrong index", f"{SHARD}, record 2"), ("wrong index", f"{SHARD}, record 4")]
    index = index[:-1]
    index.to_parquet(stored / "index.parquet", index=False)
    assert faults(stored)[0] == ("wrong count", "faces")
    assert faults(stored)[-1] == ("wrong index", f"{SHARD}, record 5")
    description = json.loads((stored / "dataset.json").read_text())
    (stored / "dataset.json").write_text(json.dumps({**description, "images": 5}))
    assert ("wrong count", "faces") not in faults(stored)


def test_an_image_that_cannot_be_decoded(tmp_path, monkeypatch):
    """Its checksum is right: it was damaged before it was stored."""
    monkeypatch.setattr("ddl_tf.data.shards.load_image", lambda encoded: Image.new("RGB", (4, 4)))
    monkeypatch.setattr("ddl_tf.data.shards.STORED_FORMATS", (None,))
    store([*samples(3), Sample(picture(9, 64)[:-300], "person 1", "item 3", 0, {"number": 3})], tmp_path / "damaged")
    monkeypatch.undo()
    assert faults(tmp_path / "damaged") == [("corrupt image", f"{SHARD}, record 3")]


WRONG_VALUES = {
    "image_size": [
        *([[]], {"smallest": [16, 16]}, {"smallest": [16], "largest": [16]}),
        *({"smallest": [16, side], "largest": [16, side]} for side in (1e300, "16")),
    ],
    "shards": [[], "shard-00000.tfrecord"],
    "columns": [0.5, [[]]],
    "mined": [{}, [None], [{}]],
    "made_by": [None, {"settings": []}],
}


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_a_description_with_a_value_of_another_kind(stored, name):
    file = stored / "dataset.json"
    for value in WRONG_VALUES[name]:
        file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
        with pytest.raises(InputError, match=r"not the description of a stored set .*; prepare the set again"):
            faults(stored)


def test_a_description_may_leave_out_what_nobody_needs(stored):
    file = stored / "dataset.json"
    description = json.loads(file.read_text())
    needed = ("format_version", "images", "identities", "shards")
    file.write_text(json.dumps({name: description[name] for name in needed}))
    assert faults(stored) == []
    write_columns(Faces([str(stored)]), {"quality": np.zeros(6)}, {})
    assert json.loads(file.read_text())["columns"] == [*description["columns"], "quality"]
