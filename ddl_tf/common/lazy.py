"""Names of a package whose modules are imported when the names are first used."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import lazy_loader


def lazy_names(package: str, file: str, moved: Mapping[str, str]) -> tuple[Callable[[str], Any], Any, list[str]]:
    """Make a package's `__getattr__`, `__dir__` and `__all__` from the stub `__init__.pyi` beside it.

    Names that `moved` (name -> package that has it now) are still found for one release, and not listed.
    """
    get_listed, list_names, listed = lazy_loader.attach_stub(package, file)

    def get(name: str) -> Any:
        return getattr(importlib.import_module(moved[name]), name) if name in moved else get_listed(name)

    return get, list_names, listed
