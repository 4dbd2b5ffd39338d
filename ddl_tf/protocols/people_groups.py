"""Groups of images by a column: texts, numbers, or bins of numbers."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting

_MOST_GROUPS = 30


@dataclasses.dataclass
class GroupChoice:
    """Which groups error rates are given by; the settings of protocols inherit these fields."""

    by: list[str] = setting(
        [], "Columns to give error rates by, comma-separated: text, or numbers, which are cut into bins."
    )
    edges: list[float] = setting([], "Edges of the bins of the one column of numbers of --by; default: --bins.")
    bins: int = setting(4, "Bins of a column of numbers of --by, of about as many images each.")


class Groups(NamedTuple):
    """The names of groups, and that of each image: `[images]` int, -1 of one without a value."""

    names: list[str]
    group: np.ndarray


def group_images(
    columns: pd.DataFrame, by: Sequence[str], edges: Sequence[float] = (), bins: int = 4
) -> dict[str, Groups]:
    """Put images into groups, by each of some columns.

    Each text is a group; so is each number where there are no more than `bins` of them. Other numbers are cut into
    bins: at `edges` (what is below the first or not below the last is in no group), or with about as many images each.

    Args:
        columns: a row for each image.
        by: the columns to take.
        edges: rising, at least two; at most one column of `by` may then be of numbers.
        bins: how many bins without edges.

    Returns:
        Column -> its groups.

    Raises:
        InputError: if there is no such column, it has one value or more than 30 texts, or the edges do not rise.

    Example:
        >>> group_images(pd.DataFrame({"yaw": [-40, 3, 5, 38]}), ["yaw"], [-90, -20, 20, 90])["yaw"].group
        array([0, 1, 1, 2])
    """
    if len(edges) == 1 or any(low >= high for low, high in zip(edges, edges[1:])):
        raise InputError(f"--edges={','.join(f'{edge:g}' for edge in edges)}: give two or more numbers that rise")
    if bins < 2:
        raise InputError(f"--bins={bins}: must be at least 2")
    for name in by:
        if name not in columns:
            known = ", ".join(map(str, columns)) or "none"
            raise InputError(f"--by={name}: no such column is known of the images, but {known}; see --columns")
    numeric = [name for name in by if _is_number(columns[name])]
    if edges and len(numeric) != 1:
        raise InputError(f"--edges are of one column of numbers, and --by has {len(numeric)}: {','.join(by) or 'none'}")
    return {
        name: _bins(columns[name], edges, bins) if name in numeric else _texts(columns[name], name)
        for name in dict.fromkeys(by)
    }


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _texts(column: pd.Series, name: str) -> Groups:
    texts = column.astype(str).where(column.notna() & (column.astype(str) != ""))
    codes, names = pd.factorize(texts, sort=True)
    if not 0 < len(names) <= _MOST_GROUPS:
        raise InputError(
            f"--by={name}: {len(names):,} values, where 1 to {_MOST_GROUPS} make groups; take another column"
        )
    return Groups(names.tolist(), codes)


def _bins(column: pd.Series, edges: Sequence[float], bins: int) -> Groups:
    numbers = column.to_numpy(np.float64, na_value=np.nan)
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        raise InputError(f"--by={column.name}: no image has a number there; take another column")
    different = np.unique(known)
    if not len(edges) and len(different) <= bins:
        group = np.where(np.isfinite(numbers), np.searchsorted(different, numbers), -1)
        return Groups([f"{number:g}" for number in different], group)
    limits = np.asarray(edges, np.float64)
    if not len(edges):
        limits = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1), method="inverted_cdf"))
        # The largest is in the last bin.
        limits[-1] = np.nextafter(limits[-1], np.inf)
    group = np.searchsorted(limits, numbers, side="right") - 1
    group[~np.isfinite(numbers) | (numbers >= limits[-1])] = -1
    return Groups(_names(limits), group)


def _names(limits: np.ndarray) -> list[str]:
    """Names of bins, with as few digits as tell their edges apart."""
    for digits in range(3, 18):
        texts = [f"{limit:.{digits}g}" for limit in limits]
        if len(set(texts)) == len(texts):
            break
    return [f"{low} to {high}" for low, high in zip(texts, texts[1:])]
