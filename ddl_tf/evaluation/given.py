"""Checks of embeddings that were made elsewhere: which rows give no direction, and which show a failed detection."""

import numpy as np

from ddl_tf.common.errors import InputError

# Rows that are checked at a time.
_BLOCK = 16_384
# Norms of embeddings are 1 to 100. Far beyond these bounds the squares leave the range of float64, and every
# similarity would be 0.
_SMALLEST, _LARGEST = 1e-100, 1e100
_NAMED = 5


def row_list(rows: np.ndarray) -> str:
    """Name rows for a message, the first ones by number.

    Args:
        rows: `[n]` int, at least one, from 0.

    Returns:
        Such as `rows 4, 17 (counted from 0)`.

    Example:
        >>> row_list(np.arange(7))
        'rows 0, 1, 2, 3, 4 and 2 more (counted from 0)'
    """
    more = f" and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else ""
    return f"row{'s' * (len(rows) > 1)} {', '.join(map(str, rows[:_NAMED].tolist()))}{more} (counted from 0)"


def check_given(views: np.ndarray, path: str) -> None:
    """Refuse embeddings that cannot be brought to unit norm; rows of zeros are left to `zero_rows`.

    Args:
        views: `[images, views, dim]` float of any width.
        path: the file, for the message.

    Raises:
        InputError: naming how many rows, the first of them, and what is wrong with them.
    """
    not_finite, out_of_range, worst = [], [], 0.0
    for start in range(0, len(views), _BLOCK):
        block = np.asarray(views[start : start + _BLOCK], np.float64)
        finite = np.isfinite(block).all(axis=(1, 2))
        not_finite += (start + np.flatnonzero(~finite)).tolist()
        # The largest value and not the norm, which may overflow.
        size = np.abs(np.where(finite[:, np.newaxis, np.newaxis], block, 0)).max(axis=2, initial=0)
        wrong = ((size > _LARGEST) | ((size > 0) & (size < _SMALLEST))).any(axis=1)
        out_of_range += (start + np.flatnonzero(wrong)).tolist()
        if wrong.any() and not worst:
            worst = float(size[wrong].max())
    for rows, what in (
        (not_finite, "are not finite (NaN or infinity)"),
        (out_of_range, f"have values such as {worst:.3g}, which no embedding has and whose squares are lost"),
    ):
        if rows:
            raise InputError(
                f"{path}: {len(rows):,} of {len(views):,} rows {what}: {row_list(np.array(rows))}; make these "
                "embeddings again, or put rows of zeros where no face was found"
            )


def zero_rows(views: np.ndarray) -> np.ndarray:
    """Find the images without an embedding: those in which no face was found, by a convention of the field.

    Args:
        views: `[images, views, dim]`; their sum counts.

    Returns:
        `[n]` int, rising, the rows that are all zero.
    """
    found = [
        start + np.flatnonzero(~np.asarray(views[start : start + _BLOCK]).sum(axis=1, dtype=np.float64).any(axis=1))
        for start in range(0, len(views), _BLOCK)
    ]
    return np.concatenate([np.empty(0, np.int64), *found])
