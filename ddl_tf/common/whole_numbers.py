"""Whether an argument is a whole number."""

import numbers
from typing import Any


def is_whole(value: Any) -> bool:
    """Whether a value is of a type of whole numbers, Python's or NumPy's.

    Args:
        value: anything.

    Returns:
        True for 3, False for 3.0.

    Example:
        >>> is_whole(3), is_whole(3.0)
        (True, False)
    """
    return isinstance(value, numbers.Integral)
