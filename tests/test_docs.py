"""The documentation says what the commands are: no flag that does not exist, no link that leads nowhere."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("README.md"), *(ROOT / "recipes").glob("*.cfg")])
MARKDOWN = [page for page in PAGES if page.suffix == ".md"]
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


def page_name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_flag_exists(page, known):
    assert flags_in(page.read_text(encoding="utf-8")) - known == set()


def test_the_page_of_flags_is_current(make_flags):
    page = make_flags.PAGE.read_text(encoding="utf-8")
    assert page == make_flags.flags_page(), "run `python docs/make_flags.py`"


def test_every_flag_of_every_command_is_on_the_page(make_flags):
    sections = dict(
        re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", make_flags.flags_page(), flags=re.MULTILINE | re.DOTALL)
    )
    assert list(sections) == list(make_flags.SETTINGS)
    for command, settings in make_flags.SETTINGS.items():
        assert {field.name for field in dataclasses.fields(settings)} <= flags_in(sections[command]), command


def without_code(page):
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_files_that_a_page_links_to_exist(page):
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", without_code(page))
    assert [link for link in links if not (page.parent / link).exists()] == []


def anchors(page):
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", without_code(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", MARKDOWN, ids=page_name)
def test_sections_that_a_page_links_to_exist(page):
    links = re.findall(r"\]\(([^)#:\s]*)#([^)]*)\)", without_code(page))
    assert [link for link in links if link[1] not in anchors(page.parent / link[0] if link[0] else page)] == []


def test_the_tests_that_ci_names_are_there():
    names = re.findall(r"tests/[\w/]+\.py(?:::\w+)?", (ROOT / ".ci/run").read_text())
    assert names
    for name in names:
        file, _, test = name.partition("::")
        assert f"def {test}" in (ROOT / file).read_text()
