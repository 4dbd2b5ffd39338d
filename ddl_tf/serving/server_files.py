"""Configuration files for TensorFlow Serving, beside the models that it shall serve."""

import re
from pathlib import Path

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.serving.warmup import BATCH_SIZES

MODELS, BATCHING, MONITORING = "models.config", "batching_parameters.txt", "monitoring.config"
# A server reads it from the folder of a version.
OWN_BATCHING = "batching_params.pbtxt"

_SIZES = "".join(f"allowed_batch_sizes: {size}\n" for size in BATCH_SIZES)
_BATCHING_TEXT = f"""\
# How the server puts requests together: --enable_batching --batching_parameters_file=...
# Models exported with `search` cannot be batched; add --enable_per_model_batching_params to leave them out.
max_batch_size {{ value: {BATCH_SIZES[-1]} }}
# How long a request may wait for others.
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 100 }}
# Those that the model is warmed up for; the last must be max_batch_size.
{_SIZES}\
# Padding would add black borders to images, which changes their embeddings.
pad_variable_length_inputs: false
"""
_MONITORING_TEXT = """\
# Metrics for Prometheus, on the port of REST: --monitoring_config_file=...
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def write_own_batching(version: Path) -> None:
    """Let a server with `--enable_per_model_batching_params` batch a model, in the folder of its version."""
    (version / OWN_BATCHING).write_text(_BATCHING_TEXT, encoding="utf-8")


def exported_names(directory: str) -> list[str]:
    """Return the sorted names of the models that were exported to a folder."""
    files = Path(directory).glob("*/*/saved_model.pb")
    return sorted({file.parent.parent.name for file in files if file.parent.name.isdecimal()})


def _model_text(name: str, server_path: str) -> str:
    return f"""\
  config {{
    name: "{name}"
    base_path: "{server_path.rstrip("/")}/{name}"
    model_platform: "tensorflow"
  }}
"""


def _models_text(found: str, names: list[str], server_path: str, file: Path) -> str:
    """The list with the names that it lacks; what somebody wrote into it stays."""
    listed = set(re.findall(r"\bname\s*:\s*[\"']([^\"']+)[\"']", found))
    missing = "".join(_model_text(name, server_path) for name in names if name not in listed)
    if not found.strip():
        return f"model_config_list {{\n{missing}}}\n"
    if not missing:
        return found
    end = found.rstrip()
    if not re.search(r"\bmodel_config_list\s*:?\s*\{", found) or not end.endswith("}"):
        raise InputError(f"{file}: no list of models that could be added to; move it away, and export writes a new one")
    return f"{end[:-1].rstrip()}\n{missing}}}\n"


def write_server_files(directory: str, server_path: str = "/models") -> list[Path]:
    """Write the configuration of a server of all models in a folder; existing files stay.

    - `models.config` lists the models; names that it lacks are added.
    - `batching_parameters.txt` has the batch sizes that the models are warmed up for.
    - `monitoring.config` turns the metrics on.

    Args:
        directory: the folder of all exported models.
        server_path: where the server sees that folder.

    Returns:
        The three files.

    Raises:
        InputError: if the existing `models.config` has no list of models.
    """
    folder = Path(directory)
    models = folder / MODELS
    found = models.read_text(encoding="utf-8") if models.exists() else ""
    texts = {
        models: _models_text(found, exported_names(directory), server_path, models),
        folder / BATCHING: _BATCHING_TEXT,
        folder / MONITORING: _MONITORING_TEXT,
    }
    for file, text in texts.items():
        if file == models or not file.exists():
            with write_aside(file) as aside:
                aside.write_text(text, encoding="utf-8")
    return list(texts)
