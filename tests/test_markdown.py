import pandas as pd

from ddl_tf.markdown import markdown_table


def test_numbers_have_three_digits_and_no_text_begins_a_cell():
    table = pd.DataFrame([["a|b", 0.5, 3], ["c", 0.12345, 4]], columns=["arm", "easy | margin", "pairs"])
    assert markdown_table(table).splitlines() == [
        "| arm | easy / margin | pairs |",
        "| --- | --- | --- |",
        "| a/b | 0.500 | 3 |",
        "| c | 0.123 | 4 |",
    ]


def test_a_table_without_rows():
    assert markdown_table(pd.DataFrame(columns=["set"])) == "| set |\n| --- |"
