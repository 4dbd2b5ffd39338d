"""Evaluate a model on verification sets.

    python -m ddl_tf.evaluate --model=runs/ddl --bin=lfw_dev.bin --cfp_root=cfp --cfp_folds=4,5

prints one JSON object per set on the last lines of its output, in the order .bin files, CFP, LFW, stored sets, each
in the order given. A table and the progress go to stderr.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Optional

import numpy as np

from ddl_tf import command
from ddl_tf.errors import InputError
from ddl_tf.evaluation.embed import embed_images
from ddl_tf.evaluation.model import load_embedding_model
from ddl_tf.evaluation.pairs import pair_similarities, verify
from ddl_tf.evaluation.plots import Similarities, check_format, verification_figure
from ddl_tf.evaluation.reports import json_line, results_table
from ddl_tf.evaluation.sets import VerificationSets, load_sets
from ddl_tf.files import write_aside
from ddl_tf.settings import setting


@dataclasses.dataclass
class EvaluateSettings(VerificationSets):
    """What to evaluate, on which sets, and what to write."""

    model: str = setting("", "A .keras checkpoint, the folder of a training run, or of an exported model's version.")
    batch_size: int = setting(64, "Images a step; with --flip the model gets twice as many rows.")
    flip: bool = setting(True, "Add the embedding of the mirrored image, as InsightFace does.")
    output: Optional[str] = setting(None, "Also write the results to this JSON file.")
    plot: Optional[str] = setting(None, "Draw ROC and similarities of every set to this file (.png, .pdf or .svg).")
    embeddings: Optional[str] = setting(None, "Store embeddings and pairs of every set in this .npz file.")


def main(settings: EvaluateSettings) -> None:
    """Evaluate a model on verification sets."""
    if not settings.model:
        raise InputError("--model is missing; see --help")
    if settings.batch_size < 1:
        raise InputError(f"--batch_size={settings.batch_size}: must be at least 1")
    # Before the work, not after it.
    if settings.plot:
        check_format(settings.plot)
    if settings.embeddings and Path(settings.embeddings).suffix != ".npz":
        raise InputError(f"--embeddings={settings.embeddings}: the name must end in .npz")
    sets = load_sets(settings)
    if not sets:
        raise InputError("no verification set: name one with --bin, --cfp_root, --lfw_root and --lfw_pairs, or --pairs")
    model = load_embedding_model(settings.model)

    results, similarities, arrays = [], [], {}
    for one in sets:
        embeddings = embed_images(model, one.images, one.name, settings.flip, settings.batch_size)
        results.append(verify(one, embeddings))
        similarities.append(Similarities(one.name, pair_similarities(one, embeddings), np.asarray(one.same)))
        columns = {
            "embeddings": embeddings,
            "first": one.first,
            "second": one.second,
            "same": one.same,
            "fold": one.fold,
        }
        arrays.update({f"{one.name}/{column}": values for column, values in columns.items()})

    if settings.output:
        report = {"model": settings.model, "flip": settings.flip, "sets": results}
        with write_aside(Path(settings.output)) as aside:
            aside.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if settings.plot:
        with write_aside(Path(settings.plot)) as aside:
            verification_figure(similarities).savefig(aside)
    if settings.embeddings:
        with write_aside(Path(settings.embeddings)) as aside:
            np.savez(aside, **arrays)
    print(results_table(results), file=sys.stderr)
    print(*map(json_line, results), sep="\n")


if __name__ == "__main__":
    command.run(main, EvaluateSettings)
