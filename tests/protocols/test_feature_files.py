import os
import struct

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.importers.problem_list import ProblemList, ProblemsError
from ddl_tf.protocols import feature_files
from ddl_tf.protocols.feature_files import (
    FeatureFiles,
    PackedFeatures,
    feature_blocks,
    pack_features,
    read_feature,
    write_feature,
)

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
    values = [0.5, -2.0, 1e-30]
    written = struct.pack("4i", 3, 1, 4, 5) + struct.pack("3f", *values)
    write_feature(tmp_path / "a" / "b.bin", np.array(values))
    assert (tmp_path / "a" / "b.bin").read_bytes() == written
    np.testing.assert_array_equal(read_feature(tmp_path / "a" / "b.bin"), np.array(values, np.float32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the header is of 0 bytes"),
        (b"abc", "the header is of 3 bytes"),
        (struct.pack("3i", 2, 1, 4), r"the header is \[2, 1, 4\], where"),
        (struct.pack("4i2f", 2, 1, 8, 6, 1, 2), r"the header is \[2, 1, 8, 6\], where \[dim, 1, 4, 5\]"),
        (struct.pack("4i2f", -2, 1, 4, 5, 1, 2), r"the header is \[-2, 1, 4, 5\]"),
        (struct.pack("4i2f", 3, 1, 4, 5, 1, 2), "24 bytes, where its header says 3 values"),
        (struct.pack("4i2fb", 2, 1, 4, 5, 1, 2, 0), "25 bytes, where its header says 2 values"),
        (struct.pack("4i2f", 2, 1, 4, 5, 1, float("nan")), "1 values are not finite"),
        (struct.pack("4i2f", 2, 1, 4, 5, float("-inf"), 2), "1 values are not finite"),
        (struct.pack("4i2f", 2, 1, 4, 5, 0, 0), "all values are zero"),
    ],
)
def test_corrupt_files(tmp_path, content, message):
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{path}: {message}"):
        read_feature(path)


def test_files_and_packed_ones_are_read_alike(tmp_path, features):
    files = _files(tmp_path)
    packed = pack_features(files, tmp_path / "packed" / "facescrub.npy")
    again = PackedFeatures(tmp_path / "packed" / "facescrub.npy", files)
    first_part = PackedFeatures(tmp_path / "packed" / "facescrub.npy", _files(tmp_path, KEYS[:50]))
    positions = np.array([3, 0, 40, 41, 3])
    for source in (files, packed, again, first_part):
        problems = ProblemList("x")
        read = source.read(positions, problems)
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, _unit(features[positions]), atol=1e-7)
        assert source.read(np.array([], int), problems).shape == (0, 6)
        assert not problems.problems
    np.testing.assert_array_equal(np.load(tmp_path / "packed" / "facescrub.npy"), packed.read(np.arange(100), problems))
    assert (tmp_path / "packed" / "facescrub.txt").read_text().split() == [f"{key}{SUFFIX}" for key in KEYS]


def test_large_and_small_values_become_unit(tmp_path):
    for number, scale in enumerate((1e38, 1e-38)):
        write_feature(tmp_path / "bins" / f"{KEYS[number]}{SUFFIX}", np.full(4, scale))
    np.testing.assert_allclose(_files(tmp_path).read(np.array([0, 1]), ProblemList("x")), 0.5)


def test_missing_and_corrupt_ones_are_all_listed(tmp_path, features, monkeypatch):
    monkeypatch.setattr(feature_files, "BLOCK", 8)
    folder = tmp_path / "bins"
    for number in (0, 60):
        (folder / f"{KEYS[number]}{SUFFIX}").unlink()
    (folder / f"{KEYS[30]}{SUFFIX}").write_bytes(b"abcd")
    write_feature(folder / f"{KEYS[90]}{SUFFIX}", np.ones(5))
    files = _files(tmp_path)
    blocks = feature_blocks(files, np.arange(100), "megaface")
    with pytest.raises(ProblemsError, match=r"^megaface: 2 missing feature file, 2 corrupt feature file \(") as raised:
        next(blocks)
    assert [one.source for one in raised.value.problems] == [
        str(folder / f"{KEYS[number]}{SUFFIX}") for number in (0, 30, 60, 90)
    ]
    assert raised.value.problems[1].reason.startswith("the header is [1684234849], where")
    assert raised.value.problems[3].reason == "5 values, where the first file has 6"
    # Before the first problem blocks come.
    blocks = feature_blocks(files, np.arange(1, 100), "megaface")
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
        assert [(one.kind, one.source.endswith(f"{KEYS[4]}{SUFFIX}")) for one in problems.problems] == [
            ("missing feature file", True)
        ]


def test_no_file_at_all(tmp_path, features):
    with pytest.raises(InputError, match=r"P0/0.png_other.bin: of 100 such feature files none can be read"):
        FeatureFiles(tmp_path / "bins", KEYS, "_other.bin").read(np.array([1]), ProblemList("x"))


