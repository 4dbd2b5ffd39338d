"""InsightFace's own class for recognition networks, `ArcFaceONNX`, taken out of a clone of it at run time."""

import subprocess
import types
from typing import Any

FILE = "python-package/insightface/model_zoo/arcface_onnx.py"


def arcface_onnx(clone: str, path: str, threads: int) -> Any:
    """Open an ONNX network by InsightFace's class.

    Args:
        clone: a clone of https://github.com/deepinsight/insightface, bare or not; nothing of it is in this repository.
        path: the network.
        threads: of onnxruntime, and of OpenCV, which prepares the images.

    Returns:
        An `ArcFaceONNX`.
    """
    import cv2
    import onnxruntime

    shown = subprocess.run(["git", "-C", clone, "show", f"HEAD:{FILE}"], capture_output=True, text=True, check=True)
    # Alignment, which the class imports from its package, is no part of what is measured.
    source = shown.stdout.replace("from ..utils import face_align\n", "")
    module = types.ModuleType("arcface_onnx")
    exec(compile(source, FILE, "exec"), module.__dict__)
    cv2.setNumThreads(threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return module.ArcFaceONNX(path, session)
