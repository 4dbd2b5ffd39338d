"""A model card: what a run folder and a stored evaluation say of a served model, and what is not known of it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file
from ddl_tf.common.markdown import DASH, markdown_table
from ddl_tf.evaluation.reports import flat_numbers
from ddl_tf.evaluation.stored import IMAGES, StoredEvaluation
from ddl_tf.images.pillow_images import MAX_PIXELS
from ddl_tf.reporting.numbers import interval_of, is_countable
from ddl_tf.serving.threshold import MIN_ACCEPTED

CARD = "model_card.md"
# A column of more values than this, such as a name, is no group; a group of fewer pairs has no rate.
_MAX_GROUPS, _MIN_PAIRS = 8, 30
# Of the settings of a run.
SETTINGS = (
    *("backbone", "head", "margin", "scale", "embedding_loss", "embedding_weight", "image_size", "shuffled_rows"),
    *("rows_per_group", "pairs_per_group", "optimizer", "learning_rate", "epochs", "seed"),
)


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return markdown_table(pd.DataFrame(rows, columns=list(heads), dtype=object))


def _percent(value: Optional[float]) -> str:
    return DASH if value is None else f"{100 * value:.2f} %"


def _read_json(file: Path) -> dict[str, Any]:
    require_regular_file(file)
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{file}: cannot be read for the model card ({error}); put a copy of it back") from None


def _training(checkpoint: Optional[str]) -> Iterator[str]:
    yield "## Training data"
    folder = Path(checkpoint or "").parent
    run = folder.parent
    if checkpoint is None or folder.name != "checkpoints" or not (run / "settings.json").is_file():
        yield "The checkpoint is in no run folder: nothing is known here of how and on what it was trained."
        return
    settings = _read_json(run / "settings.json")
    rows = []
    for path in settings.get("train_data", []):
        file = Path(path) / "dataset.json"
        facts = _read_json(file) if file.is_file() else {}
        counts = [f"{facts[key]:,}" for key in ("images", "identities")] if facts else ["not there any more", ""]
        rows.append([f"`{path}`", *counts, facts.get("made_by", {}).get("source", "")])
    heads = ["set", "images", "identities", "source"]
    yield _table(heads, rows) if rows else "The settings of the run name no training set."
    yield "## Training"
    settled = [name for name in SETTINGS if settings.get(name) is not None]
    known = [[name.replace("_", " ").capitalize(), settings[name]] for name in settled]
    if (run / "log.csv").is_file():
        known.append(["Epochs in the log", len(pd.read_csv(run / "log.csv"))])
    yield _table(["what", "value"], [*known, ["Run folder", f"`{run}`"]])


def _rate(result: dict[str, Any], number: str) -> str:
    if not is_countable(result, number):
        return "too few pairs"
    ends = interval_of(result, number)
    interval = f" [{100 * ends[0]:.2f}, {100 * ends[1]:.2f}]" if ends else ""
    return _percent(flat_numbers(result).get(number)) + interval


def _results(stored: StoredEvaluation) -> Iterator[str]:
    yield "## Results"
    results = {name: stored.result(name) for name in stored.sets}
    pairs = {name: result for name, result in results.items() if result.get("protocol") == "pairs"}
    if pairs:
        numbers = {"accuracy": "accuracy", "tar@1e-2": "TAR at FAR 1e-2", "tar@1e-3": "TAR at FAR 1e-3"}
        numbers["eer"] = "equal error rate"
        rates = {name: [_rate(result, number) for number in numbers] for name, result in pairs.items()}
        rows = [[name, f"{result['pairs']:,}", *rates[name]] for name, result in pairs.items()]
        yield _table(["set", "pairs", *numbers.values()], rows)
        yield "In brackets: 95 % intervals, where the evaluation has them."
    for name, result in results.items():
        if name not in pairs:
            yield f"### {name} ({result.get('protocol')})"
            numbers = flat_numbers(result)
            texts = [f"{value:.4g}" if isinstance(value, float) else f"{value:,}" for value in numbers.values()]
            yield _table(["what", "value"], list(zip((name.replace("@", " ") for name in numbers), texts)))


def _rates(scores: dict[str, np.ndarray], chosen: np.ndarray, threshold: float) -> list[str]:
    """The number of different and same pairs, and the share of each that is decided wrongly."""
    accepted = scores["similarity"].astype(np.float32) >= np.float32(threshold)
    cells = []
    for same, wrong in ((False, accepted), (True, ~accepted)):
        decided = wrong[chosen & (scores["same"].astype(bool) == same)]
        few = len(decided) < _MIN_PAIRS
        cells += [f"{len(decided):,}", "too few" if few else _percent(float(decided.mean()))]
    return cells


_RATE_HEADS = ["different pairs", "of them accepted", "same pairs", "of them rejected"]


def _groups_of_set(stored: StoredEvaluation, name: str, threshold: Optional[float]) -> Iterator[str]:
    scores, result = stored.scores(name), stored.result(name)
    value = result.get("threshold") if threshold is None else threshold
    # Other protocols have pairs of templates, which are no rows of the table of images.
    of_images = result.get("protocol") == "pairs" and {"similarity", "same", "first", "second"} <= scores.keys()
    if value is None or not of_images or not (stored.path / name / IMAGES).is_file():
        return
    images = stored.images(name).drop(columns=["key", "person"], errors="ignore").select_dtypes(exclude="floating")
    for column in (column for column in images if 2 <= images[column].nunique() <= _MAX_GROUPS):
        groups = images[column].astype(str).to_numpy()
        first, second = groups[scores["first"]], groups[scores["second"]]
        both = {name: (first == name) & (second == name) for name in np.unique(groups)}
        rows = [[f"both {name}", *_rates(scores, pairs, value)] for name, pairs in both.items()]
        rows.append(["one of each", *_rates(scores, first != second, value)])
        yield f"### {name}, by {column}, at a similarity of {value:.4f}"
        yield _table([column, *_RATE_HEADS], rows)


def _threshold(chosen: Optional[dict[str, Any]], stored: Optional[StoredEvaluation]) -> Iterator[str]:
    yield "## Threshold"
    if chosen is None:
        yield "None: the model gives similarities and decides nothing (it has no signature `verify`)."
        return
    measured = chosen["evaluation"]
    yield (
        f"`verify` says that two images show one person from a cosine similarity of {chosen['value']:.4f} on. It was "
        f"chosen on {chosen['set']} for a false accept rate of at most {chosen['far']:g}. There it accepts "
        f"{_percent(measured.get('far'))} of {measured.get('different', 0):,} different pairs and "
        f"{_percent(measured.get('tar'))} of {measured.get('same', 0):,} same pairs."
    )
    if stored is None:
        return
    rows = []
    for name in stored.sets:
        scores = stored.scores(name)
        if {"similarity", "same"} <= scores.keys():
            rows.append([name, *_rates(scores, np.ones(len(scores["same"]), bool), chosen["value"])])
    yield _table(["set", *_RATE_HEADS], rows)


def _use(description: dict[str, Any]) -> Iterator[str]:
    decides = "; decide whether two of them show one person (`verify`)" if description["threshold"] else ""
    yield "## Intended use"
    yield (
        f"Compare faces: embeddings of length {description['dim']}, whose dot product is the cosine similarity of two "
        f"faces{decides}. Images are aligned faces, as in training; the model neither finds nor aligns faces."
    )
    yield "Not for: telling age, sex, origin or mood; telling a face from a photograph of one (no liveness check)."


def _limits(chosen: Optional[dict[str, Any]], stored: Optional[StoredEvaluation]) -> Iterator[str]:
    yield "## Limits"
    lines = [
        "What was measured holds for people and images like those of the sets above, and for nothing else.",
        "Similarities are of this model with this way of mirroring; thresholds of other models do not apply.",
        f"Images of more than {MAX_PIXELS:,} pixels, and what is neither JPEG nor PNG, are not decoded.",
    ]
    if stored is None:
        lines.append("No stored evaluation was given: how good the model is, is not known here.")
    different = chosen["evaluation"].get("different") if chosen else None
    if chosen and different:
        lines.append(
            f"{chosen['set']} has {different:,} different pairs: it says nothing of false accept rates below "
            f"{MIN_ACCEPTED / different:.2g}. In a search the chance of a false match grows with the gallery."
        )
    yield "\n".join(f"- {line}" for line in lines)


def _made_of(description: dict[str, Any], stored: Optional[StoredEvaluation]) -> Iterator[str]:
    height, width = description["input_size"]
    rows = [
        ["Name and version", f"{description['model']}, {description['version']}"],
        ["Exported", description["created"]],
        ["Checkpoint", f"`{description['checkpoint']}`" if description["checkpoint"] else "not known"],
        ["Input", f"{height} x {width} pixels, RGB"],
        ["Embedding", f"{description['dim']} numbers, unit norm"],
        ["Mirror image added", "yes" if description["flip"] else "no"],
        ["Versions", ", ".join(f"{name} {version}" for name, version in description["versions"].items())],
    ]
    if stored is not None:
        rows.append(["Stored evaluation", f"`{stored.path.resolve()}`"])
        for flip in (True, False):
            names = [name for name in stored.sets if stored.provenance(name).get("flip") is flip]
            if names:
                rows.append([f"Evaluated {'with' if flip else 'without'} the mirror image", ", ".join(names)])
    yield _table(["what", "value"], rows)


def model_card(description: dict[str, Any], evaluation: Optional[str] = None) -> str:
    """Write the card of an exported model, as Markdown.

    Args:
        description: of `read_description`. Its checkpoint leads to the run folder.
        evaluation: the folder of a stored evaluation of the model.

    Raises:
        InputError: if the evaluation or the run's files cannot be read.

    References:
        Mitchell et al., "Model Cards for Model Reporting", https://arxiv.org/abs/1810.03993
    """
    stored = StoredEvaluation(evaluation) if evaluation else None
    chosen = description["threshold"]
    parts = [f"# Model card: {description['model']}, version {description['version']}"]
    parts += [*_made_of(description, stored), *_use(description), *_training(description["checkpoint"])]
    if stored is not None:
        parts += _results(stored)
        value = chosen and chosen["value"]
        groups = [part for name in stored.sets for part in _groups_of_set(stored, name, value)]
        unknown = "how the errors differ between groups of people or of conditions is not known."
        parts += ["## By group", *(groups or [f"The stored evaluation has no groups of images: {unknown}"])]
    return "\n\n".join([*parts, *_threshold(chosen, stored), *_limits(chosen, stored)]) + "\n"
