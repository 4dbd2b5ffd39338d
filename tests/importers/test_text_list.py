import pytest
from tiny_sets import pipe

from ddl_tf.common.errors import InputError
from ddl_tf.importers.lfw_line import parse_lfw_line
from ddl_tf.importers.text_list import read_text_list, whole_number

LINES = ["Ann 1 2", "René 1 Bob 2"]


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_lines_of_utf_8_with_and_without_its_mark(tmp_path, encoding, end):
    for last in ("", end):
        assert read_text_list(write(tmp_path / "list", (end.join(LINES) + last).encode(encoding))) == LINES


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_line_that_is_not_utf_8_is_named_and_shown(tmp_path, mark):
    path = write(tmp_path / "list", mark + b"1\r\nAnn 1 2\r\nRen\xe9 1 Bob 2\r\nCy 1 2\r\n")
    with pytest.raises(InputError, match=r"list, line 3: 'Ren\\xe9 1 Bob 2' is not UTF-8; save the list as UTF-8"):
        read_text_list(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_named(tmp_path, encoding):
    path = write(tmp_path / "list", "\n".join(LINES).encode(encoding))
    with pytest.raises(InputError, match=r"list, line 1: .* is UTF-16, or no text; save the list as UTF-8") as error:
        read_text_list(path)
    assert str(error.value).isprintable()
    # A long line is cut in the message.
    path = write(tmp_path / "list", b"\xff" * 100_000)
    with pytest.raises(InputError, match="line 1: ") as error:
        read_text_list(path)
    assert len(str(error.value)) < 500


def test_a_pipe_is_not_waited_for(tmp_path):
    for path in (pipe(tmp_path / "list"), "/dev/zero"):
        with pytest.raises(OSError, match="a pipe, device or socket; give a regular file"):
            read_text_list(path)


def test_a_number_is_plain_digits():
    assert [whole_number(text) for text in ("0", "7", "0007", "9" * 18)] == [0, 7, 7, 10**18 - 1]
    for text in ("", "-1", "+1", "1.0", "1_0", " 1", "²", "٣", "9" * 19, "9" * 5000, "x"):
        assert whole_number(text) is None, text


def test_a_line_of_lfw():
    assert parse_lfw_line("Ann_A\t1 3 \r") == ("Ann_A", 1, "Ann_A", 3, True)
    assert parse_lfw_line("Ann 1 Bob 0002") == ("Ann", 1, "Bob", 2, False)
    for line in ("", "Ann", "Ann 1", "Ann 1 Bob 2 3", "../x 1 2", "Ann ² 1", f"Ann 1 {'9' * 5000}"):
        assert parse_lfw_line(line) is None, line
