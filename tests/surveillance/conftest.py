"""Larger miniatures of both sets, and the embeddings that the public scripts got."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from ddl_tf.protocols import matlab_child, matlab_file

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(autouse=True)
def _matlab_in_process(monkeypatch):
    """Read MATLAB files without a process for each: tests/protocols/test_matlab_file.py has the processes."""
    monkeypatch.setattr(
        matlab_file,
        "_read_apart",
        lambda content, names: json.loads(json.dumps(matlab_child.read(content, list(names)))),
    )


@pytest.fixture(scope="session")
def surveillance_maker():
    return runpy.run_path(str(GOLDEN / "make_surveillance_golden.py"))


@pytest.fixture(scope="session")
def surveillance_golden():
    return json.loads((GOLDEN / "surveillance_golden.json").read_text())


@pytest.fixture(scope="session")
def surveillance_sets(surveillance_maker, tmp_path_factory):
    """The folder with `IJBS` and `QMUL-SurvFace`."""
    folder = tmp_path_factory.mktemp("surveillance")
    surveillance_maker["write_sets"](folder)
    return folder


@pytest.fixture
def embed_keys(surveillance_maker):
    """Names of images -> their embeddings `[images, views, dim]`; the views add up to that which the scripts got."""

    def embed(keys, views=1):
        rows = np.array([surveillance_maker["embedding"](key) for key in keys])
        if views == 1:
            return rows[:, np.newaxis]
        part = np.random.RandomState(0).normal(size=rows.shape)
        return np.stack([rows - part, part], axis=1)

    return embed
