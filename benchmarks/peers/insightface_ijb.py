"""InsightFace's ijb_11.py and ijb_1n.py on embeddings that are there already: their statements, run from their files.

Their scripts embed with MXNet and are no modules. Of each, the functions and the statements after the embedding are
taken out of the file and run here; nothing of them is in this repository. What they print is caught and read.
"""

import ast
import contextlib
import io
import re
import time
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.matlib

OPTIONS = ("use_flip_test", "use_norm_score", "use_detector_score")


class Script:
    """One of their scripts.

    Args:
        path: the file.
        options: values of `OPTIONS`.
        names: of modules and what else the statements use.

    Attributes:
        names: everything that the statements have set so far.
        printed: what they have printed so far.
    """

    def __init__(self, path: Path, options: dict[str, bool], names: dict[str, Any]) -> None:
        self._path, self._options = path, options
        self.printed = ""
        tree = ast.parse(path.read_text(encoding="utf-8"))
        self._statements = [node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom))]
        main = [node for node in self._statements if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)]
        if main:
            self._statements += main[0].body
        self.names = {"np": np, **options, **names}
        self.run(lambda text, node: isinstance(node, ast.FunctionDef))

    def run(self, chosen: Any) -> None:
        """Run, in their order, the statements that are chosen by their text and node.

        Args:
            chosen: (text, node) -> whether to run a statement.
        """
        nodes = [node for node in self._statements if chosen(ast.unparse(node), node)]
        if not nodes:
            raise ValueError(f"{self._path}: has no such statement any more")
        caught = io.StringIO()
        with contextlib.redirect_stdout(caught), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(ast.Module(nodes, []), str(self._path), "exec"), self.names)
        self.printed += caught.getvalue()

    def run_option_branches(self) -> None:
        """Run the three statements that treat flip, norms and detection scores."""
        self.run(lambda text, node: isinstance(node, ast.If) and ast.unparse(node.test) in OPTIONS)


@contextlib.contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    stages[name] = time.perf_counter() - start


def verification(
    folder: Path,
    options: dict[str, bool],
    views: np.ndarray,
    faces: tuple[np.ndarray, np.ndarray, np.ndarray],
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> dict[str, Any]:
    """Run ijb_11.py.

    Args:
        folder: with both scripts.
        options: values of `OPTIONS`.
        views: `[images, 2, dim]` float32.
        faces: templates, medias and detection scores, each `[images]`.
        pairs: first and second template and label, each `[pairs]`.

    Returns:
        `score` `[pairs]`, `tar` at FAR 1e-6, ..., 1e-1, `printed` and the seconds of each of the `stages`.
    """
    import sklearn.preprocessing
    from sklearn.metrics import auc, roc_curve

    rows: list[list[str]] = []
    table = types.SimpleNamespace(add_row=rows.append)
    names = {
        "sklearn": sklearn,
        "auc": auc,
        "roc_curve": roc_curve,
        "templates": faces[0].astype(int),
        "medias": faces[1].astype(int),
        "faceness_scores": faces[2],
        # Theirs has both views in one row.
        "img_feats": views.reshape(len(views), -1),
        "p1": pairs[0].astype(int),
        "p2": pairs[1].astype(int),
        "label": pairs[2].astype(int),
        "tpr_fpr_table": table,
        "plt": mock.MagicMock(),
        "methods": ["scores"],
        "colours": {"scores": "black"},
        "target": "IJBC",
    }
    script = Script(folder / "ijb_11.py", options, names)
    stages: dict[str, float] = {}
    with _timed(stages, "templates"):
        script.run_option_branches()
        script.run(lambda text, node: "= image2template_feature(" in text and isinstance(node, ast.Assign))
    with _timed(stages, "pair similarities"):
        script.run(lambda text, node: text.startswith("score = verification("))
    script.names["scores"] = {"scores": script.names["score"]}
    with _timed(stages, "ROC and TAR"):
        script.run(lambda text, node: text.startswith("x_labels ="))
        script.run(lambda text, node: isinstance(node, ast.For) and "roc_curve" in text)
    # What they print has two digits; this is what they round.
    far, tar = script.names["fpr"], script.names["tpr"]
    exact = [float(tar[min(zip(abs(far - target), range(len(far))))[1]]) for target in script.names["x_labels"]]
    if [f"{100 * value:.2f}" for value in exact] != rows[0][1:]:
        raise AssertionError(f"{exact} is not what the script says, {rows[0]}")
    return {"score": script.names["score"], "tar": exact, "stages": stages, "printed": script.printed}


def identification(
    folder: Path,
    options: dict[str, bool],
    views: np.ndarray,
    faces: tuple[np.ndarray, np.ndarray, np.ndarray],
    gallery: tuple[np.ndarray, np.ndarray],
    probes: tuple[np.ndarray, np.ndarray],
) -> dict[str, Any]:
    """Run ijb_1n.py.

    Args:
        folder: with both scripts.
        options: values of `OPTIONS`.
        views: `[images, 2, dim]` float32.
        faces: templates, medias and detection scores, each `[images]`.
        gallery: templates and subjects of both galleries, each `[gallery]`.
        probes: templates and subjects, each `[probes]`.

    Returns:
        `rank`: the shares at rank 1, 5 and 10; `tpir` at 0.01 and 0.1; `printed` and the seconds of the `stages`.
    """
    import datetime
    import heapq
    import math

    names = {
        "heapq": heapq,
        "math": math,
        "dt": datetime.datetime,
        "total_templates": faces[0].astype(int),
        "total_medias": faces[1].astype(int),
        "faceness_scores": faces[2],
        "img_feats": views.reshape(len(views), -1),
        "gallery_templates": gallery[0].astype(int),
        "gallery_subject_ids": gallery[1].astype(int),
        "probe_mixed_templates": probes[0].astype(int),
        "probe_mixed_subject_ids": probes[1].astype(int),
    }
    np.matlib = numpy.matlib
    script = Script(folder / "ijb_1n.py", options, names)
    stages: dict[str, float] = {}
    with _timed(stages, "templates"):
        script.run_option_branches()
        script.run(lambda text, node: "= image2template_feature(" in text and isinstance(node, ast.Assign))
    with _timed(stages, "1:N"):
        copies = ("gallery_ids = ", "gallery_feats = ", "probe_ids = ", "probe_feats = ", "mask = ", "evaluation(")
        script.run(lambda text, node: text.startswith(copies))
    rates = re.findall(r"^top\d+ = (\S+)", script.printed, re.MULTILINE)
    tpir = re.findall(r"^far = \S+ pr = (\S+)", script.printed, re.MULTILINE)
    return {
        "rank": [float(value) for value in rates],
        "tpir": [float(value) for value in tpir],
        "stages": stages,
        "printed": script.printed,
    }
