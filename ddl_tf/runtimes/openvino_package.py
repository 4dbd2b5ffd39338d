"""The package openvino, and what our files of it say of themselves; nothing here needs TensorFlow."""

import hashlib
import sys
from pathlib import Path
from typing import Any

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import add_content

# What the rest of a file is computed in that is not int8, and the name of it in OpenVINO.
COMPUTED_IN = {"float32": "f32", "bfloat16": "bf16"}
PRECISIONS = (*COMPUTED_IN, "int8")
# What a file says of itself.
SECTION, COMPUTES, DIGEST = "ddl_tf", "computes_in", "weights_sha256"


def load_openvino(path: object) -> Any:
    """Import the package openvino, for what is done with a file at a path.

    It reports its use to Google Analytics unless the user told it not to; nothing of that happens from here.
    """
    return import_without_telemetry("openvino", path)


def import_without_telemetry(package: str, path: object) -> Any:
    """Import openvino or nncf, without its report of use."""
    reporter = "openvino_telemetry"
    before = sys.modules.get(reporter)
    if package not in sys.modules:
        # Both packages do without it where it is missing.
        sys.modules[reporter] = None  # type: ignore[assignment]
    try:
        return __import__(package)
    except ImportError as error:
        raise InputError(f"{path}: OpenVINO's files need {package} ({error}); pip install openvino nncf") from None
    finally:
        sys.modules.pop(reporter, None)
        if before is not None:
            sys.modules[reporter] = before


def require_precision(core: Any, precision: str, path: object) -> None:
    """Refuse a precision that this CPU has no instructions for: OpenVINO would take another in silence."""
    if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError(f"{path}: this CPU cannot compute in bfloat16; use the format openvino or openvino_int8")


def digest_of(weights: Path) -> str:
    """The SHA-256 of a file with weights."""
    digest = hashlib.sha256()
    add_content(digest, weights)
    return digest.hexdigest()


def reason(error: Exception) -> str:
    """Say on one line what OpenVINO says on several."""
    return " ".join(str(error).split())[-300:]
