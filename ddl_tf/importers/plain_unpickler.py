"""A pickle reader that a small file cannot make work without end."""

import pickle
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn


class PlainUnpickler(pickle._Unpickler):
    """Python's pickle reader in Python, without what neither images nor weights need.

    The reader in C has a list of what was read, as long as the largest number in the file: six bytes make it take 32
    GB. This one has a dict. The hash of nested tuples can take for ever, so keys are text or numbers, and there are no
    sets. Read from memory: a file on a disk is asked for as many bytes as the pickle says.
    """

    # What its parent has while it loads.
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def _set_items(self, items: Any, pairs: list[Any]) -> None:
        if not isinstance(items, dict):
            raise pickle.UnpicklingError("it sets items of something else than a dict")
        for key, value in zip(pairs[::2], pairs[1::2]):
            if not isinstance(key, (str, bytes, int, float)):
                raise pickle.UnpicklingError(f"it holds a dict with a key of type {type(key).__name__}")
            items[key] = value

    def _load_dict(self) -> None:
        items: dict[Any, Any] = {}
        self._set_items(items, self.pop_mark())
        self.append(items)

    def _load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items(self.stack[-1], [key, value])

    def _load_setitems(self) -> None:
        pairs = self.pop_mark()
        self._set_items(self.stack[-1], pairs)

    def _refuse(self) -> NoReturn:
        raise pickle.UnpicklingError("it holds a set or an extension")

    dispatch[pickle.DICT[0]] = _load_dict
    dispatch[pickle.SETITEM[0]] = _load_setitem
    dispatch[pickle.SETITEMS[0]] = _load_setitems
    for _code in (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.EXT1, pickle.EXT2, pickle.EXT4):
        dispatch[_code[0]] = _refuse
