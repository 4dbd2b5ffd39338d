"""Which Keras TensorFlow takes, and that both files of requirements agree on the second lane."""

import configparser
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import tensorflow as tf
from needs import SECOND_LANE, needs_keras_3
from packaging.requirements import Requirement

from ddl_tf.common import versions

ROOT = Path(__file__).resolve().parents[2]


def test_requirements_of_the_second_lane_are_those_of_python_3_13():
    setup = configparser.ConfigParser(comment_prefixes="#")
    setup.read(ROOT / "setup.cfg")
    required, pinned = (
        [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
        for text in (setup["options"]["install_requires"], (ROOT / "requirements" / "current.txt").read_text())
    )
    required = [item for item in required if item.marker is None or item.marker.evaluate({"python_version": "3.13"})]
    assert [(item.name, item.specifier) for item in required] == [(item.name, item.specifier) for item in pinned]


def test_importing_the_package_first_is_enough():
    # As tests/conftest.py did.
    assert tf.keras.Model.__module__ == f"{'tf_keras' if SECOND_LANE else 'keras'}.src.engine.training"


@needs_keras_3
@pytest.mark.parametrize(
    "code, variables, message",
    [
        ("import tensorflow, ddl_tf.common.errors", {}, "TensorFlow was imported with Keras 3: set TF_USE"),
        ("import ddl_tf.common.errors", {"TF_USE_LEGACY_KERAS": "0"}, "TF_USE_LEGACY_KERAS=0 asks for Keras 3: set "),
        ("import tensorflow, ddl_tf.common.errors", {"TF_USE_LEGACY_KERAS": "1"}, None),
    ],
)
def test_keras_3_is_refused_in_one_line(code, variables, message):
    environment = {key: value for key, value in os.environ.items() if key != versions.VARIABLE}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert bool(done.returncode) == bool(message), done.stderr
    if message:
        assert "ImportError: ddl_tf needs Keras 2" in done.stderr.splitlines()[-1]
        assert message in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "keras, value, tf_keras, message, value_after",
    [
        ("2.15.0", None, False, None, None),
        (None, None, False, None, None),
        ("3.15.1", None, True, None, "1"),
        ("3.15.1", "true", True, None, "true"),
        ("3.15.1", "false", True, "TF_USE_LEGACY_KERAS=false asks for Keras 3", "false"),
        ("3.15.1", None, False, "pip install tf_keras", "1"),
    ],
)
def test_what_is_installed_decides(monkeypatch, keras, value, tf_keras, message, value_after):
    installed = Mock(return_value=keras, side_effect=None if keras else versions.PackageNotFoundError)
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(versions, "version", installed)
    monkeypatch.setattr(versions, "find_spec", lambda name: name if tf_keras else None)
    # It is put back whatever the function does.
    monkeypatch.setenv(versions.VARIABLE, value or "")
    if value is None:
        monkeypatch.delenv(versions.VARIABLE)
    with pytest.raises(ImportError, match=message) if message else contextlib.nullcontext():
        versions.use_keras_2()
    assert os.environ.get(versions.VARIABLE) == value_after
