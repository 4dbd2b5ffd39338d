"""Modules of InsightFace's arcface_torch, taken out of a clone of it at run time; needs Python and git alone."""

import subprocess
import types

FOLDER = "recognition/arcface_torch"


def arcface_torch(clone: str, file: str) -> types.ModuleType:
    """Read one module.

    Args:
        clone: a clone of https://github.com/deepinsight/insightface, bare or not; nothing of it is in this repository.
        file: in its folder of arcface_torch, such as "partial_fc_v2.py"; one that imports nothing else from there.

    Returns:
        The module.
    """
    shown = subprocess.run(
        ["git", "-C", clone, "show", f"HEAD:{FOLDER}/{file}"], capture_output=True, text=True, check=True
    )
    module = types.ModuleType(file.removesuffix(".py").replace("/", "."))
    exec(compile(shown.stdout, file, "exec"), module.__dict__)
    return module
