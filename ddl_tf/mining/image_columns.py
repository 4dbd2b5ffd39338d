"""What is known of each image of a verification set, for reports of how accuracy depends on it."""

import sys
from collections.abc import Sequence
from typing import Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file
from ddl_tf.common.progress import Progress
from ddl_tf.mining.quality import measure_many
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.runtimes.quality import OnnxQuality


def read_columns(paths: Sequence[str]) -> Optional[pd.DataFrame]:
    """Read columns of images from CSV files, by their column `key`, an image's name in its set; None without files."""
    tables = []
    for path in paths:
        require_regular_file(path)
        try:
            table = pd.read_csv(path, dtype={"key": str})
        except ValueError as error:
            raise InputError(f"{path}: no CSV table ({error})") from None
        if "key" not in table:
            raise InputError(f"{path}: has no column `key`, but {', '.join(table.columns)}; see --list_images")
        double = table["key"][table["key"].duplicated()]
        if len(double):
            raise InputError(f"{path}: the key {double.iloc[0]!r} is there {len(double) + 1} times; give each once")
        tables.append(table.set_index("key"))
    return pd.concat(tables, axis=1) if tables else None


def image_columns(
    pair_set: PairSet, by_key: Optional[pd.DataFrame], measure: bool, network: Optional[OnnxQuality] = None
) -> Optional[pd.DataFrame]:
    """Gather a row for each image: `person`, the set's columns, those of `read_columns`, the measured; None if none.

    A `network` measures a learned quality.
    """
    count = len(pair_set.images)
    parts = []
    if pair_set.people is not None:
        parts.append(pd.DataFrame({"person": pair_set.people}))
    if pair_set.columns is not None:
        parts.append(pair_set.columns.reset_index(drop=True))
    if by_key is not None:
        keys = pair_set.keys if pair_set.keys is not None else [str(number) for number in range(count)]
        columns = by_key.reindex(np.asarray(keys))
        known = int(columns.notna().any(axis=1).sum())
        print(f"{pair_set.name}: columns are given for {known:,} of {count:,} images", file=sys.stderr)
        parts.append(columns.reset_index(drop=True))
    if measure:
        rows = []
        with Progress(f"measure {pair_set.name}", count) as progress:
            for measured in measure_many(
                pair_set.images, lambda row, why: progress.write(f"{pair_set.name}: image {row} is not measured: {why}")
            ):
                rows.append(measured)
                progress.advance()
        parts.append(pd.DataFrame(rows))
    if network is not None:
        known_columns = [str(name) for part in parts for name in part]
        if network.column in ("key", *known_columns):
            raise InputError(
                f"--quality_column={network.column}: {pair_set.name} has that column already; choose another name"
            )
        values = []
        with Progress(f"{network.column} of {pair_set.name}", count) as progress:
            for value in network.measure(pair_set.images):
                values.append(value)
                progress.advance()
        parts.append(pd.DataFrame({network.column: values}))
    return pd.concat(parts, axis=1) if parts else None
