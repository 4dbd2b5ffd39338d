import os

import numpy as np
import pytest

from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.protocols.number_table import read_number_table

PAIR = {"first": "int", "second": "int"}


@pytest.fixture
def read(tmp_path):
    def run(text, kinds, **options):
        found = ProblemList("table")
        (tmp_path / "table.txt").write_text(text)
        table = read_number_table(tmp_path / "table.txt", kinds, found, **options)
        return table, [str(problem).split("table.txt, ")[1] for problem in found.problems]

    return run


@pytest.mark.parametrize("text", ["1 2\n30 4\n", "1 2\r\n30 4\r\n", "1\t2\n30  4\n", "1 2 \n\n30 4"])
def test_numbers(read, text):
    table, problems = read(text, PAIR)
    assert problems == []
    assert table["first"].dtype == np.int32
    assert table["first"].tolist() == [1, 30]
    assert table["second"].tolist() == [2, 4]


def test_text_and_floats(read):
    table, problems = read('a"1.jpg 1.5\nb.jpg 2\n', {"image": "str", "score": "float"})
    assert problems == []
    assert table["image"].tolist() == ['a"1.jpg', "b.jpg"]
    assert table["score"].dtype == np.float32
    assert table["score"].tolist() == [1.5, 2.0]


def test_further_columns_below_a_header(read):
    table, problems = read('A,B,C\n1,2,x\n3,4,"y,z"\n', PAIR, separator=",", header=True)
    assert problems == []
    assert table["second"].tolist() == [2, 4]
    table, _ = read("A,B,C\n", PAIR, separator=",", header=True)
    assert len(table["first"]) == 0


def test_an_empty_file(read):
    table, problems = read("", PAIR)
    assert problems == []
    assert len(table["first"]) == 0


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("1 2\n3\n", ["line 2: malformed line: '3' is not `first second`"]),
        ("1 2 3\n4 5\n", ["line 1: malformed line: '1 2 3' is not `first second`"]),
        ("1 2\n\nx 4\n5 1.5\n", ["line 3: malformed line: 'x 4'", "line 4: malformed line: '5 1.5'"]),
        ("1 99999999999\n", ["line 1: malformed line: '1 99999999999'"]),
        ('1 2\n"3 4\n', ["line 2: malformed line: '\"3 4'"]),
    ],
)
def test_malformed_lines(read, text, lines):
    table, problems = read(text, PAIR)
    assert table is None
    assert len(problems) == len(lines)
    assert all(problem.startswith(line) for problem, line in zip(problems, lines))


def test_numbers_that_are_not_finite(read):
    table, problems = read("a nan\nb 1\nc inf\n", {"image": "str", "score": "float"})
    assert table is None
    assert [problem.split(":")[0] for problem in problems] == ["line 1", "line 3"]


def test_too_few_columns_below_a_header(read):
    table, problems = read("A,B\n1,2,x\n3\n", PAIR, separator=",", header=True)
    assert table is None
    assert problems == ["line 3: malformed line: '3' is not `first,second`"]


def test_another_kind_of_file(read):
    _, problems = read("<p>\n" * 3000, PAIR)
    assert len(problems) == 1001
    assert problems[-1] == "line 1001: malformed line: and the lines after it are not listed"


@pytest.mark.parametrize("header", [False, True])
def test_the_mark_of_utf_8_is_read_past(tmp_path, header):
    # With the mark and without tabs, and with tabs, which another reader takes.
    for separator, text in ((",", "1,2\n3,4\n"), (" ", "1\t2\n3\t4\n")):
        path, found = tmp_path / "table.txt", ProblemList("table")
        path.write_text(("a,b\n" if header else "") + text, encoding="utf-8-sig")
        table = read_number_table(path, PAIR, found, separator=separator, header=header)
        assert found.problems == []
        assert table["first"].tolist() == [1, 3]


def test_a_line_that_is_not_utf_8_is_named(tmp_path):
    path, found = tmp_path / "table.txt", ProblemList("table")
    path.write_bytes(b"Ann.jpg 1\nRen\xe9.jpg 2\n")
    assert read_number_table(path, {"image": "str", "template": "int"}, found) is None
    (problem,) = found.problems
    assert problem.source == f"{path}, line 2"
    assert "Ren" in problem.reason


@pytest.mark.parametrize("number", ["1_0", "\u0663", "\u00b2", "9" * 5000])
def test_a_number_is_plain_digits(read, number):
    table, problems = read(f"1 2\n{number} 4\n", PAIR)
    assert table is None
    assert [problem[:22] for problem in problems] == ["line 2: malformed line"]


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "table.txt")
    with pytest.raises(OSError, match="a pipe, device or socket; give a regular file"):
        read_number_table(tmp_path / "table.txt", PAIR, ProblemList("table"))
