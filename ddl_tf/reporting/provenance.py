"""Where the numbers of a report come from."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ddl_tf.reporting.evaluations import EvaluatedModel, set_names
from ddl_tf.reporting.layout_table import Cell, TextTable


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return value if isinstance(value, str) else json.dumps(value)


def provenance_table(models: Sequence[EvaluatedModel]) -> TextTable:
    """Lay out what the stored results say of their making, for each model; sets that say the same share a row."""
    rows = []
    for model in models:
        said: dict[tuple[str, str], list[str]] = {}
        for name in set_names([model]):
            for key, value in model.sets[name].provenance.items():
                said.setdefault((key, _text(value)), []).append(name)
        order = {key: place for place, key in enumerate(dict.fromkeys(key for key, _ in said))}
        for (key, text), names in sorted(said.items(), key=lambda item: order[item[0][0]]):
            others = [name for name in model.sets if name not in names]
            of = f"all but {', '.join(others)}" if len(others) < len(names) else ", ".join(names)
            of = of if others else "all"
            rows.append([Cell(model.name), Cell(of), Cell(key), Cell(text)])
        rows.append([Cell(model.name), Cell("all"), Cell("folder"), Cell(model.folder)])
    return TextTable(
        "provenance",
        "What made the numbers, as the stored evaluations tell: the model's file and its digest (SHA-256), whether "
        "embeddings of mirrored images were added, command, date and versions.",
        ["model", "sets", "what", "value"],
        rows,
        heads=4,
    )
