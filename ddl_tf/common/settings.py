"""Settings as dataclasses, and flags made from them: one definition serves Python, the flag, its help and records."""

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any, Optional, TypeVar, Union

from absl import flags

from ddl_tf.common.errors import InputError

# The flags belong to the module that calls `define_flags`, so that --help lists them.
flags.disclaim_key_flags()

T = TypeVar("T")
# What absl calls the flags of one value.
_SINGLE = {bool: "bool", int: "integer", float: "float", str: "string"}


def setting(default: Any, help: str, choices: Optional[Sequence[str]] = None, repeated: bool = False) -> Any:
    """Describe one field of a settings dataclass: default, help text and, for a string, the allowed values.

    If `repeated`, each item of a list of strings is a flag of its own and may hold commas.
    """
    metadata = {"help": help, "default": default, "choices": choices, "repeated": repeated}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _value_type(annotation: Any) -> Any:
    """`Optional[X]` -> `X`: a flag that is not given is None."""
    if typing.get_origin(annotation) is Union:
        (annotation,) = (a for a in typing.get_args(annotation) if a is not type(None))
    return annotation


def define_flags(settings_class: type) -> None:
    """Define one absl flag for each field, made with `setting`, of a settings dataclass."""
    hints = typing.get_type_hints(settings_class)
    for field in dataclasses.fields(settings_class):
        kind, text, default = _value_type(hints[field.name]), field.metadata["help"], field.metadata["default"]
        if field.metadata["choices"]:
            flags.DEFINE_enum(field.name, default, field.metadata["choices"], text)
        elif kind in _SINGLE:
            getattr(flags, f"DEFINE_{_SINGLE[kind]}")(field.name, default, text)
        elif field.metadata["repeated"]:
            flags.DEFINE_multi_string(field.name, default, text)
        elif typing.get_origin(kind) is list:
            flags.DEFINE_list(field.name, [str(item) for item in default], text)
        else:
            raise TypeError(f"{settings_class.__name__}.{field.name}: no flag is made for {kind}")


def required(settings: Any, *names: str) -> None:
    """Refuse settings in which one of these fields is missing."""
    for name in names:
        if not getattr(settings, name):
            raise InputError(f"--{name} is missing; see --help")


def refuse_ignored(settings: Any, names: Sequence[str], used: bool, needs: str) -> None:
    """Refuse settings whose fields `names` are not their defaults, but ignored unless `used`; `needs` is the remedy."""
    if used:
        return
    unset = {field.name: field.metadata["default"] for field in dataclasses.fields(settings) if field.name in names}
    for name in names:
        value = getattr(settings, name)
        if value != unset[name]:
            text = ",".join(map(str, value)) if isinstance(value, list) else value
            raise InputError(f"--{name}={text} would be ignored: it needs {needs}; leave it out, or set that")


def from_flags(settings_class: type[T]) -> T:
    """Make an instance of a settings dataclass from the parsed flags."""
    values: dict[str, Any] = {}
    hints = typing.get_type_hints(settings_class)
    for field in dataclasses.fields(settings_class):  # type: ignore[arg-type]
        value: Any = flags.FLAGS[field.name].value
        kind = _value_type(hints[field.name])
        if typing.get_origin(kind) is list:
            (item_type,) = typing.get_args(kind)
            if any(not item.strip() for item in value):
                raise InputError(f"--{field.name}={','.join(value)}: an item is empty; leave out the spare comma")
            try:
                value = [item_type(item) for item in value]
            except ValueError:
                message = f"--{field.name}={','.join(value)}: every item must be of type {item_type.__name__}"
                raise InputError(message) from None
        values[field.name] = value
    return settings_class(**values)
