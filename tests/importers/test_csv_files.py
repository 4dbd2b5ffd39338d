import csv
import re

import numpy as np
import pandas as pd
import pytest
from tiny_sets import assert_memory

from ddl_tf.common.errors import InputError
from ddl_tf.importers.csv_files import read_csv, rows_of, take_groups

LINES = """path,group,yaw,light,code,empty
a.jpg,0,1,day,1,
"b
b.jpg",1,,night,2,

c.jpg,-1,3,7,3,
"d,d.jpg",0,0.5,day,4,
é.jpg,1,-2e1,,5,
"""


def test_rows_are_those_of_a_naive_reader(tmp_path):
    file = tmp_path / "faces.csv"
    file.write_text(LINES, encoding="utf-8")
    table = read_csv(file, ["path"])
    with file.open(newline="", encoding="utf-8") as content:
        naive = list(csv.DictReader(content))
    row = rows_of(table)
    for number, cells in enumerate(naive):
        numbers = {name: float(cells[name] or "nan") for name in ("group", "yaw", "code", "empty")}
        np.testing.assert_equal(row(number), {**cells, **numbers})
    assert [type(row(0)[name]) for name in ("path", "group", "yaw", "light")] == [str, int, float, str]
    assert table.lines.tolist() == [2, 4, 6, 7, 8]
    assert take_groups(file, table).tolist() == [0, 1, -1, 0, 1]
    assert "group" not in table.cells


def test_whole_numbers_that_would_not_come_back_stay_text(tmp_path):
    file = tmp_path / "faces.csv"
    for cells in ([str(2**63), "1"], [str(-(2**63) - 1)], ["1" + "0" * 400], [str(2**53 + 1), ""]):
        file.write_text("path,id\n" + "".join(f"a,{cell}\n" for cell in cells))
        assert read_csv(file, ["path"]).cells["id"].tolist() == cells
    # The largest that come back are numbers.
    file.write_text(f"path,id,value\na,{2**63 - 1},1e30\nb,{-(2**63)},\n")
    table = read_csv(file, ["path"])
    assert table.cells["id"].tolist() == [2**63 - 1, -(2**63)]
    assert table.cells["value"].tolist()[0] == 1e30


def test_groups(tmp_path):
    file = tmp_path / "faces.csv"
    for group in ("easy", "1.5", "-2", "inf", "", "1e30", "9" * 20):
        file.write_text(f"path,group\na,0\nb,{group}\nc,1\n")
        message = rf"faces.csv, line 3: group '?({re.escape(group)}|nan|1e\+30)(\.0)?'?: use 0"
        with pytest.raises(InputError, match=message):
            take_groups(file, read_csv(file, ["path"]))
    for lines, groups in (("path\n", []), ("path\na\nb\n", [-1, -1])):
        file.write_text(lines)
        assert take_groups(file, read_csv(file, ["path"])).tolist() == groups


def test_the_memory_of_a_row_is_small(tmp_path):
    """A list of its cells, as Python text, takes more than 250 bytes."""
    rows = 20_000
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"index": np.arange(rows), "group": rng.integers(0, 2, rows), "quality": rng.random(rows)})
    table.to_csv(tmp_path / "faces.csv", index=False)
    with assert_memory(peak=60 * rows):
        read = read_csv(tmp_path / "faces.csv", ["index"])
    np.testing.assert_allclose(read.cells["quality"], table["quality"], rtol=1e-12)
