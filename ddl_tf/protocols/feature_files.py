"""Features on disk: the MegaFace devkit's file for each image, or all of them packed into one `.npy`."""

import errno
import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Union

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import map_array, require_regular_file, write_aside
from ddl_tf.common.parallel import map_in_order
from ddl_tf.common.progress import Progress
from ddl_tf.importers.problem_list import ProblemList

# Rows of a block; with 3,530 probes their similarities take 58 MB.
BLOCK = 4096
_HEADER = 4 * 4
# Columns, bytes of a row and OpenCV's number of float32.
_SHAPE = [1, 4, 5]
# What rounding to float32 leaves, with much room.
_NORM_ERROR = 1e-3
_MISSING = "missing feature file"
_CORRUPT = "corrupt feature file"


def write_feature(path: Path, feature: np.ndarray) -> None:
    """Write a feature `[dim]` as InsightFace's `gen_megaface.py` does: an OpenCV matrix of one column, float32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.array([len(feature), *_SHAPE], "<i4").tobytes() + np.asarray(feature, "<f4").tobytes())


def read_feature(path: Path) -> np.ndarray:
    """Read a feature file, four int32 (dim, 1, 4, 5) and dim float32, and check all of it: `[dim]` float32."""
    require_regular_file(path)
    data = path.read_bytes()
    header = np.frombuffer(data[: len(data[:_HEADER]) // 4 * 4], "<i4")
    if len(header) < 4 or header[0] < 1 or list(header[1:]) != _SHAPE:
        seen = header.tolist() if len(header) else f"of {len(data)} bytes"
        raise InputError(f"{path}: the header is {seen}, where [dim, 1, 4, 5] is expected; write it again")
    if len(data) != _HEADER + 4 * int(header[0]):
        raise InputError(f"{path}: {len(data)} bytes, where its header says {header[0]} values; write it again")
    feature = np.frombuffer(data, "<f4", offset=_HEADER)
    if not np.isfinite(feature).all():
        raise InputError(f"{path}: {np.sum(~np.isfinite(feature))} values are not finite; write it again")
    if not feature.any():
        raise InputError(f"{path}: all values are zero, which has no direction; write it again")
    return feature


class FeatureFiles:
    """Features of which each is a file, `folder/key` with a `suffix`; they are read by several threads."""

    def __init__(self, folder: Path, keys: Sequence[str], suffix: str) -> None:
        self._folder, self._keys, self._suffix = folder, keys, suffix

    def __len__(self) -> int:
        return len(self._keys)

    def name(self, position: int) -> str:
        """The path of a file in the folder."""
        return self._keys[position] + self._suffix

    def read(self, positions: np.ndarray, problems: ProblemList, missing_allowed: bool = False) -> np.ndarray:
        """Read the features at `[n]` positions: `[n, dim]` float32 of unit norm.

        A feature that does not exist is NaN, and a problem unless `missing_allowed`. InputError if no file can be read.
        """
        paths = [self._folder / self.name(position) for position in positions]
        features = np.full([len(paths), self.dim], np.nan, np.float32)
        for row, (path, content) in enumerate(zip(paths, map_in_order(_feature_or_reason, paths))):
            if isinstance(content, str):
                problems.add(_CORRUPT, path, content)
            elif content is None:
                if not missing_allowed:
                    problems.add(_MISSING, path, "named by the list")
            elif len(content) != self.dim:
                problems.add(_CORRUPT, path, f"{len(content)} values, where the first file has {self.dim}")
            else:
                features[row] = content
        return _unit(features)

    @functools.cached_property
    def dim(self) -> int:
        """How many values a feature has: as many as the first that can be read."""
        for position in range(len(self)):
            content = _feature_or_reason(self._folder / self.name(position))
            if isinstance(content, np.ndarray):
                return len(content)
        path, advice = self._folder / self.name(0), "check the folder of features and the suffix"
        raise InputError(f"{path}: of {len(self):,} such feature files none can be read; {advice}")


def _feature_or_reason(path: Path) -> Union[np.ndarray, str, None]:
    """The feature, what is wrong with its file, or None if there is no file."""
    try:
        return read_feature(path)
    except FileNotFoundError:
        return None
    except InputError as error:
        return str(error).replace(f"{path}: ", "").split(";")[0]
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EISDIR):
            raise
        return str(error.strerror).split(";")[0]


def _unit(features: np.ndarray) -> np.ndarray:
    """Bring rows to unit norm; in float64, where no square of a float32 overflows."""
    wide = features.astype(np.float64)
    return (wide / np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, np.newaxis]).astype(np.float32)


class Embeddings:
    """Embeddings in a `.npy` file `[images, views, dim]` float32, read in parts; `shape` is (images, views x dim)."""

    def __init__(self, file: Path) -> None:
        mapped = np.load(file, mmap_mode="r")
        self.shape = (mapped.shape[0], int(np.prod(mapped.shape[1:])))
        self._offset = mapped.offset
        self._row_bytes = 4 * self.shape[1]
        # Reads, not the memory map: pages of a map count as the process's memory.
        self._file = file.open("rb")

    def _run(self, start: int, count: int) -> np.ndarray:
        data = os.pread(self._file.fileno(), count * self._row_bytes, self._offset + start * self._row_bytes)
        return np.frombuffer(data, np.float32).reshape(count, -1)

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """Read the embeddings at `[n]` positions: `[n, views x dim]` float32, as the model gave them."""
        if not len(positions):
            return np.empty([0, self.shape[1]], np.float32)
        # Neighbours on disk are read at once.
        breaks = np.flatnonzero(np.diff(positions) != 1) + 1
        runs = zip(np.r_[0, breaks].tolist(), np.r_[breaks, len(positions)].tolist())
        return np.concatenate([self._run(int(positions[start]), end - start) for start, end in runs])

    def chunks(self, size: int = 16_384) -> Iterator[tuple[int, np.ndarray]]:
        """Read all embeddings in order: the position of the first row, and `[<= size, views x dim]` float32."""
        for start in range(0, self.shape[0], size):
            yield start, self._run(start, min(size, self.shape[0] - start))


class PackedFeatures:
    """Features in one `.npy` file, as `pack_features` writes them, of which only what is asked for is in memory.

    The list of names is beside it, as `.txt`; `files` is what was packed, or the first part of it, else an InputError.
    """

    def __init__(self, path: Path, files: FeatureFiles) -> None:
        list_file, advice = path.with_suffix(".txt"), "delete it, to pack the features again"
        mapped = map_array(path, advice)
        if mapped.dtype != np.float32 or mapped.ndim != 2 or not mapped.shape[1]:
            raise InputError(f"{path}: {mapped.dtype} of shape {mapped.shape} is not float32 [features, dim]; {advice}")
        # What is no UTF-8 is not the list's either.
        require_regular_file(list_file)
        with list_file.open(encoding="utf-8", errors="backslashreplace") as lines:
            same = sum(line == f"{files.name(row)}\n" for row, line in zip(range(len(files)), lines))
        if len(mapped) < len(files):
            raise InputError(f"{path}: {len(mapped):,} features, where the list has {len(files):,} names; {advice}")
        if same < len(files):
            reason = f"only {same:,} of the {len(files):,} names are those of the list, in order"
            raise InputError(f"{list_file}: {reason}; {advice}")
        self._files, self._packed = files, Embeddings(path)

    def read(self, positions: np.ndarray, problems: ProblemList, missing_allowed: bool = False) -> np.ndarray:
        """Read some features, as `FeatureFiles.read`."""
        features = self._packed.rows(positions)
        missing = np.isnan(features).all(axis=1)
        if not missing_allowed:
            for row in np.flatnonzero(missing):
                problems.add(_MISSING, self._files.name(positions[row]), "was not there when the others were packed")
        # `pack_features` writes unit norms; the file may be another's.
        norms = np.sqrt(np.einsum("ij,ij->i", features, features, dtype=np.float64))
        for row in np.flatnonzero(~missing & ~(np.abs(norms - 1) < _NORM_ERROR)):
            problems.add(_CORRUPT, self._files.name(positions[row]), f"its packed row has norm {norms[row]:g}, not 1")
        return features


FeatureSource = Union[FeatureFiles, PackedFeatures]


def pack_features(files: FeatureFiles, path: Path) -> PackedFeatures:
    """Write many feature files, brought to unit norm, into one `.npy`, and their names beside it, as `.txt`.

    Files that do not exist become rows of NaN, which count as missing when they are read; corrupt ones are refused. An
    interrupted call leaves no `.npy`.
    """
    problems = ProblemList(path.stem)
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(files), files.dim)}
    # First: without it the new list and the old features could stand together.
    path.unlink(missing_ok=True)
    with write_aside(path) as aside, aside.open("wb") as output:
        np.lib.format.write_array_header_1_0(output, header)
        with Progress(f"pack {path.stem}", len(files), unit="file") as progress:
            for start in range(0, len(files), BLOCK):
                positions = np.arange(start, min(start + BLOCK, len(files)))
                output.write(files.read(positions, problems, missing_allowed=True).tobytes())
                progress.advance(len(positions))
        problems.refuse("write these features again")
        with write_aside(path.with_suffix(".txt")) as list_aside:
            names = (f"{files.name(position)}\n" for position in range(len(files)))
            list_aside.write_text("".join(names), encoding="utf-8")
    return PackedFeatures(path, files)


def feature_blocks(source: FeatureSource, positions: np.ndarray, name: str) -> Iterator[np.ndarray]:
    """Read the features at `[n]` positions, `[<= BLOCK, dim]` float32 of unit norm at a time; all of them must exist.

    After a first problem nothing more is given; at the end all problems are raised.
    """
    problems = ProblemList(name)
    for start in range(0, len(positions), BLOCK):
        features = source.read(positions[start : start + BLOCK], problems)
        if not problems.problems:
            yield features
    problems.refuse("write these features again, or name a list without them")
