"""Writing the stored form: checked, resumable, and whole or not there."""

import csv
import dataclasses
import functools
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import ddl_tf
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.partial_folder import check_replaceable, open_partial, partial_path, publish
from ddl_tf.common.settings import setting
from ddl_tf.common.text import is_unicode, visible, visible_if_needed
from ddl_tf.data import layout
from ddl_tf.data.layout import DESCRIPTION, INDEX, PROBLEMS, read_description
from ddl_tf.data.shards import PART_NAME, ShardedImport, part_path, read_parts
from ddl_tf.importers.source import Source


@dataclasses.dataclass
class StoreSettings:
    """How a set is stored; the settings of everything that stores one inherit these fields."""

    output: Optional[str] = setting(None, "Folder to store the set in; required.")
    overwrite: bool = setting(False, "Whether to replace a stored set that is there already.")
    image_size: Optional[int] = setting(
        None, "Make images smaller whose longer side has more pixels than this; default: every image stays as it is."
    )
    shard_mb: int = setting(128, "Size of a shard in MB; an interrupted import goes on after its last whole shard.")


def write_set(
    source: Source,
    settings: StoreSettings,
    on_error: str = "refuse",
    tables: Optional[Mapping[str, pd.DataFrame]] = None,
    pictures: Optional[Mapping[str, Callable[[Path], Any]]] = None,
) -> dict[str, Any]:
    """Store a set of faces.

    Every image is decoded on the way. The set is written to `<output>.partial` and moved to `output` when it is whole.
    An interrupted call, made again, goes on where it stopped, and gives the same bytes as an undisturbed one.

    Args:
        source: the samples.
        settings: where to store them and how; all its fields are recorded.
        on_error: "refuse" stops at the first problem; "skip" leaves out what cannot be stored, reports it on stderr and
            in `problems.csv`, and counts it in `dataset.json`.
        tables: further tables to store with the set, by file name.
        pictures: further pictures to store with the set: file name -> what saves it at a path.

    Returns:
        The description of the set, as in its `dataset.json`.

    Raises:
        InputError: if something is wrong with the settings, the output or, with "refuse", the samples.
    """
    output = check_output(settings)
    made_by = _made_by(source, settings)
    record = {name: value for name, value in made_by.items() if name != "settings"}
    record.update({f"--{name}": value for name, value in made_by["settings"].items()})
    partial = partial_path(output)
    others: dict[str, Callable[[Path], Any]] = {
        name: functools.partial(table.to_parquet, index=False) for name, table in (tables or {}).items()
    }
    others.update(pictures or {})
    files = [DESCRIPTION, INDEX, PROBLEMS, *others]
    names = "|".join([*map(re.escape, files), layout.SHARD_NAME, PART_NAME])
    with open_partial(partial, record, names):
        if not (partial / DESCRIPTION).exists():
            skip = on_error == "skip"
            ShardedImport(source, partial, settings.shard_mb * 2**20, settings.image_size, skip=skip).run()
            for name, write in others.items():
                with write_aside(partial / name) as aside:
                    write(aside)
            _assemble(partial, output.name, made_by)
        description = read_description(partial)
        replaced = [DESCRIPTION, INDEX, PROBLEMS, layout.PAIRS, layout.MENDED, layout.LOCK, *others]
        replaced += read_description(output)["shards"] if output.exists() else ()
        publish(partial, output, {*files, *description["shards"]}, names, replaced)
    return description


def check_output(settings: StoreSettings) -> Path:
    """Refuse settings that `write_set` would refuse, before hours of other work; returns the folder to store in."""
    if not settings.output:
        raise InputError("--output is missing: name the folder to store the set in")
    if not is_unicode(settings.output):
        raise InputError(f"--output={visible(settings.output)}: the name is not UTF-8; choose another --output")
    for name in ("image_size", "shard_mb"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}={value}: must be at least 1")
    # Of a link, the folder that it leads to is filled or replaced.
    output = Path(os.path.realpath(settings.output))
    if output.exists():
        if not settings.overwrite:
            raise InputError(f"{output} exists: choose another --output, or replace it with --overwrite")
        if not (output / DESCRIPTION).is_file():
            raise InputError(f"{output} is no stored set and is not overwritten: choose another --output, or remove it")
        read_description(output)
        check_replaceable(output)
    return output


def _made_by(source: Source, settings: StoreSettings) -> dict[str, Any]:
    """All that the content of the set follows from."""
    values = {
        name: visible_if_needed(value) if isinstance(value, str) else value
        for name, value in dataclasses.asdict(settings).items()
        # They say where a set goes and what may stop it, not what is in it.
        if name not in ("output", "overwrite", "on_error")
    }
    return {
        "command": source.kind,
        "ddl_tf": ddl_tf.__version__,
        "source": visible_if_needed(source.name),
        "items": source.count,
        "settings": values,
    }


def assemble_index(parts: Sequence[Path], file: Path) -> tuple[dict[int, int], int]:
    """Write the rows of all shards into one table; returns the images of each group, and the number of identities."""
    schemas = [pq.read_schema(part) for part in parts]
    # As wide as all parts need; pandas' own notes on the types of one part are left out.
    columns = {name: {schema.field(name).type for schema in schemas} for name in schemas[0].names}
    schema = pa.schema([(name, _common_type(name, types)) for name, types in columns.items()])
    groups: Counter[int] = Counter()
    last_identity = -1
    with pq.ParquetWriter(file, schema) as writer:
        for part in parts:
            table = pq.read_table(part)
            writer.write_table(table.cast(schema))
            values, counts = np.unique(table["group"].to_numpy(), return_counts=True)
            groups.update(dict(zip(values.tolist(), counts.tolist())))
            last_identity = max(last_identity, int(table["identity"].to_numpy().max()))
    return dict(sorted(groups.items())), last_identity + 1


def _common_type(name: str, types: set[pa.DataType]) -> pa.DataType:
    types = types - {pa.null()} or types
    if len(types) == 1:
        return types.pop()
    if all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in types):
        return pa.float64()
    raise InputError(f"the column {name!r} is of the types {', '.join(sorted(map(str, types)))}: give it values of one")


def _assemble(partial: Path, name: str, made_by: dict[str, Any]) -> None:
    """Make the index, the list of problems and, last, the description from the committed parts."""
    parts = read_parts(partial)
    shards = [(number, part) for number, part in enumerate(parts) if part.images]
    with write_aside(partial / INDEX) as aside:
        groups, identities = assemble_index([part_path(partial, number, ".parquet") for number, _ in shards], aside)
    problems = [problem for part in parts for problem in part.problems]
    with write_aside(partial / PROBLEMS) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("kind", "source", "reason"), *problems])
    smallest = [min(sides) for sides in zip(*(part.sizes[0] for _, part in shards))]
    largest = [max(sides) for sides in zip(*(part.sizes[1] for _, part in shards))]
    description = {
        "format_version": layout.FORMAT_VERSION,
        "name": name,
        "images": sum(part.images for _, part in shards),
        "identities": identities,
        "groups": {str(group): count for group, count in groups.items()},
        "image_size": {"smallest": smallest, "largest": largest},
        "columns": pq.read_schema(partial / INDEX).names,
        "shards": {layout.shard_name(number): {"images": part.images, "bytes": part.bytes} for number, part in shards},
        "problems": dict(sorted(Counter(kind for kind, *_ in problems).items())),
        "made_by": made_by,
    }
    layout.write_description(partial, description)
