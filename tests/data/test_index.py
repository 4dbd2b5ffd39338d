import numpy as np
import pandas as pd
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.data.layout import read_table
from ddl_tf.data.writer import assemble_index


def part(images, shard, **columns):
    rng = np.random.default_rng(shard)
    place = {"shard": shard, "offset": 100 * np.arange(images), "length": rng.integers(1, 99, images)}
    owner = 3 * shard + np.sort(rng.integers(0, 3, images))
    return pd.DataFrame(
        {**place, "identity": owner, "group": rng.integers(-1, 2, images), "identity_key": owner.astype(str), **columns}
    )


def write(folder, tables):
    files = [folder / f"{number}.parquet" for number in range(len(tables))]
    for file, table in zip(files, tables):
        table.to_parquet(file, index=False)
    return files


def assert_same_cells(*tables):
    """Whether a missing text is None or NaN differs between versions of pandas."""
    first, second = (table.astype(object).where(table.notna(), None) for table in tables)
    pd.testing.assert_frame_equal(first, second, check_column_type=False)


def test_parts_are_put_together_as_pandas_would(tmp_path):
    none = np.full(30, None, object)
    tables = [
        part(20, 0, yaw=np.arange(20), by="a", late=None),
        part(30, 1, yaw=np.linspace(0, 1, 30), by=none, late=none),
        part(10, 2, yaw=np.nan, by="b", late="x"),
    ]
    groups, identities = assemble_index(write(tmp_path, tables), tmp_path / "index.parquet")
    whole = pd.concat(tables, ignore_index=True)
    assert_same_cells(read_table(tmp_path / "index.parquet"), whole)
    assert list(groups.items()) == sorted(whole["group"].value_counts().items())
    assert identities == whole["identity"].max() + 1
    assert read_table(tmp_path / "index.parquet")["yaw"].dtype == np.float64


@pytest.mark.parametrize("parts", [1, 2])
def test_what_is_read_is_what_pandas_reads(tmp_path, parts):
    assemble_index(write(tmp_path, [part(20, n, by="ab"[n]) for n in range(parts)]), tmp_path / "index.parquet")
    table = read_table(tmp_path / "index.parquet")
    pd.testing.assert_frame_equal(table, pd.read_parquet(tmp_path / "index.parquet"))
    # Nor is it memory of Arrow's, which cannot be written to.
    table.loc[3, ["group", "by"]] = [5, "c"]
    assert (table["group"][3], table["by"][3]) == (5, "c")


def test_text_in_one_part_and_numbers_in_another_are_refused(tmp_path):
    files = write(tmp_path, [part(3, 0, light=1), part(3, 1, light="day")])
    with pytest.raises(InputError, match=r"the column 'light' is of the types int64, .*string"):
        assemble_index(files, tmp_path / "index.parquet")


@pytest.mark.parametrize("text", [b"photo", b"person"])
def test_names_and_texts_that_are_no_utf8_are_refused(tmp_path, text):
    file = tmp_path / "index.parquet"
    pd.DataFrame({"photo": ["person"]}).to_parquet(file)
    file.write_bytes(file.read_bytes().replace(text, text[:2] + b"\xe9" + text[3:]))
    with pytest.raises(InputError, match=r"index.parquet: cannot be read .*; prepare the set again"):
        read_table(file)
