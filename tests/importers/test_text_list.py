import itertools

import pytest
from tiny_sets import pipe

from ddl_tf.common.errors import InputError
from ddl_tf.importers.text_list import read_text_list, whole_number

LINES = ["Ann 1 2", "René 1 Bob 2"]


@pytest.fixture
def listed(tmp_path):
    """Bytes -> the lines of a list of them."""
    return lambda content: (tmp_path / "list").write_bytes(content) and read_text_list(tmp_path / "list")


def test_lines_of_utf_8_with_and_without_its_mark(listed):
    for end, encoding in itertools.product(("\n", "\r\n", "\r"), ("utf-8", "utf-8-sig")):
        for last in ("", end):
            assert listed((end.join(LINES) + last).encode(encoding)) == LINES


def test_the_line_that_is_not_utf_8_is_named_and_shown(listed):
    for mark in (b"", b"\xef\xbb\xbf"):
        with pytest.raises(InputError, match=r"list, line 3: 'Ren\\xe9 1 Bob 2' is not UTF-8; save the list as UTF-8"):
            listed(mark + b"1\r\nAnn 1 2\r\nRen\xe9 1 Bob 2\r\nCy 1 2\r\n")
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        with pytest.raises(InputError, match=r"line 1: .* is UTF-16, or no text; save the list as UTF-8") as error:
            listed("\n".join(LINES).encode(encoding))
        assert str(error.value).isprintable()
    # A long line is cut in the message.
    with pytest.raises(InputError, match="line 1: ") as error:
        listed(b"\xff" * 100_000)
    assert len(str(error.value)) < 500


def test_a_pipe_is_not_waited_for(tmp_path):
    for path in (pipe(tmp_path / "list"), "/dev/zero"):
        with pytest.raises(OSError, match="a pipe, device or socket; give a regular file"):
            read_text_list(path)


def test_a_number_is_plain_digits():
    assert [whole_number(text) for text in ("0", "7", "0007", "9" * 18)] == [0, 7, 7, 10**18 - 1]
    for text in ("", "-1", "+1", "1.0", "1_0", " 1", "²", "٣", "9" * 19, "9" * 5000, "x"):
        assert whole_number(text) is None, text
