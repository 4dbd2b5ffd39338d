"""Reading pickles from strangers without running any code in them.

A pickle is a program: it names functions of any installed module and calls them. This reader knows only the names that
lists of bytes, booleans and plain NumPy arrays need, and gives none of them their real meaning: each stands for a small
object here that does the one thing that is needed and has no attributes that the pickle could change.
"""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn, Optional, Union

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file
from ddl_tf.importers.plain_unpickler import PlainUnpickler

_BYTE_ORDERS: dict[str, Literal["<", ">", "="]] = {"<": "<", ">": ">", "|": "="}


def _bytes(value: Any) -> bytes:
    """Python 2 pickled bytes as text in which every character stands for one byte."""
    if isinstance(value, str):
        return value.encode("latin-1")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise pickle.UnpicklingError(f"bytes expected, found {type(value).__name__}")


class _Call:
    """A function that a pickle can call but not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> NoReturn:
        raise pickle.UnpicklingError("it changes a function")


class _DType:
    """A dtype whose byte order comes as state."""

    __slots__ = ("_dtype",)

    def __init__(self, code: Any, *_: Any) -> None:
        self._dtype = np.dtype(_bytes(code).decode("latin-1"))
        # Booleans, integers, floats, bytes: nothing that holds Python objects.
        if self._dtype.kind not in "buifS":
            raise pickle.UnpicklingError(f"a NumPy array of {self._dtype}")

    def __setstate__(self, state: Any) -> None:
        _, order, subarray, names, fields, *_ = state
        if not (subarray is names is fields is None):
            raise pickle.UnpicklingError("a NumPy array with fields")
        code = _bytes(order).decode("latin-1")
        if code not in _BYTE_ORDERS:
            raise pickle.UnpicklingError(f"a NumPy array of byte order {code!r}")
        self._dtype = self._dtype.newbyteorder(_BYTE_ORDERS[code])

    def array(self, raw: Any, shape: Any, fortran: bool = False) -> np.ndarray:
        values = np.frombuffer(_bytes(raw), self._dtype)
        return values.reshape([int(side) for side in shape], order="F" if fortran else "C")


class _Array:
    """An array whose content comes as state."""

    __slots__ = ("array",)
    array: Optional[np.ndarray]

    def __init__(self, *_: Any) -> None:
        self.array = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        self.array = dtype.array(raw, shape, bool(fortran))


def _encode(text: str, encoding: Any) -> bytes:
    if _bytes(encoding).replace(b"-", b"").replace(b"_", b"") not in (b"latin1", b"iso88591"):
        raise pickle.UnpicklingError(f"text encoded as {encoding!r}, where bytes are encoded as latin1")
    return _bytes(text)


def _refuse(*_: Any) -> NoReturn:
    raise pickle.UnpicklingError("it makes a NumPy array in a way that NumPy does not")


_make_bytes = _Call(lambda value=b"", encoding=None: _bytes(value))
_GLOBALS: dict[tuple[str, str], _Call] = {
    ("_codecs", "encode"): _Call(_encode),
    ("builtins", "bytes"): _make_bytes,
    ("builtins", "bytearray"): _make_bytes,
    ("numpy", "dtype"): _Call(_DType),
    ("numpy", "ndarray"): _Call(_refuse),
}
for _core in ("numpy.core", "numpy._core"):
    _GLOBALS[f"{_core}.multiarray", "_reconstruct"] = _Call(_Array)
    _GLOBALS[f"{_core}.multiarray", "scalar"] = _Call(lambda dtype, raw: dtype.array(raw, [1])[0])
    _GLOBALS[f"{_core}.numeric", "_frombuffer"] = _Call(
        lambda raw, dtype, shape, order: dtype.array(raw, shape, _bytes(order) == b"F")
    )


class _Refused(Exception):
    """The pickle asks for something that a file of images has no use for."""


class _Unpickler(PlainUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module
        if (module, name) not in _GLOBALS:
            raise _Refused(f"{module}.{name}")
        return _GLOBALS[module, name]


def _finished(value: Any, levels: int = 2) -> Any:
    """Put the arrays in place of what stood for them; deeper lists, which a few bytes can make endless, stay."""
    if isinstance(value, _Array):
        return value.array
    if levels and isinstance(value, (list, tuple)):
        return [_finished(item, levels - 1) for item in value]
    return value


def load_pickle(path: Union[str, Path]) -> Any:
    """Read a pickle of lists, bytes, numbers, booleans and plain NumPy arrays, of Python 2 or 3 and any protocol.

    Text of Python 2 comes as bytes. In the outer two levels of lists, tuples come as lists, and arrays are read.
    """
    content = io.BytesIO(require_regular_file(path).read_bytes())
    try:
        return _finished(_Unpickler(content, encoding="bytes").load())
    except _Refused as refused:
        raise InputError(
            f"{path}: refused, this pickle asks to run {refused}, which a file of images has no use for; "
            "do not open it with anything else, get the file from a source that you trust"
        ) from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: not a pickle of images, or damaged ({reason}); get the file anew") from None
