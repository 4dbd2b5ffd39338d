import numpy as np
import pytest
from tiny_sets import pipe

from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.protocols.number_table import read_number_table

PAIR = {"first": "int", "second": "int"}


@pytest.fixture
def read(tmp_path):
    def run(text, kinds, **options):
        problem_list = ProblemList("table")
        (tmp_path / "table.txt").write_text(text)
        table = read_number_table(tmp_path / "table.txt", kinds, problem_list, **options)
        return table, [str(problem).split("table.txt, ")[1] for problem in problem_list.problems]

    return run


@pytest.mark.parametrize(
    "text", ["1 2\n30 4\n", "1 2\r\n30 4\r\n", "1\t2\n30  4\n", "1 2 \n\n30 4", "\ufeff1\t2\n30\t4"]
)
def test_numbers(read, text):
    table, problems = read(text, PAIR)
    assert problems == []
    assert table["first"].dtype == np.int32
    assert [column.tolist() for column in table.values()] == [[1, 30], [2, 4]]


def test_text_and_floats(read):
    kinds = {"image": "str", "score": "float"}
    table, problems = read('a"1.jpg 1.5\nb.jpg 2\n', kinds)
    assert problems == []
    assert table["image"].tolist() == ['a"1.jpg', "b.jpg"]
    assert table["score"].dtype == np.float32
    assert table["score"].tolist() == [1.5, 2.0]
    table, problems = read("a nan\nb 1\nc inf\n", kinds)
    assert table is None
    assert [problem.split(":")[0] for problem in problems] == ["line 1", "line 3"]
    table, problems = read("", kinds)
    assert (problems, len(table["image"])) == ([], 0)


def test_further_columns_below_a_header(read):
    for mark in ("", "\ufeff"):
        table, problems = read(f'{mark}A,B,C\n1,2,x\n3,4,"y,z"\n', PAIR, separator=",", header=True)
        assert problems == []
        assert table["second"].tolist() == [2, 4]
    table, _ = read("A,B,C\n", PAIR, separator=",", header=True)
    assert len(table["first"]) == 0
    _, problems = read("A,B\n1,2,x\n3\n", PAIR, separator=",", header=True)
    assert problems == ["line 3: malformed line: '3' is not `first,second`"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("1 2\n3\n", ["line 2: malformed line: '3' is not `first second`"]),
        ("1 2 3\n4 5\n", ["line 1: malformed line: '1 2 3' is not `first second`"]),
        ("1 2\n\nx 4\n5 1.5\n", ["line 3: malformed line: 'x 4'", "line 4: malformed line: '5 1.5'"]),
        ("1 99999999999\n", ["line 1: malformed line: '1 99999999999'"]),
        ('1 2\n"3 4\n', ["line 2: malformed line: '\"3 4'"]),
        *((f"1 2\n{number} 4\n", ["line 2: malformed line"]) for number in ("1_0", "\u0663", "\u00b2", "9" * 5000)),
    ],
)
def test_malformed_lines(read, text, lines):
    table, problems = read(text, PAIR)
    assert table is None
    assert len(problems) == len(lines)
    assert all(problem.startswith(line) for problem, line in zip(problems, lines))


def test_another_kind_of_file(read):
    _, problems = read("<p>\n" * 3000, PAIR)
    assert len(problems) == 1001
    assert problems[-1] == "line 1001: malformed line: and the lines after it are not listed"


def test_a_line_that_is_not_utf_8_is_named_and_a_pipe_not_waited_for(tmp_path):
    path, problem_list = tmp_path / "table.txt", ProblemList("table")
    path.write_bytes(b"Ann.jpg 1\nRen\xe9.jpg 2\n")
    assert read_number_table(path, {"image": "str", "template": "int"}, problem_list) is None
    (problem,) = problem_list.problems
    assert problem.source == f"{path}, line 2"
    assert "Ren" in problem.reason
    with pytest.raises(OSError, match="a pipe, device or socket; give a regular file"):
        read_number_table(pipe(path), PAIR, problem_list)
