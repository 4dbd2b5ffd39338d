"""Write the page of all flags, docs/flags.md, from the settings of the commands: `python docs/make_flags.py`."""

import dataclasses
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ddl_tf.common import command
from ddl_tf.common.files import write_aside
from ddl_tf.convert import ConvertSettings
from ddl_tf.evaluate import COMMANDS as EVALUATE_COMMANDS
from ddl_tf.export import ExportSettings
from ddl_tf.gallery.__main__ import COMMANDS as GALLERY_COMMANDS
from ddl_tf.launch import LaunchSettings
from ddl_tf.mine import COMMANDS as MINE_COMMANDS
from ddl_tf.miniature import MiniatureSettings
from ddl_tf.prepare import COMMANDS as PREPARE_COMMANDS
from ddl_tf.preview import PreviewSettings
from ddl_tf.quickstart import QuickstartSettings
from ddl_tf.report import ReportSettings
from ddl_tf.serve_check import ServeCheckSettings
from ddl_tf.training import TrainSettings
from ddl_tf.tuning import TuneSettings

PAGE = Path(__file__).parent / "flags.md"
# The docs import it for its quiet start-up alone.
assert command


def _of_subcommands(name: str, commands: "dict[str, tuple[Any, type]]") -> dict[str, type]:
    return {f"{name} {subcommand}": settings for subcommand, (_, settings) in commands.items()}


# In the order of the page.
SETTINGS: dict[str, type] = {
    "train": TrainSettings,
    "launch": LaunchSettings,
    "tune": TuneSettings,
    "quickstart": QuickstartSettings,
    **_of_subcommands("prepare", PREPARE_COMMANDS),
    **_of_subcommands("mine", MINE_COMMANDS),
    "preview": PreviewSettings,
    **_of_subcommands("evaluate", EVALUATE_COMMANDS),
    "miniature": MiniatureSettings,
    "report": ReportSettings,
    "export": ExportSettings,
    "serve_check": ServeCheckSettings,
    **_of_subcommands("gallery", GALLERY_COMMANDS),
    "convert": ConvertSettings,
}

_INTRODUCTION = """# All flags

Every command is `python -m ddl_tf.COMMAND`. `--help` lists its flags, and `--flagfile=FILE` reads flags from a file;
a flag after it replaces one of the file. Lists are written with commas. `--[no]flip` stands for `--flip` and
`--noflip`. Defaults are in brackets.

A flag is explained at the first command that has it. `python docs/make_flags.py` makes this page.
"""


def _default(field: "dataclasses.Field[Any]") -> str:
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if value is None or value in ("", []):
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{','.join(map(str, value)) if isinstance(value, list) else value}`"


def flag_lines(settings_class: type) -> dict[str, str]:
    """Describe the flags of a command.

    Args:
        settings_class: its settings.

    Returns:
        Flag -> its line of the page: name, default in brackets, and help text with the choices.
    """
    hints = typing.get_type_hints(settings_class)
    lines = {}
    for field in dataclasses.fields(settings_class):
        name = f"`--[no]{field.name}`" if hints[field.name] is bool else f"`--{field.name}`"
        repeated = " May be given several times." if field.metadata["repeated"] else ""
        choices = field.metadata["choices"]
        named = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
        text = field.metadata["help"] + repeated + named
        default = _default(field)
        lines[name] = f"- {name}{f' ({default})' if default else ''}: {text}"
    return lines


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


def _section(name: str, lines: "dict[str, str]", first_command: "dict[str, str]") -> Iterable[str]:
    yield f"\n## {name}\n"
    yield from (line for line in lines.values() if first_command.setdefault(line, name) == name)
    known: dict[str, list[str]] = {}
    for flag, line in lines.items():
        if first_command[line] != name:
            known.setdefault(first_command[line], []).append(flag)
    for earlier, flags in known.items():
        yield f"- As in [{earlier}](#{_anchor(earlier)}): {', '.join(flags)}."


def flags_page() -> str:
    """Lay out the flags of all commands.

    Returns:
        The text of the page, with a section for each command and subcommand.
    """
    first_command: dict[str, str] = {}  # Line -> the first command that has it.
    lines = [_INTRODUCTION.rstrip()]
    for name, settings_class in SETTINGS.items():
        lines.extend(_section(name, flag_lines(settings_class), first_command))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with write_aside(PAGE) as aside:
        aside.write_text(flags_page(), encoding="utf-8")
