import os
import struct

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.importers.problem_list import ProblemList, ProblemsError
from ddl_tf.protocols import feature_files
from ddl_tf.protocols.feature_files import FeatureFiles, PackedFeatures, pack_features, read_feature, write_feature

SUFFIX = "_net.bin"
KEYS = [f"P{number % 7}/{number}.png" for number in range(100)]


@pytest.fixture
def features(tmp_path):
    rows = np.random.RandomState(0).normal(size=[100, 6]).astype(np.float32)
    for key, row in zip(KEYS, rows):
        write_feature(tmp_path / "bins" / f"{key}{SUFFIX}", row)
    return rows


def _files(tmp_path, keys=KEYS):
    return FeatureFiles(tmp_path / "bins", keys, SUFFIX)


def _unit(rows):
    return rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)


def test_a_file_is_as_gen_megaface_writes_it(tmp_path):
    values, path = [0.5, -2.0, 1e-30], tmp_path / "a" / "b.bin"
    write_feature(path, np.array(values))
    assert path.read_bytes() == struct.pack("4i", 3, 1, 4, 5) + struct.pack("3f", *values)
    np.testing.assert_array_equal(read_feature(path), np.array(values, np.float32))
    for number, scale in enumerate((1e38, 1e-38)):
        write_feature(tmp_path / "bins" / f"{KEYS[number]}{SUFFIX}", np.full(4, scale))
    np.testing.assert_allclose(_files(tmp_path).read(np.array([0, 1]), ProblemList("x")), 0.5)


def test_corrupt_files(tmp_path):
    path = tmp_path / "a.bin"
    for content, message in (
        (b"", "the header is of 0 bytes"),
        (struct.pack("4i2f", 2, 1, 8, 6, 1, 2), r"the header is \[2, 1, 8, 6\], where \[dim, 1, 4, 5\]"),
        (struct.pack("4i2f", -2, 1, 4, 5, 1, 2), r"the header is \[-2, 1, 4, 5\]"),
        (struct.pack("4i2f", 3, 1, 4, 5, 1, 2), "24 bytes, where its header says 3 values"),
        (struct.pack("4i2f", 2, 1, 4, 5, float("-inf"), float("nan")), "2 values are not finite"),
        (struct.pack("4i2f", 2, 1, 4, 5, 0, 0), "all values are zero"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"^{path}: {message}"):
            read_feature(path)


def test_files_and_packed_ones_are_read_alike(tmp_path, features):
    files, path = _files(tmp_path), tmp_path / "packed" / "facescrub.npy"
    packed = pack_features(files, path)
    positions, problems = np.array([3, 0, 40, 41, 3]), ProblemList("x")
    for source in (files, packed, PackedFeatures(path, files), PackedFeatures(path, _files(tmp_path, KEYS[:50]))):
        read = source.read(positions, problems)
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, _unit(features[positions]), atol=1e-7)
        assert source.read(np.array([], int), problems).shape == (0, 6)
    assert not problems.problems
    np.testing.assert_array_equal(np.load(path), packed.read(np.arange(100), problems))
    assert path.with_suffix(".txt").read_text().split() == [f"{key}{SUFFIX}" for key in KEYS]


def test_missing_and_corrupt_ones_are_all_listed(tmp_path, features, monkeypatch):
    monkeypatch.setattr(feature_files, "BLOCK", 8)
    paths = [tmp_path / "bins" / f"{key}{SUFFIX}" for key in KEYS]
    for number in (0, 30, 31, 60):
        paths[number].unlink()
    os.mkfifo(paths[30])
    paths[31].mkdir()
    write_feature(paths[90], np.ones(5))
    files = _files(tmp_path)
    with pytest.raises(ProblemsError, match=r"^megaface: 3 corrupt feature file, 2 missing feature file \(") as raised:
        next(feature_files.feature_blocks(files, np.arange(100), "megaface"))
    problems = raised.value.problems
    assert [problem.source for problem in problems] == [str(paths[number]) for number in (0, 30, 31, 60, 90)]
    reasons = ["a pipe, device or socket", "Is a directory", "5 values, where the first file has 6"]
    assert [problems[place].reason for place in (1, 2, 4)] == reasons
    # Before the first problem blocks come.
    blocks = feature_files.feature_blocks(files, np.arange(1, 100), "megaface")
    for start in (1, 9, 17):
        np.testing.assert_allclose(next(blocks), _unit(features[start : start + 8]), atol=1e-7)
    with pytest.raises(ProblemsError, match="1 missing"):
        next(blocks)


