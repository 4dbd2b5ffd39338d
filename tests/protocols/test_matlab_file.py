import os
import re

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix

from ddl_tf.common.errors import InputError
from ddl_tf.protocols import matlab_file
from ddl_tf.protocols.matlab_file import read_matlab


@pytest.fixture
def path(tmp_path):
    structure = np.array([[("Ann_1", 30.5)]], [("name", object), ("age", object)])
    content = {
        "whole": np.array([[0, 2**63], [1, 2**64 - 1]], np.uint64),
        "real": np.array([[0.1, np.inf, -1e300]]),
        "single": np.array([[0.1]], np.float32),
        "text": "Ann",
        "letters": np.array(["ab ", "cde"]),
        "cells": np.array([["a.jpg", "caf\u00e9.jpg"], ["", structure]], object),
        "none": np.zeros([0, 3]),
    }
    savemat(str(tmp_path / "list.mat"), {**content, "other": np.zeros(3)})
    return tmp_path / "list.mat"


def reason(path, names=("text",)):
    """Why a file is refused, in one line."""
    with pytest.raises(InputError) as caught:
        read_matlab(path, names)
    message = str(caught.value)
    assert re.fullmatch(f"{path}: .*get it anew", message)
    return message


def test_what_is_in_a_file(path):
    expected = {
        "whole": [[0, 2**63], [1, 2**64 - 1]],
        "real": [[0.1, np.inf, -1e300]],
        "single": [[float(np.float32(0.1))]],
        "text": ["Ann"],
        "letters": ["ab ", "cde"],
        "cells": [[["a.jpg"], ["caf\u00e9.jpg"]], [[], [[{"name": ["Ann_1"], "age": [[30.5]]}]]]],
        "none": [],
    }
    content = read_matlab(path, list(expected))
    assert content == expected
    assert [type(value) for value in content["whole"][0]] == [int, int]
    # Another format.
    savemat(str(path), {"ids": np.array([[3.0], [1.0]]), "text": "Ann"}, format="4")
    assert read_matlab(path, ["ids", "text"]) == {"ids": [[3.0], [1.0]], "text": ["Ann"]}


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "pipe", "none.mat"):
        with pytest.raises(OSError):
            read_matlab(tmp_path / name, ["text"])


@pytest.mark.usefixtures("matlab_in_process")
def test_what_is_no_list(path, monkeypatch):
    assert "has no variable probe_ids" in reason(path, ["text", "probe_ids"])
    content = path.read_bytes()
    monkeypatch.setattr(matlab_file, "_MOST_BYTES", len(content) - 1)
    assert "bytes; is it the official list?" in reason(path)
    monkeypatch.setattr(matlab_file, "_MOST_BYTES", len(content) + 1000)
    path.write_bytes(content[:300])
    assert "cannot be read as a MATLAB file" in reason(path)
    savemat(str(path), {"text": "Bob"})
    path.write_bytes(content + path.read_bytes()[128:])
    # SciPy takes the last one, and only warns.
    assert "Duplicate variable" in reason(path)
    savemat(str(path), {"text": csc_matrix(np.eye(3))})
    assert "is neither text, a number, a cell nor a structure" in reason(path)


def test_a_small_file_that_unpacks_to_much(path, monkeypatch):
    monkeypatch.setattr(matlab_file, "_MOST_MEMORY", 300 << 20)
    monkeypatch.setattr(matlab_file, "_MOST_TEXT", 1000)
    assert read_matlab(path, ["text"]) == {"text": ["Ann"]}
    savemat(str(path), {"text": np.zeros([1, 1000])}, do_compression=True)
    assert "where 1,000 is the most" in reason(path)
    savemat(str(path), {"text": np.zeros([1, 120 << 20], np.uint8)}, do_compression=True)
    assert path.stat().st_size < 1 << 20
    assert "MemoryError" in reason(path)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "SciPy crashed: Segmentation fault"),
        ("import sys\nprint('[' * 100000)", "exit code 0: no message"),
        ("raise ImportError('no SciPy\\nhere')", "exit code 1: here"),
        ("import time\ntime.sleep(60)", "SciPy is still at work after 1 s"),
    ],
)
def test_a_process_that_fails(path, monkeypatch, tmp_path, program, message):
    (tmp_path / "program.py").write_text(program)
    monkeypatch.setattr(matlab_file, "_PROGRAM", tmp_path / "program.py")
    if "sleep" in program:
        monkeypatch.setattr(matlab_file, "_SECONDS", 1)
    assert message in reason(path)
