"""PyTorch checkpoints read without PyTorch, and without running the code that a pickle can hold."""

import collections
import contextlib
import io
import itertools
import math
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Union

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.importers.plain_unpickler import PlainUnpickler

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
# Weights can hardly be compressed; bfloat16 grows to twice its size, and networks share a few.
_MOST_GROWTH = 4
# NumPy's, and far more than a layer has.
_MOST_AXES = 32
_ITEM_TYPES = {
    # NumPy has no bfloat16: its bits are the upper half of a float32.
    **{"DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": "<u2"},
    **{"LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1"},
    "BoolStorage": "?",
}
# A stranger's pickle can fail in any of these ways.
_DAMAGE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, ArithmeticError, AttributeError, EOFError, ImportError, LookupError),
    *(MemoryError, RuntimeError, struct.error, TypeError, ValueError),
)
# What training scripts call the network's part of a checkpoint.
_STATE_DICT_KEYS = ("state_dict_backbone", "state_dict", "model_state_dict", "model")


# Descriptions instead of arrays: a tuple has nothing that a pickle could change, and only what is asked for is read.
class _StorageType(NamedTuple):
    name: str


class _Storage(NamedTuple):
    type: _StorageType
    key: str
    start: int
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _are_sizes(numbers: Any) -> bool:
    """Whether all are whole numbers from 0: True is none, nor NaN, which would pass any comparison."""
    return all(type(number) is int and number >= 0 for number in numbers)


class _RebuildTensor:
    """Slots: a pickle can set attributes of what it names."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *unused: Any) -> _Tensor:
        plain = isinstance(storage, _Storage) and isinstance(shape, tuple) and isinstance(strides, tuple)
        if not plain or not len(shape) == len(strides) <= _MOST_AXES or not _are_sizes((offset, *shape, *strides)):
            raise pickle.UnpicklingError("a tensor is described wrongly")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
        # A stride of 0 repeats values: a few of them could fill the memory.
        if (0 not in shape and last >= storage.length) or math.prod(shape) > storage.length:
            raise pickle.UnpicklingError(f"a tensor of shape {shape} is larger than its storage")
        return _Tensor(storage, offset, shape, strides)


class _RebuildParameter:
    __slots__ = ()

    def __call__(self, tensor: Any, *unused: Any) -> Any:
        return tensor


_GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
    **{("torch", name): _StorageType(name) for name in _ITEM_TYPES},
}


class _TensorUnpickler(PlainUnpickler):
    """Knows tensors and dicts, and nothing else that a pickle could name."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.item_sizes: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _GLOBALS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which is not part of a state dict; save model.state_dict() alone"
            ) from None

    def persistent_load(self, identifier: Any) -> _Storage:
        kind, storage_type, key, _, length, *view = identifier
        if kind != "storage" or not isinstance(storage_type, _StorageType) or not isinstance(key, str):
            raise pickle.UnpicklingError("a storage is described wrongly")
        start = 0
        if view and view[0] is not None:
            # The legacy format can hold one storage that is a part of another.
            _, start, length = view[0]
        if not _are_sizes((start, length)):
            raise pickle.UnpicklingError(f"storage {key} has no start and length that are whole numbers from 0")
        self.item_sizes[key] = np.dtype(_ITEM_TYPES[storage_type.name]).itemsize
        return _Storage(storage_type, key, start, length)