def test_missing_ones_may_be_allowed(tmp_path, features):
    (tmp_path / "bins" / f"{KEYS[4]}{SUFFIX}").unlink()
    files = _files(tmp_path)
    for source in (files, pack_features(files, tmp_path / "all.npy")):
        problems = ProblemList("x")
        read = source.read(np.arange(3, 6), problems, missing_allowed=True)
        assert np.isnan(read).all(axis=1).tolist() == [False, True, False]
        assert not problems.problems
        source.read(np.arange(3, 6), problems)
        assert [problem.kind for problem in problems.problems] == ["missing feature file"]
    with pytest.raises(InputError, match=r"P0/0.png_other.bin: of 100 such feature files none can be read"):
        FeatureFiles(tmp_path / "bins", KEYS, "_other.bin").read(np.array([1]), ProblemList("x"))


def test_an_interrupted_packing_leaves_nothing_to_be_used(tmp_path, features, monkeypatch):
    path = tmp_path / "packed" / "all.npy"
    pack_features(_files(tmp_path), path)
    (tmp_path / "bins" / f"{KEYS[30]}{SUFFIX}").write_bytes(b"abcd")
    with pytest.raises(ProblemsError, match=r"^all: 1 corrupt feature file"):
        pack_features(_files(tmp_path), path)
    assert [file.name for file in path.parent.iterdir()] == ["all.txt"]
    monkeypatch.setattr(feature_files, "BLOCK", 8)
    plain = FeatureFiles.read

    def stop(self, positions, problems, missing_allowed=False):
        if positions[0] == 24:
            raise KeyboardInterrupt
        return plain(self, positions, problems, missing_allowed)

    monkeypatch.setattr(FeatureFiles, "read", stop)
    with pytest.raises(KeyboardInterrupt):
        pack_features(_files(tmp_path), path)
    assert [file.name for file in path.parent.iterdir()] == ["all.txt"]


def test_packed_features_of_something_else(tmp_path, features):
    path, files = tmp_path / "all.npy", _files(tmp_path)
    pack_features(files, path)
    with pytest.raises(InputError, match=r"all.txt: only 98 of the 100 names are those of the list, in order"):
        PackedFeatures(path, _files(tmp_path, [KEYS[1], KEYS[0], *KEYS[2:]]))
    rows, problems = np.load(path), ProblemList("x")
    for array, message in (
        (np.zeros([100, 6]), r"all.npy: float64 of shape \(100, 6\) is not float32"),
        (np.zeros([100, 0], np.float32), r"all.npy: float32 of shape \(100, 0\)"),
        (np.zeros([99, 6], np.float32), r"all.npy: 99 features, where the list has 100 names"),
        (b"something", r"all\.npy: no arrays that NumPy can read"),
    ):
        path.write_bytes(array) if isinstance(array, bytes) else np.save(path, array)
        with pytest.raises(InputError, match=message):
            PackedFeatures(path, files)
    # Rows that have no direction are listed.
    rows[3], rows[5], rows[7, 2], rows[9] = 0, np.inf, np.nan, 40 * rows[9]
    np.save(path, rows)
    PackedFeatures(path, files).read(np.arange(20), problems, missing_allowed=True)
    corrupt = [("corrupt feature file", f"{KEYS[number]}{SUFFIX}") for number in (3, 5, 7, 9)]
    assert [(problem.kind, problem.source) for problem in problems.problems] == corrupt
    path.with_suffix(".txt").write_bytes(b"\xff\xfe\n" * len(KEYS))
    with pytest.raises(InputError, match=r"all.txt: only 0 of the"):
        PackedFeatures(path, files)
