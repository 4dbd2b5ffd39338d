"""Write the flags of the commands into the documentation: `python docs/make_flags.py`.

A page says where: everything between `<!-- flags: COMMAND -->` and `<!-- end of flags -->` is made anew from the
settings of that command: `train`, `convert`, `export`, `launch`, `miniature`, `preview`, `quickstart`, `report`,
`serve_check`, `evaluate NAME`, `gallery NAME`, `mine NAME`, or `prepare NAME`.
"""

import dataclasses
import re
import sys
import typing
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
from ddl_tf.prepare import COMMANDS
from ddl_tf.preview import PreviewSettings
from ddl_tf.quickstart import QuickstartSettings
from ddl_tf.report import ReportSettings
from ddl_tf.serve_check import ServeCheckSettings
from ddl_tf.training import TrainSettings

DOCS = Path(__file__).parent
# The docs import it for its quiet start-up alone.
assert command

SETTINGS: dict[str, type] = {
    "train": TrainSettings,
    **{f"evaluate {name}": settings for name, (_, settings) in EVALUATE_COMMANDS.items()},
    "convert": ConvertSettings,
    "export": ExportSettings,
    **{f"gallery {name}": settings for name, (_, settings) in GALLERY_COMMANDS.items()},
    "launch": LaunchSettings,
    "miniature": MiniatureSettings,
    "preview": PreviewSettings,
    "quickstart": QuickstartSettings,
    "report": ReportSettings,
    "serve_check": ServeCheckSettings,
    **{f"mine {name}": settings for name, (_, settings) in MINE_COMMANDS.items()},
    **{f"prepare {name}": settings for name, (_, settings) in COMMANDS.items()},
}
_PART = re.compile(r"(<!-- flags: (?P<command>[\w ]+) -->\n).*?(<!-- end of flags -->)", re.DOTALL)


def _default(field: "dataclasses.Field[Any]") -> str:
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if value is None or value in ("", []):
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{','.join(map(str, value)) if isinstance(value, list) else value}`"


def flags_table(settings_class: type) -> str:
    """Lay out the flags of a command.

    Args:
        settings_class: its settings.

    Returns:
        A Markdown table with a line for each flag: its name, default, and help text with the choices.
    """
    hints = typing.get_type_hints(settings_class)
    lines = ["| flag | default | what |", "| --- | --- | --- |"]
    for field in dataclasses.fields(settings_class):
        name = f"--[no]{field.name}" if hints[field.name] is bool else f"--{field.name}"
        repeated = " May be given several times." if field.metadata["repeated"] else ""
        choices = field.metadata["choices"]
        text = (
            field.metadata["help"]
            + repeated
            + (f" One of {', '.join(f'`{one}`' for one in choices)}." if choices else "")
        )
        lines.append(f"| `{name}` | {_default(field)} | {text.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def with_flags(page: str) -> str:
    """Put current tables into a page.

    Args:
        page: the text of the page.

    Returns:
        The text with the table of each part made anew.

    Raises:
        KeyError: if a part names no command.
    """
    return _PART.sub(lambda part: f"{part[1]}{flags_table(SETTINGS[part['command']])}\n{part[3]}", page)


if __name__ == "__main__":
    for path in sorted(DOCS.glob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = with_flags(before)
        if after != before:
            with write_aside(path) as aside:
                aside.write_text(after, encoding="utf-8")
            print(path, file=sys.stderr)