def _array(tensor: _Tensor, data: bytes) -> np.ndarray:
    storage = tensor.storage
    item_type = np.dtype(_ITEM_TYPES[storage.type.name])
    whole = len(data) // item_type.itemsize
    if whole < storage.start + storage.length:
        raise pickle.UnpicklingError(f"storage {storage.key} is cut short")
    items = np.frombuffer(data, item_type, storage.length, storage.start * item_type.itemsize)
    if storage.type.name == "BFloat16Storage":
        items = (items.astype(np.uint32) << 16).view(np.float32)
    if 0 in tensor.shape:
        return np.empty(tensor.shape, items.dtype)
    # as_strided checks nothing; `_RebuildTensor` has checked that it stays inside of the storage.
    strides = [stride * items.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(items[tensor.offset :], tensor.shape, strides).copy()


_Content = tuple[dict[str, _Tensor], Callable[[str], bytes]]


def _read_zip(archive: zipfile.ZipFile, file_size: int) -> _Content:
    """The format since PyTorch 1.6: a zip file with the pickle, and a file for each storage."""
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > _MOST_GROWTH * file_size:
        raise pickle.UnpicklingError(f"its {file_size:,} bytes unpack to {unpacked:,}; torch.save compresses nothing")

    def read(name: str) -> bytes:
        # So many bytes and no more: the packed ones may hold more than the archive says.
        size = archive.getinfo(name).file_size
        with archive.open(name) as member:
            return member.read(size) if size else b""

    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise pickle.UnpicklingError("a zip file without data.pkl is not from torch.save")
    folder = pickles[0][: -len("data.pkl")]
    if f"{folder}byteorder" in archive.namelist() and read(f"{folder}byteorder") != b"little":
        raise pickle.UnpicklingError("its byte order is not little endian; save it again on a common machine")
    content = _TensorUnpickler(io.BytesIO(read(pickles[0]))).load()
    return _state_dict(content), lambda key: read(f"{folder}data/{key}")


def _read_legacy(file: io.BytesIO) -> _Content:
    """The format before: five pickles in a row (the last lists the storages), then the storages."""
    if _TensorUnpickler(file).load() != _LEGACY_MAGIC:
        raise pickle.UnpicklingError("it does not begin as torch.save writes")
    _TensorUnpickler(file).load()
    machine = _TensorUnpickler(file).load()
    if not machine["little_endian"]:
        raise pickle.UnpicklingError("its byte order is not little endian; save it again on a common machine")
    unpickler, data = _TensorUnpickler(file), {}
    content = unpickler.load()
    for key in _TensorUnpickler(file).load():
        (length,) = np.frombuffer(file.read(8), "<i8")
        data[key] = file.read(max(int(length), 0) * unpickler.item_sizes[key])
    return _state_dict(content), data.__getitem__


def _state_dict(content: Any) -> dict[str, _Tensor]:
    """Find the network's tensors in what was pickled."""
    for key in _STATE_DICT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise pickle.UnpicklingError("it holds no state dict; save model.state_dict()")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise pickle.UnpicklingError(f"its entry {name!r} is not a tensor; save model.state_dict() alone")
    # DistributedDataParallel wraps the network.
    if all(name.startswith("module.") for name in content):
        return {name[len("module.") :]: tensor for name, tensor in content.items()}
    return dict(content)


def read_shapes(path: Union[str, "os.PathLike[str]"]) -> dict[str, tuple[int, ...]]:
    """Read the shapes of the tensors in a PyTorch checkpoint by name, before memory is spent on them."""
    return _read(path, lambda tensors, read: {name: tensor.shape for name, tensor in tensors.items()})


def read_state_dict(path: Union[str, "os.PathLike[str]"]) -> dict[str, np.ndarray]:
    """Read the state dict of a PyTorch checkpoint.

    Both of PyTorch's formats are read (before and since version 1.6), the state dict itself or a dict with it under
    `state_dict` or `state_dict_backbone`, and names with a leading "module.". Pickled code is refused, not run.

    Args:
        path: a file that `torch.save` wrote.

    Returns:
        Name -> array; bfloat16 tensors become float32.

    Raises:
        InputError: if the file is missing, damaged, no PyTorch checkpoint, holds anything but tensors, or would take
            several times its size in memory.
    """
    return _read(path, _arrays)


def _read(path: Union[str, "os.PathLike[str]"], take: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What `take` makes of the tensors of a file and the function that reads a storage of it."""
    text = os.fspath(path)
    if not os.path.isfile(text):
        raise InputError(f"no PyTorch checkpoint at {text}")
    size = os.path.getsize(text)
    try:
        with open(text, "rb") as file, contextlib.ExitStack() as stack:
            if zipfile.is_zipfile(text):
                tensors, read = _read_zip(stack.enter_context(zipfile.ZipFile(file)), size)
            else:
                tensors, read = _read_legacy(io.BytesIO(file.read()))
            # Many tensors can be of one storage.
            item_sizes = {name: np.dtype(item_type).itemsize for name, item_type in _ITEM_TYPES.items()}
            memory = sum(math.prod(tensor.shape) * item_sizes[tensor.storage.type.name] for tensor in tensors.values())
            if memory > _MOST_GROWTH * size:
                raise pickle.UnpicklingError(f"its tensors would take {memory:,} bytes, the file has {size:,}")
            return take(tensors, read)
    except _DAMAGE as error:
        reason = str(error).strip() or type(error).__name__
        raise InputError(f"{text} cannot be read as a PyTorch checkpoint: {reason}") from None


def _arrays(tensors: Mapping[str, _Tensor], read: Callable[[str], bytes]) -> dict[str, np.ndarray]:
    arrays = {}
    # Each storage once, and none longer than it is needed.
    by_storage = sorted(tensors, key=lambda name: tensors[name].storage.key)
    for key, names in itertools.groupby(by_storage, key=lambda name: tensors[name].storage.key):
        data = read(key)
        arrays.update({name: _array(tensors[name], data) for name in names})
    return {name: arrays[name] for name in tensors}
