"""What every evaluating command shares: the source of embeddings, and the place of results."""

import csv
import dataclasses
import functools
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
import pandas as pd

import ddl_tf
from ddl_tf import evaluation
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.progress import Progress
from ddl_tf.common.provenance import command_line, package_versions, utc_now
from ddl_tf.common.settings import setting
from ddl_tf.evaluation import embedding_file
from ddl_tf.evaluation.reports import json_line, results_text
from ddl_tf.evaluation.stored import IMAGES, Outcome, forget_result, read_embeddings, write_outcome
from ddl_tf.importers.image_files import fingerprint_images
from ddl_tf.importers.problem_list import ProblemsError
from ddl_tf.metrics.bootstrap import check_replicates
from ddl_tf.metrics.error_rates import with_failures
from ddl_tf.models.model_choice import model_file
from ddl_tf.runtimes.embedders import MEAN_HELP, ORDER_HELP, ORDERS
from ddl_tf.runtimes.views import UndecodableError, add_views, check_finite

if TYPE_CHECKING:
    import tensorflow as tf

# The settings that say where embeddings come from; --list_images wants none.
SOURCES = ("model", "embeddings", "list_images")
# Part of what stored embeddings follow from: those of another decoder are made anew.
DECODER = "INTEGER_ACCURATE, upright"


@dataclasses.dataclass
class EvaluationSettings:
    """What every evaluating command shares; the settings of a protocol inherit these fields."""

    model: str = setting(
        "",
        "A .keras checkpoint, the folder of a training run, or of an exported model's version; an ONNX network "
        "(.onnx); an OpenVINO network (.xml); a TensorFlow Lite model (.tflite); a PyTorch state dict of InsightFace "
        "(.pth, .pt; needs --backbone).",
    )
    backbone: Optional[str] = setting(None, "What a PyTorch state dict is of: iresnet18|34|50|100 or mobilefacenet.")
    input_mean: Optional[float] = setting(None, MEAN_HELP)
    input_scale: Optional[float] = setting(None, "See --input_mean.")
    input_order: str = setting("rgb", ORDER_HELP, choices=ORDERS)
    embeddings: list[str] = setting(
        [],
        "Embeddings made elsewhere instead of --model: for each set in order a .npy file, [images, dim] or "
        "[images, 2, dim] with those of the mirrored images, in the order that --list_images tells.",
    )
    batch_size: int = setting(64, "Images a step; with --flip the model gets twice as many rows.")
    flip: bool = setting(True, "Add the embedding of the mirrored image, as InsightFace does.")
    replicates: int = setting(1000, "Bootstrap replicates of the 95% intervals; 0 for no intervals.")
    seed: int = setting(0, "Seed of the bootstrap.")
    store: Optional[str] = setting(
        None, "Keep embeddings, scores and results in this folder, a folder a set; embeddings that are there are used."
    )
    output: Optional[str] = setting(None, "Also write the results to this JSON file.")
    problems: Optional[str] = setting(None, "If a set is refused, list all that is wrong with it in this CSV file.")
    list_images: Optional[str] = setting(
        None, "Only write the images of each set, in the order of their embeddings, to SET.csv in this folder."
    )


