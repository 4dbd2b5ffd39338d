"""Prove that a running model server gives the model's own embeddings.

    python -m ddl_tf.serve_check --url=grpc://localhost:8500 --model=faces --saved_model=saved_models/faces/1

waits until the model is available, sends synthetic faces through every signature of the SavedModel, and compares what
comes back with what the SavedModel gives when it is loaded here. The exit code is 0 only if all agree. OpenVINO Model
Server, which serves files of `python -m ddl_tf.convert`, is checked by `--network=converted/faces/model_int8.xml`.
"""

import dataclasses
import statistics
import sys
from pathlib import Path
from typing import Any, Optional

import pandas as pd

from ddl_tf import serving
from ddl_tf.client.client import Client, wait_until_available
from ddl_tf.client.errors import ServingError
from ddl_tf.common import command
from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.settings import required, setting


@dataclasses.dataclass
class ServeCheckSettings:
    """Which server, and what it is compared with."""

    url: str = setting("", "The server: grpc://host:8500, grpcs://, http://host:8501 or https://.")
    model: str = setting("", "The name that the model is served by.")
    saved_model: Optional[str] = setting(None, "The version folder that it shall serve, such as saved_models/faces/1.")
    network: Optional[str] = setting(
        None,
        "Instead of --saved_model: the OpenVINO or ONNX file that it shall serve, of `python -m ddl_tf.convert`; its "
        "int8 may need a higher --tolerance on another CPU.",
    )
    version: Optional[int] = setting(None, "The version to ask for; the server's latest one if not given.")
    images: int = setting(32, "Synthetic faces to send through each signature.")
    batch: int = setting(8, "Faces in one request.")
    tolerance: float = setting(1e-4, "The largest difference of a number of an embedding or similarity.")
    timeout: float = setting(30.0, "Seconds for one request.")
    wait: float = setting(60.0, "Seconds to wait until the model is available.")
    certificates: Optional[str] = setting(None, "For TLS: a PEM file of root certificates to trust.")


def _row(result: "serving.check.Compared") -> dict[str, str]:
    times = [1000 * seconds for seconds in result.seconds] or [float("nan")]
    cells = {"signature": result.signature, "rows": str(result.rows), "difference": f"{result.difference:.1e}"}
    cells |= {"decisions": str(result.decisions), "median ms": f"{statistics.median(times):.1f}"}
    return {**cells, "longest ms": f"{max(times):.1f}"}


def _subject(settings: ServeCheckSettings) -> str:
    return str(settings.saved_model or settings.network)


def _reason(results: list["serving.check.Compared"], settings: ServeCheckSettings, version: int) -> str:
    for result in (result for result in results if not result.agrees(settings.tolerance)):
        if result.refused:
            return f"{result.signature}: {result.refused}"
        folder = Path(settings.saved_model or "").name
        versions = f"; the server has version {version}" if folder.isdecimal() and int(folder) != version else ""
        return (
            f"{settings.url}, model {settings.model}: {result.signature} differs from {_subject(settings)} by up to "
            f"{result.difference:.1e} (--tolerance={settings.tolerance:g}) and in {result.decisions} decisions: is it "
            f"the same export{versions}?"
        )
    return ""


def main(settings: ServeCheckSettings) -> int:
    """Check a server."""
    required(settings, "url", "model")
    if bool(settings.saved_model) == bool(settings.network):
        raise InputError("--saved_model and --network: give one of the two, what the server shall serve")
    if settings.images < 1:
        raise InputError(f"--images={settings.images}: must be at least 1")
    if not settings.tolerance >= 0:
        raise InputError(f"--tolerance={settings.tolerance}: must be at least 0")
    kind = serving.check.Reference if settings.saved_model else serving.check.NetworkReference
    # What is wrong with it is said before there is a server to wait for.
    reference = kind(_subject(settings))
    counts = (settings.images, settings.batch, settings.tolerance)
    options: dict[str, Any] = {name: getattr(settings, name) for name in ("timeout", "batch", "certificates")}
    try:
        with Client(settings.url, settings.model, settings.version, **options) as client:
            version = wait_until_available(client, settings.wait)
            print(f"{settings.url} serves {settings.model}, version {version}")
            results = serving.check.compare_signatures(client, reference, *counts)
    except ServingError as error:
        raise InputError(str(error)) from None
    print(markdown_table(pd.DataFrame(map(_row, results))))
    reason = _reason(results, settings, version)
    if reason:
        sys.stdout.flush()
        print(f"python -m ddl_tf.serve_check: error: {reason}", file=sys.stderr)
        return 1
    print(f"all within {settings.tolerance:g} of {_subject(settings)}")
    return 0


if __name__ == "__main__":
    command.run(main, ServeCheckSettings)
