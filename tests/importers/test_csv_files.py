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


@pytest.fixture
def file(tmp_path):
    (tmp_path / "faces.csv").write_text(LINES, encoding="utf-8")
    return tmp_path / "faces.csv"


def test_it_does_not_matter_where_a_chunk_ends(file):
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


def test_no_lines_and_no_groups(tmp_path):
    (tmp_path / "faces.csv").write_text("path\n")
    assert len(read_csv(tmp_path / "faces.csv", ["path"]).cells) == 0
    (tmp_path / "faces.csv").write_text("path\na\nb\n")
    assert take_groups(tmp_path, read_csv(tmp_path / "faces.csv", ["path"])).tolist() == [-1, -1]


@pytest.mark.parametrize("cells", [[str(2**63), "1"], [str(-(2**63) - 1)], ["1" + "0" * 400], [str(2**53 + 1), ""]])
def test_whole_numbers_that_would_not_come_back_stay_text(tmp_path, cells):
    (tmp_path / "faces.csv").write_text("path,id\n" + "".join(f"a,{cell}\n" for cell in cells))
    assert read_csv(tmp_path / "faces.csv", ["path"]).cells["id"].tolist() == cells
    # The largest that come back are numbers.
    (tmp_path / "faces.csv").write_text(f"path,id,value\na,{2**63 - 1},1e30\nb,{-(2**63)},\n")
    table = read_csv(tmp_path / "faces.csv", ["path"])
    assert table.cells["id"].tolist() == [2**63 - 1, -(2**63)]
    assert table.cells["value"].tolist()[0] == 1e30


@pytest.mark.parametrize("group", ["easy", "1.5", "-2", "inf", "", "1e30", str(10**18), "9" * 20])
def test_the_line_of_a_bad_group_is_named_among_good_ones(tmp_path, group):
    (tmp_path / "faces.csv").write_text(f"path,group\na,0\nb,{group}\nc,1\n")
    with pytest.raises(InputError, match=rf"faces.csv, line 3: group '?({re.escape(group)}|nan|1e\+30)(\.0)?'?: use 0"):
        take_groups(tmp_path / "faces.csv", read_csv(tmp_path / "faces.csv", ["path"]))


def test_the_memory_of_a_row_is_small(tmp_path):
    """A list of its cells, as Python text, takes more than 250 bytes."""
    rows = 20_000
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"index": np.arange(rows), "group": rng.integers(0, 2, rows), "quality": rng.random(rows)})
    table.to_csv(tmp_path / "faces.csv", index=False)
    with assert_memory(peak=60 * rows):
        read = read_csv(tmp_path / "faces.csv", ["index"])
    np.testing.assert_allclose(read.cells["quality"], table["quality"], rtol=1e-12)
