"""Value and gradient of the authors' DDL, read from their file; runs under an interpreter with torch and NumPy.

It takes the rows of each group to mine negatives from, and the rows of the positive pairs. Two images of an identity
are one pair, so that the pairs are views of the rows; of more images all pairs are gathered.
"""

import importlib.util
import json
import sys

import numpy as np
import torch
from ddl_measuring import make_rows, serve

settings = json.loads(sys.argv[1])
torch.set_num_threads(settings["threads"])
spec = importlib.util.spec_from_file_location("theirs", settings["theirs"])
theirs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(theirs)
ddl = theirs.DDL()


class Batch:
    """A batch, and a step on it."""

    def __init__(self, rows: int) -> None:
        per = settings["per_identity"]
        embeddings, _, group = make_rows(rows, per, settings["dim"])
        self._groups = [torch.tensor(embeddings[group == number], requires_grad=True) for number in (0, 1)]
        first, second = np.triu_indices(per, 1)
        starts = np.arange(0, rows // 2, per)[:, np.newaxis]
        self._pairs = [torch.tensor((starts + end).ravel()) for end in (first, second)]
        if per == 2:
            self._pairs = [slice(0, None, 2), slice(1, None, 2)]

    def step(self) -> None:
        """Forward and backward."""
        for group in self._groups:
            group.grad = None
        loss, _, _ = ddl(self._groups, *([group[end] for group in self._groups] for end in self._pairs))
        loss.backward()


serve(Batch(16).step, Batch(settings["rows"]).step)