class Session:
    """One call of an evaluating command; `sources` are the settings of which one names the embeddings."""

    def __init__(self, settings: EvaluationSettings, sources: Sequence[str] = SOURCES) -> None:
        chosen = [name for name in sources if getattr(settings, name)]
        if not chosen:
            raise InputError(f"--model is missing; give one of --{', --'.join(sources)}; see --help")
        if len(chosen) > 1:
            raise InputError(f"--{' and --'.join(chosen)} together: give one of them")
        if not settings.model:
            for flag in ("backbone", "input_mean", "input_scale", "input_order"):
                if getattr(settings, flag) != getattr(EvaluationSettings, flag):
                    raise InputError(f"--{flag} is for --model, and has no use with --{chosen[0]}; leave --{flag} out")
        if settings.batch_size < 1:
            raise InputError(f"--batch_size={settings.batch_size}: must be at least 1")
        if settings.replicates:
            check_replicates(settings.replicates)
        for path in settings.embeddings:
            if Path(path).suffix != ".npy":
                raise InputError(f"--embeddings={path}: the name must end in .npy")
        self._settings = settings
        self._given = list(settings.embeddings)
        # Whether the images are read; with --embeddings only their names count.
        self.needs_images = bool(settings.model)
        self._sources: dict[str, dict[str, Any]] = {}
        # How many embeddings of a set there are, and how many of them are zero.
        self._embedded: dict[str, tuple[int, int]] = {}
        self._results: list[dict[str, Any]] = []

    @contextmanager
    def listing_problems(self) -> Iterator[None]:
        """List what is wrong with a set in the file of --problems when the block refuses it."""
        try:
            yield
        except ProblemsError as error:
            if not self._settings.problems:
                raise InputError(f"{error} (--problems=FILE.csv lists all)") from None
            with write_aside(Path(self._settings.problems)) as aside, aside.open("w", newline="") as out:
                table = csv.writer(out)
                table.writerow(["kind", "source", "reason"])
                table.writerows([problem.kind, problem.source, problem.reason] for problem in error.problems)
            raise InputError(f"{error} (all are listed in {self._settings.problems})") from None

    @functools.cached_property
    def _model(self) -> "tf.keras.Model":
        """The model, loaded when it is first needed."""
        path, names = self._settings.model, ("backbone", "input_mean", "input_scale", "input_order")
        return evaluation.load_embedding_model(path, *(getattr(self._settings, name) for name in names))

    def list_images(self, name: str, images: Sequence[bytes], *described: Any) -> None:
        """Write the images of a set, described as for `views`, in the folder of --list_images."""
        _write_table(Path(str(self._settings.list_images)) / f"{name}.csv", _table(images, *described))

    def views(self, name: str, images: Sequence[bytes], *described: Any) -> np.ndarray:
        """Give the embeddings of a set, `[images, views, dim]`: from --embeddings, from --store, or from the model.

        Encoded `images` are described by their names (or None: by numbers), and by further columns to store with them,
        a row for each image. There are two views with --flip, if the source has two.
        """
        table = _table(images, *described)
        try:
            views = (self._given_views if self._settings.embeddings else self._model_views)(name, images)
        except UndecodableError as error:
            raise InputError(f"{name}: {table['key'][error.position]}: {error}; replace it or remove it") from None
        if self._settings.store:
            _write_table(Path(self._settings.store) / name / IMAGES, table)
        used = views if self._settings.flip else views[:, :1]
        zeros = embedding_file.zero_rows(used)
        if len(zeros) == len(used) > 0:
            raise InputError(f"{name}: all {len(used):,} embeddings are zero, so none can be compared; make them again")
        self._embedded[name] = len(used), len(zeros)
        if len(zeros):
            # They match nobody, and a number must not hide them.
            print(
                f"{name}: {len(zeros):,} of {len(used):,} embeddings are all zero, as where no face was found: "
                f"{embedding_file.row_list(zeros)}. They are like nobody; the results count them as failed_images.",
                file=sys.stderr,
            )
        return used

    def unit(self, name: str, images: Sequence[bytes], *described: Any) -> np.ndarray:
        """Give the embeddings of a set as `views`, added up and scaled to unit norm: `[images, dim]` float32."""
        return np.concatenate(list(self.unit_blocks(name, images, *described)))

    def unit_blocks(self, name: str, images: Sequence[bytes], *described: Any) -> Iterator[np.ndarray]:
        """Give the embeddings of a set as `unit`, a block of rows at a time; at least one block, also of no images."""
        views = self.views(name, images, *described)
        for start in range(0, max(len(views), 1), embedding_file.CHUNK):
            yield add_views(views[start : start + embedding_file.CHUNK])

    def _given_views(self, name: str, images: Sequence[bytes]) -> np.ndarray:
        if not self._given:
            raise InputError(f"--embeddings: none left for the set {name}; give a .npy file for each set, in order")
        path, count = self._given.pop(0), len(images)
        views = read_embeddings(path)
        if len(views) != count:
            raise InputError(f"{path}: {len(views):,} embeddings, but {name} has {count:,} images; see --list_images")
        embedding_file.check_given(views, path)
        digest = embedding_file.fingerprint(Path(path))
        self._sources[name] = {"embeddings": str(Path(path).resolve()), "sha256": digest}
        return views

    def _model_views(self, name: str, images: Sequence[bytes]) -> np.ndarray:
        model, settings = self._model, self._settings
        file = model_file(settings.model)
        self._sources[name] = {"model": str(file.resolve()), "sha256": embedding_file.fingerprint(file)}
        if hasattr(model, "runtime"):
            self._sources[name]["runtime"] = model.runtime
        if not settings.store:
            with Progress(name, len(images)) as progress:
                views = evaluation.embed.predict_embeddings(model, images, settings.flip, settings.batch_size, progress)
            check_finite(views, name)
            return views
        folder = Path(settings.store) / name
        # What is not given follows from the model's file, whatever that says.
        preprocessing = [settings.backbone, settings.input_mean, settings.input_scale, settings.input_order, DECODER]
        record = {
            "model": embedding_file.recorded_fingerprint(folder, file),
            "preprocessing": preprocessing,
            "images": fingerprint_images(images),
        }
        num_views = embedding_file.stored_views(folder, record)
        if not num_views:
            forget_result(folder)
        # Without --flip the first of two stored views is what is needed.
        flip = settings.flip or num_views == 2
        embedding_file.embed_to_file(model, images, flip, folder, record, settings.batch_size, name)
        return read_embeddings(str(folder / embedding_file.EMBEDDINGS))

    def add(self, outcome: Outcome) -> None:
        """Take the outcome of a set, and store it with --store."""
        name = outcome.result["set"]
        # MegaFace has two sets of images, `megaface_...`.
        parts = [part for part in self._sources if part.startswith(f"{name}_")]
        known = [self._embedded.get(part, (0, 0)) for part in (name, *parts)]
        embedded, failed = map(sum, zip(*known))
        result = {**outcome.result, "failed_images": failed} if failed else outcome.result
        outcome = dataclasses.replace(outcome, result=with_failures(result, embedded, failed))
        self._results.append(outcome.result)
        if self._settings.store:
            provenance = {
                **self._sources.get(name, {part: self._sources[part] for part in parts}),
                "flip": self._settings.flip,
                "command": command_line(),
                "date": utc_now(),
                "versions": {
                    "ddl_tf": ddl_tf.__version__,
                    **package_versions(("tensorflow", "tensorflow-cpu", "numpy")),
                },
            }
            write_outcome(Path(self._settings.store) / name, outcome, provenance)

    def close(self) -> None:
        """Write and print the results: a table on stderr, a line of JSON for each set on stdout."""
        if self._given:
            raise InputError(f"--embeddings={self._given[0]}: there is no set left for it; give one file for each set")
        if self._settings.output:
            report = {"model": self._settings.model, "flip": self._settings.flip, "sets": self._results}
            with write_aside(Path(self._settings.output)) as aside:
                aside.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        if self._results:
            print(results_text(self._results), file=sys.stderr)
            print(*map(json_line, self._results), sep="\n")


def _table(
    images: Sequence[bytes], keys: Optional[Sequence[str]] = None, columns: Optional[pd.DataFrame] = None
) -> pd.DataFrame:
    table = pd.DataFrame({"key": keys if keys is not None else [str(number) for number in range(len(images))]})
    return table if columns is None else pd.concat([table, columns.reset_index(drop=True)], axis=1)


def _write_table(file: Path, table: pd.DataFrame) -> None:
    with write_aside(file) as aside:
        table.to_csv(aside, index=False)
