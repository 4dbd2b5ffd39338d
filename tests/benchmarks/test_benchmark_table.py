"""benchmarks/README.md has a row for every script: what it measures, on what, how, where the numbers are, its limit."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
# What others import: no command.
PARTS = {"generated_ijb"}
ROWS = {
    name: cells
    for name, *cells in (
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    )
}


def test_every_script_has_a_row_and_every_row_a_script():
    scripts = {path.stem for path in FOLDER.glob("*.py")} - PARTS
    assert {name.strip("`").removesuffix(".py") for name in ROWS} == scripts


@pytest.mark.parametrize("name", ROWS)
def test_a_row_says_all(name):
    measured, on, command, numbers, limit = ROWS[name]
    assert measured
    assert on
    assert limit
    assert command.startswith(f"`python benchmarks/{name.strip('`')}")
    links = re.findall(r"\]\((\.\./docs/[^)#]+)(?:#([^)]*))?\)", numbers)
    assert links
    for path, anchor in links:
        text = (FOLDER / path).read_text(encoding="utf-8")
        headings = [re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in text.splitlines()]
        assert not anchor or anchor in headings
