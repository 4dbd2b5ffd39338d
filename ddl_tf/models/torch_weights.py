"""PyTorch checkpoints read without PyTorch, and without running the code that a pickle can hold."""

import collections
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any, NamedTuple, Union

import numpy as np

from ddl_tf.errors import InputError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_ITEM_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    # NumPy has no bfloat16: its bits are the upper half of a float32.
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
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


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *unused: Any) -> _Tensor:
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor is described wrongly")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
    if len(shape) != len(strides) or (0 not in shape and last >= storage.length):
        raise pickle.UnpicklingError(f"a tensor of shape {tuple(shape)} is larger than its storage")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: Any, *unused: Any) -> Any:
    return tensor


_GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): _StorageType(name) for name in _ITEM_TYPES},
}


class _TensorUnpickler(pickle.Unpickler):
    """Knows tensors and dicts, and nothing else that a pickle could name."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _GLOBALS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which is not part of a state dict; save model.state_dict() alone"
            ) from None

    def persistent_load(self, identifier: Any) -> _Storage:
        kind, storage_type, key, _, length, *view = identifier
        if kind != "storage" or not isinstance(storage_type, _StorageType) or not isinstance(length, int):
            raise pickle.UnpicklingError("a storage is described wrongly")
        start = 0
        if view and view[0] is not None:
            # The legacy format can hold one storage that is a part of another.
            _, start, length = view[0]
        return _Storage(storage_type, str(key), start, length)


def _array(tensor: _Tensor, data: bytes) -> np.ndarray:
    item_type = np.dtype(_ITEM_TYPES[tensor.storage.type.name])
    items = np.frombuffer(data, item_type)[tensor.storage.start :]
    if len(items) < tensor.storage.length:
        raise pickle.UnpicklingError(f"storage {tensor.storage.key} is cut short")
    if tensor.storage.type.name == "BFloat16Storage":
        items = (items.astype(np.uint32) << 16).view(np.float32)
    strides = [stride * items.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(items[tensor.offset :], tensor.shape, strides).copy()


def _read_zip(archive: zipfile.ZipFile) -> tuple[Any, Callable[[str], bytes]]:
    """The format since PyTorch 1.6: a zip file with the pickle, and a file for each storage."""
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise pickle.UnpicklingError("a zip file without data.pkl is not from torch.save")
    folder = pickles[0][: -len("data.pkl")]
    if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
        raise pickle.UnpicklingError("its byte order is not little endian; save it again on a common machine")
    with archive.open(pickles[0]) as file:
        content = _TensorUnpickler(file).load()
    return content, lambda key: archive.read(f"{folder}data/{key}")


def _read_legacy(file: IO[bytes]) -> tuple[Any, Callable[[str], bytes]]:
    """The format before: five pickles in a row (the last lists the storages), then the storages."""
    if _TensorUnpickler(file).load() != _LEGACY_MAGIC:
        raise pickle.UnpicklingError("it does not begin as torch.save writes")
    _TensorUnpickler(file).load()
    machine = _TensorUnpickler(file).load()
    if not machine["little_endian"]:
        raise pickle.UnpicklingError("its byte order is not little endian; save it again on a common machine")
    unpickler = _TensorUnpickler(file)
    content = unpickler.load()
    keys = _TensorUnpickler(file).load()
    item_sizes = {storage.key: np.dtype(_ITEM_TYPES[storage.type.name]).itemsize for storage in _storages(content)}
    data = {}
    for key in keys:
        (length,) = np.frombuffer(file.read(8), "<i8")
        data[key] = file.read(int(length) * item_sizes[key])
    return content, data.__getitem__


def _storages(content: Any) -> list[_Storage]:
    if isinstance(content, _Tensor):
        return [content.storage]
    if isinstance(content, Mapping):
        content = list(content.values())
    if isinstance(content, (list, tuple)):
        return [storage for item in content for storage in _storages(item)]
    return []


def _state_dict(content: Any) -> dict[str, _Tensor]:
    """Find the network's tensors in what was pickled."""
    for key in _STATE_DICT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise pickle.UnpicklingError("it holds no state dict; save model.state_dict()")
    for name, tensor in content.items():
        if not isinstance(tensor, _Tensor):
            raise pickle.UnpicklingError(f"its entry {name!r} is not a tensor; save model.state_dict() alone")
    # DistributedDataParallel wraps the network.
    if all(name.startswith("module.") for name in content):
        return {name[len("module.") :]: tensor for name, tensor in content.items()}
    return dict(content)


def read_state_dict(path: Union[str, "os.PathLike[str]"]) -> dict[str, np.ndarray]:
    """Read the state dict of a PyTorch checkpoint.

    Both of PyTorch's formats are read (before and since version 1.6), the state dict itself or a dict with it under
    `state_dict` or `state_dict_backbone`, and names with a leading "module.". Pickled code is refused, not run.

    Args:
        path: a file that `torch.save` wrote.

    Returns:
        Name -> array; bfloat16 tensors become float32.

    Raises:
        InputError: if the file is missing, damaged, no PyTorch checkpoint, or holds anything but tensors.

    Example:
        >>> read_state_dict("backbone.pth")["conv1.weight"].shape  # doctest: +SKIP
        (64, 3, 3, 3)
    """
    text = os.fspath(path)
    if not os.path.isfile(text):
        raise InputError(f"no PyTorch checkpoint at {text}")
    try:
        with open(text, "rb") as file:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    return _arrays(*_read_zip(archive))
            file.seek(0)
            return _arrays(*_read_legacy(file))
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        ArithmeticError,
        AttributeError,
        EOFError,
        ImportError,
        LookupError,
        MemoryError,
        NotImplementedError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        # A stranger's pickle can fail in any of these ways.
        reason = str(error).strip() or type(error).__name__
        raise InputError(f"{text} cannot be read as a PyTorch checkpoint: {reason}") from None


def _arrays(content: Any, read: Callable[[str], bytes]) -> dict[str, np.ndarray]:
    return {name: _array(tensor, read(tensor.storage.key)) for name, tensor in _state_dict(content).items()}
