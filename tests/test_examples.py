"""The examples in the docstrings run, and print what they say."""

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from needs import HAS_TENSORFLOW_ADDONS

ROOT = Path(__file__).resolve().parents[1]
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(ROOT.glob("ddl_tf/**/*.py"))]
# Those for Keras on another backend run in the tests of these modules; one needs TensorFlow Addons.
LEFT_OUT = re.compile(r"\.ops_\w+$" if HAS_TENSORFLOW_ADDONS else r"\.ops_\w+$|\.triplet$")
WITH_EXAMPLES = [
    name
    for name in MODULES
    if ">>> " in (ROOT / f"{name.replace('.', '/')}.py").read_text() and not LEFT_OUT.search(name)
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name.removesuffix(".__init__"))
    known = {"np": np, "tf": tf, **vars(module)}
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    finder, runner = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner(optionflags=options)
    for example in finder.find(module, globs=known):
        runner.run(example)
    assert runner.failures == 0
