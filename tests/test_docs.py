"""The documentation says what the commands are: no flag that does not exist, no table that is out of date."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("README.md"), *(ROOT / "recipes").glob("*.cfg")])
# Flags of other programs, in lines that name the program.
OTHERS = re.compile(r"\b(saved_model_cli|docker|tensorboard --logdir|pip install|pytest|git)\b")
# absl's own, and one of TensorFlow Serving that a help text tells of.
FOREIGN = {"flagfile", "help", "helpfull", "enable_batching"}


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_flags():
    return load(ROOT / "docs" / "make_flags.py")


@pytest.fixture(scope="module")
def known(make_flags):
    """Every flag of every command and benchmark; a bool is also named with `no` before it."""
    flags = set(FOREIGN)
    benchmarks = [load(path).Settings for path in (ROOT / "benchmarks").glob("*.py")]
    for settings in [*make_flags.SETTINGS.values(), *benchmarks]:
        for field in dataclasses.fields(settings):
            flags |= {field.name, f"no{field.name}"} if isinstance(field.default, bool) else {field.name}
    return flags


def flags_in(text):
    """The flags of a text, with the lines of other programs (and their continuations) left out."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not OTHERS.search(line)]
    return set(re.findall(r"(?<![\w-])--(?:\[no\])?([a-z]\w*)", "\n".join(lines)))


def test_flags_in():
    text = "`--[no]flip`, --seed=0 \\\n--bin=x; a--b\nthe pipeline --c\npip install --quiet x \\\n  --upgrade\n| --- |"
    assert flags_in(text) == {"flip", "seed", "bin", "c"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_flag_exists(page, known):
    assert flags_in(page.read_text(encoding="utf-8")) - known == set()


@pytest.mark.parametrize("page", [p for p in PAGES if p.suffix == ".md"], ids=lambda path: path.name)
def test_tables_are_current(page, make_flags):
    text = page.read_text(encoding="utf-8")
    assert make_flags.with_flags(text) == text, "run `python docs/make_flags.py`"


def test_every_training_flag_is_documented(make_flags):
    training = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    missing = {f.name for f in dataclasses.fields(make_flags.SETTINGS["train"])} - flags_in(training)
    assert missing == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_that_a_page_links_to_exist(page):
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", prose)
    assert [link for link in links if not (page.parent / link).exists()] == []
