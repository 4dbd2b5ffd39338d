"""The index of a stored set: put together from the parts of an import, one shard in memory at a time."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ddl_tf.common.errors import InputError


def assemble_index(parts: Sequence[Path], file: Path) -> tuple[dict[int, int], int]:
    """Write the rows of all shards into one table, one shard in memory at a time.

    Returns:
        The number of images of each group, by ascending group, and the number of identities.

    Raises:
        InputError: if a column holds numbers in one part and text in another.
    """
    schema = _common_schema([pq.read_schema(part) for part in parts])
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


def _common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The columns' types, as wide as all parts need; pandas' own notes on the types of one part are left out."""
    return pa.schema(
        [(name, _common_type(name, {one.field(name).type for one in schemas})) for name in schemas[0].names]
    )


def _common_type(name: str, types: set[pa.DataType]) -> pa.DataType:
    types = types - {pa.null()} or types
    if len(types) == 1:
        return types.pop()
    if all(pa.types.is_integer(one) or pa.types.is_floating(one) for one in types):
        return pa.float64()
    raise InputError(f"the column {name!r} is of the types {', '.join(sorted(map(str, types)))}: give it values of one")
