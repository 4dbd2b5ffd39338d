import numpy as np
import pandas as pd
import pytest
from tiny_sets import damage_image, picture, samples, store

from ddl_tf.common.errors import InputError
from ddl_tf.data.integrity import find_faults
from ddl_tf.data.mending import mend_set, own_places, read_mended
from ddl_tf.data.pipeline import check_rows
from ddl_tf.data.store import Faces
from ddl_tf.importers.source import Sample


@pytest.fixture
def stored(tmp_path):
    """Three images of each of two people, all of group 0, with a column of their own."""
    items = [Sample(picture(n), f"person {n // 3}", f"item {n}", 0, {"number": n}) for n in range(6)]
    store(items, tmp_path / "faces")
    return tmp_path / "faces"


def test_the_next_image_of_the_same_person_stands_for_a_lost_one(stored, capsys):
    before, table = (stored / "index.parquet").read_bytes(), pd.read_parquet(stored / "index.parquet")
    assert mend_set(str(stored)).empty
    assert (stored / "index.parquet").read_bytes() == before
    images = Faces([str(stored)]).read(np.arange(6))
    for row in (0, 2):
        damage_image(stored, row)
    faults = list(find_faults(str(stored)))
    assert faults
    stand_ins = mend_set(str(stored))
    assert list(find_faults(str(stored))) == faults
    assert stand_ins[["row", "stands_in"]].to_numpy().tolist() == [[0, 1], [2, 1]]
    assert f"{stored}, row 2: " in capsys.readouterr().err
    faces = Faces([str(stored)])
    assert faces.read(np.arange(6)) == [images[n] for n in (1, 1, 1, 3, 4, 5)]
    assert faces.index["identity"].tolist() == [0, 0, 0, 1, 1, 1]
    assert faces.index["number"].tolist() == [1, 1, 1, 3, 4, 5]
    assert pd.read_parquet(stored / "index.parquet").dtypes.equals(table.dtypes)
    check_rows(faces, np.arange(6))
    assert mend_set(str(stored)).empty
    # The stand-in of another one is lost too.
    damage_image(stored, 4)
    mend_set(str(stored))
    damage_image(stored, 5)
    assert mend_set(str(stored))["row"].tolist() == [4, 5]
    stand_ins = read_mended(stored)
    assert stand_ins[["row", "stands_in"]].to_numpy().tolist() == [[0, 1], [2, 1], [4, 3], [5, 3]]
    assert stand_ins["offset"].tolist() == table["offset"][[0, 2, 4, 5]].tolist()


def test_nobody_to_stand_in(tmp_path):
    # Of each person two images, one of group 0 and one of group 1.
    store(samples(4, images_per_identity=2), tmp_path / "faces")
    damage_image(tmp_path / "faces", 3)
    before = (tmp_path / "faces/index.parquet").read_bytes()
    with pytest.raises(InputError, match=r"row 3 cannot be read, and identity .* has no other image of group 1: put a"):
        mend_set(str(tmp_path / "faces"))
    assert (tmp_path / "faces/index.parquet").read_bytes() == before


def test_a_damaged_table_of_what_was_mended_is_one_line(tmp_path):
    file, head = tmp_path / "mended.csv", "row,shard,offset,length,stands_in,reason\n"
    for content in (b"", b"row\n1\n", head.encode() + b"x,0,0,0,0,y\n", b"\xff\xfe\x00"):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"mended\.csv: not what `prepare mend` wrote"):
            read_mended(tmp_path)
    file.write_text(head + "5,0,0,0,0,y\n")
    with pytest.raises(InputError, match="names rows that the set does not have"):
        own_places(tmp_path, pd.DataFrame({"shard": [0], "offset": [12], "length": [3]}))
