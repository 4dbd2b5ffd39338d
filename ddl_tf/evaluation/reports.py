"""Verification results as text."""

import json
from collections.abc import Sequence
from typing import Any

from ddl_tf.evaluation.pairs import FAR_TARGETS


def json_line(result: dict[str, Any]) -> str:
    """Encode a result as one line of JSON.

    Args:
        result: of `evaluate_pairs`.

    Returns:
        The line, without its end.

    Raises:
        ValueError: if a number is not finite, which JSON cannot say.
    """
    return json.dumps(result, allow_nan=False)


def results_table(results: Sequence[dict[str, Any]]) -> str:
    """Lay out results for a terminal, in percent; the expectation margin as it is.

    "accuracy" is by k-fold cross-validation, "best" at the best threshold for all pairs.

    Args:
        results: of `evaluate_pairs`, at least one.

    Returns:
        A header and a line for each set.
    """
    header = ["set", "pairs", "accuracy", "best", "AUC", "EER", *(f"TAR@{name}" for name in FAR_TARGETS), "margin"]
    rows = [
        [
            one["set"],
            str(one["pairs"]),
            f"{100 * one['accuracy']:.2f} +- {100 * one['accuracy_std']:.2f}",
            *(
                f"{100 * rate:.2f}"
                for rate in (one["threshold_accuracy"], one["auc"], one["eer"], *one["tar"].values())
            ),
            f"{one['expectation_margin']:.3f}",
        ]
        for one in results
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in (header, *rows)
    ]
    return "\n".join(lines)