def test_nothing_is_packed_from_corrupt_files(tmp_path, features):
    (tmp_path / "bins" / f"{KEYS[30]}{SUFFIX}").write_bytes(b"abcd")
    with pytest.raises(ProblemsError, match=r"^all: 1 corrupt feature file"):
        pack_features(_files(tmp_path), tmp_path / "packed" / "all.npy")
    assert list((tmp_path / "packed").iterdir()) == []


def test_an_interrupted_packing_leaves_nothing_to_be_used(tmp_path, features, monkeypatch):
    path = tmp_path / "packed" / "all.npy"
    pack_features(_files(tmp_path), path)
    monkeypatch.setattr(feature_files, "BLOCK", 8)
    plain = FeatureFiles.read

    def stop(self, positions, problems, missing_allowed=False):
        if positions[0] == 40:
            raise KeyboardInterrupt
        return plain(self, positions, problems, missing_allowed)

    monkeypatch.setattr(FeatureFiles, "read", stop)
    with pytest.raises(KeyboardInterrupt):
        pack_features(_files(tmp_path), path)
    assert [one.name for one in path.parent.iterdir()] == ["all.txt"]


def test_packed_features_of_something_else(tmp_path, features):
    path = tmp_path / "all.npy"
    pack_features(_files(tmp_path), path)
    with pytest.raises(InputError, match=r"all.txt: only 98 of the 100 names are those of the list, in order"):
        PackedFeatures(path, _files(tmp_path, [KEYS[1], KEYS[0], *KEYS[2:]]))
    with pytest.raises(InputError, match=r"all.npy: 100 features, where the list has 101 names"):
        PackedFeatures(path, _files(tmp_path, [*KEYS, "P0/100.png"]))
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"all\.npy: no arrays that NumPy can read"):
        PackedFeatures(path, _files(tmp_path))
    np.save(path, np.zeros([100, 6]))
    with pytest.raises(InputError, match=r"all.npy: float64 of shape \(100, 6\) is not float32"):
        PackedFeatures(path, _files(tmp_path))
    np.save(path, np.zeros([99, 6], np.float32))
    with pytest.raises(InputError, match=r"all.npy: 99 features, where"):
        PackedFeatures(path, _files(tmp_path))
    path.write_bytes(b"something")
    with pytest.raises(InputError, match=r"all\.npy: no arrays that NumPy can read"):
        PackedFeatures(path, _files(tmp_path))


def test_packed_rows_of_another_that_have_no_direction_are_listed(tmp_path, features):
    path = tmp_path / "all.npy"
    pack_features(_files(tmp_path), path)
    rows = np.load(path)
    rows[3], rows[5], rows[7, 2], rows[9] = 0, np.inf, np.nan, 40 * rows[9]
    np.save(path, rows)
    problems = ProblemList("x")
    PackedFeatures(path, _files(tmp_path)).read(np.arange(20), problems, missing_allowed=True)
    assert [(one.kind, one.source) for one in problems.problems] == [
        ("corrupt feature file", f"{KEYS[number]}{SUFFIX}") for number in (3, 5, 7, 9)
    ]
    assert problems.problems[0].reason == "its packed row has norm 0, not 1"
    np.save(path, np.zeros([100, 0], np.float32))
    with pytest.raises(InputError, match=r"all.npy: float32 of shape \(100, 0\)"):
        PackedFeatures(path, _files(tmp_path))


def test_a_pipe_in_place_of_a_feature_is_corrupt(tmp_path):
    os.mkfifo(tmp_path / "feature.bin")
    with pytest.raises(OSError, match="a pipe, device or socket; give a regular file"):
        read_feature(tmp_path / "feature.bin")


def test_what_is_no_file_is_listed_with_the_corrupt_ones(tmp_path, features):
    for number, make in ((1, os.mkfifo), (2, os.mkdir)):
        (tmp_path / "bins" / f"{KEYS[number]}{SUFFIX}").unlink()
        make(tmp_path / "bins" / f"{KEYS[number]}{SUFFIX}")
    problems = ProblemList("x")
    _files(tmp_path).read(np.arange(4), problems)
    assert [(one.kind, one.reason) for one in problems.problems] == [
        ("corrupt feature file", "a pipe, device or socket"),
        ("corrupt feature file", "Is a directory"),
    ]


def test_a_list_that_is_not_utf_8_is_not_that_of_the_features(tmp_path, features):
    path = tmp_path / "packed" / "facescrub.npy"
    files = _files(tmp_path)
    pack_features(files, path)
    path.with_suffix(".txt").write_bytes(b"\xff\xfe\n" * len(KEYS))
    with pytest.raises(InputError, match=r"facescrub.txt: only 0 of the"):
        PackedFeatures(path, files)
