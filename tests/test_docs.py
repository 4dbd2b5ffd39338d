"""The documentation says what the commands are: no flag that does not exist, no link that leads nowhere."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("README.md"), *(ROOT / "recipes").glob("*.cfg")])
# Flags of other programs, in lines that name the program.
OTHERS = re.compile(r"\b(saved_model_cli|docker|tensorboard --logdir|pip install|pytest|git)\b")
# absl's own, and one of TensorFlow Serving that a help text tells of.
FOREIGN = {"flagfile", "help", "helpfull", "enable_batching"}


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_flag_exists_and_the_page_of_flags_is_current():
    make_flags = load(ROOT / "docs" / "make_flags.py")
    flags = set(FOREIGN)
    modules = [load(path) for path in (ROOT / "benchmarks").glob("*.py")]
    benchmarks = [module.Settings for module in modules if hasattr(module, "Settings")]
    for settings in [*make_flags.SETTINGS.values(), *benchmarks]:
        for field in dataclasses.fields(settings):
            flags |= {field.name, f"no{field.name}"} if isinstance(field.default, bool) else {field.name}
    for page in PAGES:
        # Without the lines of other programs, and their continuations.
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        lines = [line for line in text.splitlines() if not OTHERS.search(line)]
        assert set(re.findall(r"(?<![\w-])--(?:\[no\])?([a-z]\w*)", "\n".join(lines))) <= flags, page
    page = make_flags.PAGE.read_text(encoding="utf-8")
    assert page == make_flags.flags_page(), "run `python docs/make_flags.py`"


def without_code(page):
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(page):
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", without_code(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_exists(page):
    for link, section in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", without_code(page)):
        assert (page.parent / link).exists(), link
        assert not section or section in anchors(page.parent / link if link else page), section


def test_the_tests_that_ci_names_are_there():
    names = re.findall(r"tests/[\w/]+\.py(?:::\w+)?", (ROOT / ".ci/run").read_text())
    assert names
    for name in names:
        file, _, test = name.partition("::")
        assert f"def {test}" in (ROOT / file).read_text()
