import json

import pytest

from ddl_tf.protocols import matlab_child, matlab_file


@pytest.fixture
def matlab_in_process(monkeypatch):
    """Read MATLAB files without a process for each: tests/protocols/test_matlab_file.py has the processes."""

    def read(content, names):
        try:
            return json.loads(json.dumps(matlab_child.read(content, list(names))))
        except Exception as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None

    monkeypatch.setattr(matlab_file, "_read_apart", read)
