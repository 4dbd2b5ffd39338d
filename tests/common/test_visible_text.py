"""Names that hide something."""

import pytest

from ddl_tf.common.visible_text import csv_cell, is_unicode, visible, visible_if_needed


@pytest.mark.parametrize(
    "name, shown",
    [
        ("Ünal, José 李\u200d👩\u200d🔬", "Ünal, José 李\u200d👩\u200d🔬"),
        ("a\rb\nc\0d\te\x1b[2J\x7f\x85", r"a\rb\nc\x00d\te\x1b[2J\x7f\x85"),
        ("\u202eanna\u2066\u200f\u061c\u2028", r"\u202eanna\u2066\u200f\u061c\u2028"),
        ("jos\udce9\ud800", r"jos\xe9\ud800"),
    ],
)
def test_what_cannot_be_seen_is_escaped(name, shown):
    assert visible(name) == shown


@pytest.mark.parametrize("name, cell", [("=1+1", "'=1+1"), ("+a", "'+a"), ("-a", "'-a"), ("@a", "'@a"), ("a=1", "a=1")])
def test_no_cell_is_a_formula(name, cell):
    assert csv_cell(name) == cell
    assert csv_cell("\t" + name) == "\\t" + name


def test_bytes_that_are_no_utf8_are_no_text():
    assert is_unicode("李\0")
    assert not is_unicode("jos\udce9")


def test_only_what_a_file_cannot_hold_is_escaped_where_needed():
    assert visible_if_needed("a\nb") == "a\nb"
    assert visible_if_needed("jos\udce9\n") == r"jos\xe9\n"
