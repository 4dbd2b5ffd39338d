import pandas as pd

from ddl_tf.common.markdown import markdown_table


def test_numbers_have_three_digits_and_no_text_begins_a_cell():
    table = pd.DataFrame([["a|b", 0.5, 3], ["c", 0.12345, 4]], columns=["arm", "easy | margin", "pairs"])
    assert markdown_table(table).splitlines() == [
        r"| arm | easy \| margin | pairs |",
        "| --- | --- | --- |",
        r"| a\|b | 0.500 | 3 |",
        "| c | 0.123 | 4 |",
    ]
    assert markdown_table(pd.DataFrame(columns=["set"])) == "| set |\n| --- |"


def test_a_name_stays_in_its_cell_whatever_it_holds():
    names = ["two\nlines", "back\\|bar", "left\u202eright", "next\x85line", "half\ud800", "\u2028", "a\r\n| b | c |"]
    lines = markdown_table(pd.DataFrame([[name, 1] for name in names], columns=["name", "pairs"], dtype=object)).split(
        "\n"
    )
    assert lines[2:] == [
        r"| two\nlines | 1 |",
        r"| back\\\|bar | 1 |",
        r"| left\u202eright | 1 |",
        r"| next\x85line | 1 |",
        r"| half\ud800 | 1 |",
        r"| \u2028 | 1 |",
        r"| a\r\n\| b \| c \| | 1 |",
    ]
    assert all(len(line.splitlines()) == 1 for line in lines)


def test_what_is_missing_is_a_dash():
    table = pd.DataFrame({"set": ["a", "b"], "TAR@1e-2": [None, 0.5], "val": [None, None], "far": [float("nan"), 1.0]})
    table["note"] = pd.Series(["None", None], dtype=object)
    assert markdown_table(table).splitlines()[2:] == [
        "| a | \N{EN DASH} | \N{EN DASH} | \N{EN DASH} | None |",
        "| b | 0.500 | \N{EN DASH} | 1.000 | \N{EN DASH} |",
    ]
