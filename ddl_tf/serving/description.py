"""The description beside the graph of an exported model."""

import json
from pathlib import Path
from typing import Any

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file

# TensorFlow Serving reads its warm-up from here and leaves the rest alone.
EXTRA = "assets.extra"
DESCRIPTION = "ddl_tf.json"


def read_description(path: str) -> dict[str, Any]:
    """Read the description of an exported model, in the folder of a version.

    Returns:
        `model`, `version`, `dim`, `input_size` [height, width], `flip`, `checkpoint`, `threshold` and more; see
        docs/serving.md.

    Raises:
        InputError: if there is none.
    """
    file = Path(path) / EXTRA / DESCRIPTION
    try:
        require_regular_file(file)
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        advice = "give the version folder of `python -m ddl_tf.export`"
        raise InputError(f"{path}: no description of a model there ({error}); {advice}") from None
