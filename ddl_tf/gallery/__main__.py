"""Enrol people in a gallery and search it: `python -m ddl_tf.gallery COMMAND`.

    python -m ddl_tf.gallery enroll --gallery=people --model=saved_models/faces/1 --images=photos
    python -m ddl_tf.gallery search --gallery=people --model=saved_models/faces/1 --images=new --output=results.csv

The photos show aligned faces; of any others --detect finds the faces.
Photos that cannot be used are left out and listed at the end; the exit code is then 1.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd

import ddl_tf
from ddl_tf import serving
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.settings import required
from ddl_tf.common.text import csv_cell, visible
from ddl_tf.detection.choice import AGREED
from ddl_tf.gallery.embedder import PhotoEmbedder
from ddl_tf.gallery.enrolment_quality import EnrolmentQuality, failures_text
from ddl_tf.gallery.faces import FaceFinder, agreed_rows, shared_faces
from ddl_tf.gallery.gallery import Gallery, check_threshold, convert_gallery, rebuild_index
from ddl_tf.gallery.index import KINDS
from ddl_tf.gallery.photos import Photo
from ddl_tf.gallery.rows import ENTRIES
from ddl_tf.gallery.search import strangers_known
from ddl_tf.gallery.settings import (
    ConvertSettings,
    EnrollSettings,
    GallerySettings,
    PhotoSettings,
    ReindexSettings,
    RemoveSettings,
    SearchSettings,
)
from ddl_tf.gallery.store import check_free, is_gallery
from ddl_tf.gallery.tables import result_table, summary_table
from ddl_tf.importers.source import Problem
from ddl_tf.models.model_choice import is_exported, model_file
from ddl_tf.serving.description import DESCRIPTION, EXTRA, read_description

# Problems, and searched photos of those that a file lists too, which are shown.
_SHOWN = 20


def _embedder(settings: PhotoSettings, gallery: Optional[Gallery]) -> PhotoEmbedder:
    if gallery is None:
        return PhotoEmbedder(settings.model, settings.flip, settings.batch_size)
    record, flip = gallery.model, settings.flip
    if flip is None and not any(is_exported(Path(path)) for path in (settings.model, record.path)):
        flip = record.flip
    embedder = PhotoEmbedder(settings.model, flip, settings.batch_size)
    record.check_same(embedder.record, visible(gallery.folder))
    return embedder


def _report(problems: Sequence[Problem], total: int, file: Optional[str]) -> int:
    """Print which photos were left out; return the exit code."""
    if file:
        with write_aside(Path(file)) as aside:
            rows = [[csv_cell(cell) for cell in dataclasses.astuple(problem)] for problem in problems]
            pd.DataFrame(rows, columns=["kind", "source", "reason"]).to_csv(aside, index=False)
    if not problems:
        return 0
    kinds = Counter(problem.kind for problem in problems).most_common()
    counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds)
    print(f"left out {len(problems):,} of {total:,}: {counts}", file=sys.stderr)
    for problem in problems[:_SHOWN]:
        print(f"  {visible(str(problem))}", file=sys.stderr)
    if len(problems) > _SHOWN:
        where = f"all are listed in {visible(file)}" if file else "--problems=FILE.csv lists all"
        print(f"  and {len(problems) - _SHOWN:,} more; {where}", file=sys.stderr)
    return 1


def _size(description: Mapping[str, Any]) -> str:
    return f"{description['people']:,} people, {description['images']:,} images"


def _threshold_text(description: Mapping[str, Any]) -> str:
    chosen, people = description["threshold"], description["people"]
    if chosen is None:
        return "no threshold: nobody is known or unknown"
    text = f"known from a similarity of {chosen['value']:.4f} on"
    if not chosen.get("far") or not people:
        return text
    share, how = strangers_known(chosen["far"], people, description["images"], description["entries"])
    rate = f"false accept rate {chosen['far']:g} on {visible(str(chosen.get('set')))}"
    return f"{text} ({rate}: a stranger passes for one of {people:,} people {share:.2%} of the time {how})"


def enroll(settings: EnrollSettings) -> int:
    """Enrol people by their photos; a new gallery is made if there is none."""
    required(settings, "gallery", "model")
    photos, problems = settings.photos(of_people=True)
    total = len(photos) + len(problems)
    _check_threshold_flags(settings)
    quality = settings.enrolment_quality()
    gallery = _gallery_to_enroll(settings, photos)
    embedder = _embedder(settings, gallery)
    threshold = _threshold(settings, embedder.record.flip, gallery is None)
    already = 0
    if gallery is not None and settings.existing == "add":
        enrolled = gallery.enrolled([photo.person for photo in photos], [photo.path for photo in photos])
        photos, already = [photo for photo, known in zip(photos, enrolled) if not known], int(enrolled.sum())
    wanted = [photo.person for photo in photos]
    photos, embeddings, further = _embed_people(settings, embedder, photos, quality)
    people, sources = [photo.person for photo in photos], [photo.path for photo in photos]
    problems += further
    name = visible(settings.gallery)
    if quality is not None and wanted:
        before = [] if gallery is None else gallery.people()["person"].tolist()
        print(failures_text(wanted, [*people, *before], further))
    if gallery is None:
        if not people:
            print(f"{name}: no photo can be used, no gallery was made")
            return _report(problems, total, settings.problems)
        entries, index = settings.entries or ENTRIES[0], settings.index or KINDS[0]
        gallery = Gallery.create(settings.gallery, embedder.record, entries, index)
    # Another process may have enrolled the same people meanwhile; then the threshold stays too.
    with gallery.working():
        gallery.model.check_same(embedder.record, name)
        count = gallery.enrol(people, embeddings, sources, settings.existing)
        if threshold is not None:
            gallery.set_threshold(threshold)
        description = gallery.description
    more = f", {already:,} were there already" if already else ""
    print(f"{name}: enrolled {count:,} images of {len(set(people)):,} people{more}; it has {_size(description)} now")
    print(_threshold_text(description))
    return _report(problems, total, settings.problems)


def _embed_people(
    settings: EnrollSettings, embedder: PhotoEmbedder, photos: Sequence[Photo], quality: Optional[EnrolmentQuality]
) -> tuple[list[Photo], np.ndarray, list[Problem]]:
    """Embed the faces of people, one of each photo: photos, embeddings and problems as of `PhotoEmbedder.embed`."""
    choice = None if settings.face == AGREED else settings.face
    finder = FaceFinder(settings.detector(), settings.rules(), choice) if settings.detect else None
    faces, embeddings, problems, _ = embedder.embed(photos, "enroll", finder, quality)
    rows = list(range(len(faces)))
    if settings.detect:
        rows = rows if choice else agreed_rows(faces, embeddings)
        unclear = shared_faces([faces[row] for row in rows])
        names = {problem.source for problem in unclear}
        rows = [row for row in rows if faces[row].name not in names]
        problems = [*problems, *unclear]
    if quality is not None:
        # Of the faces that were chosen: a person's own poor face must not be replaced by another one beside it.
        good, poor = quality.refuse_poor([faces[row] for row in rows])
        rows, problems = [row for row, fine in zip(rows, good) if fine], [*problems, *poor]
    return [faces[row] for row in rows], embeddings[rows], problems


def _gallery_to_enroll(settings: EnrollSettings, photos: Sequence[Photo]) -> Optional[Gallery]:
    """Open the gallery, and refuse before the work what it will refuse; None if a new one can be made."""
    folder = Path(settings.gallery)
    if not is_gallery(folder):
        check_free(folder)
        return None
    gallery = Gallery(settings.gallery)
    gallery.check_new([photo.person for photo in photos], settings.existing)
    for name, advice in (("entries", "make another gallery"), ("index", "use `reindex`")):
        wanted, present = getattr(settings, name), gallery.description[name]
        if wanted not in (None, present):
            raise InputError(f"--{name}={wanted}: {visible(folder)} was made with {present}; leave it out, or {advice}")
    return gallery


def _check_threshold_flags(settings: EnrollSettings) -> None:
    flags = [name for name in ("evaluation", "threshold_set", "far") if getattr(settings, name) is not None]
    if 0 < len(flags) < 3:
        raise InputError(f"--{flags[0]}: a threshold takes --evaluation, --threshold_set and --far")
    check_threshold(settings.threshold)
    if settings.threshold is not None and flags:
        raise InputError(f"--threshold and --{flags[0]} together: give a threshold or how to choose it")


def _threshold(settings: EnrollSettings, flip: bool, new: bool) -> Optional[dict[str, Any]]:
    """The threshold that the flags ask for; without them, of a new gallery, that of an exported model."""
    if settings.threshold is not None:
        return {"value": settings.threshold, "source": "--threshold"}
    if settings.evaluation is not None and settings.threshold_set is not None and settings.far is not None:
        threshold = serving.choose_threshold(settings.evaluation, settings.threshold_set, settings.far)
        serving.check_same_model(threshold, model_file(settings.model), flip)
        return dataclasses.asdict(threshold)
    described = new and (Path(settings.model) / EXTRA / DESCRIPTION).is_file()
    return read_description(settings.model)["threshold"] if described else None


def search(settings: SearchSettings) -> int:
    """Find the most similar people of a gallery for each photo."""
    required(settings, "gallery", "model")
    if settings.k < 1:
        raise InputError(f"--k={settings.k}: must be at least 1")
    check_threshold(settings.threshold)
    photos, problems = settings.photos(of_people=False)
    total = len(photos) + len(problems)
    gallery = Gallery(settings.gallery)
    if settings.marked:
        ddl_tf.gallery.marking.check_marked(Path(settings.marked), settings.images)
    finder = FaceFinder(settings.detector(), settings.rules()) if settings.detect else None
    photos, embeddings, further, refused = _embedder(settings, gallery).embed(photos, "search", finder)
    matches = gallery.search(embeddings, settings.k, settings.threshold)
    if settings.output:
        with write_aside(Path(settings.output)) as aside:
            result_table(photos, matches, settings.detect).to_csv(aside, index=False)
    shown = photos[:_SHOWN] if settings.output else photos
    print(markdown_table(summary_table(shown, matches)))
    if len(shown) < len(photos):
        print(f"and {len(photos) - len(shown):,} more in {visible(settings.output or '')}")
    facts, threshold = gallery.description, settings.threshold
    text = _threshold_text(facts) if threshold is None else f"known from --threshold={threshold} on"
    print(f"\n{_size(facts)}; {text}")
    if settings.detect:
        rest = f"; not usable (unsure, too small or misshapen): {len(refused):,}" if refused else ""
        print(f"{len(photos):,} faces in {len({photo.path for photo in photos}):,} photos{rest}")
    if settings.marked:
        root = settings.images or os.path.dirname(settings.images_csv)
        marks = ddl_tf.gallery.marking.face_marks(photos, matches, refused)
        further += ddl_tf.gallery.marking.write_marked(Path(settings.marked), root, marks)
    return _report([*problems, *further], total, settings.problems)


def remove(settings: RemoveSettings) -> None:
    """Remove people and their images."""
    required(settings, "gallery", "person")
    gallery = Gallery(settings.gallery)
    count = gallery.remove(settings.person)
    print(f"{visible(settings.gallery)}: removed {count:,} images; it has {_size(gallery.description)} now")


def list_people(settings: GallerySettings) -> None:
    """Print what a gallery is, and who is in it."""
    required(settings, "gallery")
    gallery = Gallery(settings.gallery)
    facts, model, people = gallery.description, gallery.model, gallery.people()
    print(markdown_table(people.assign(person=people["person"].map(visible))))
    print(f"\n{_size(facts)}; searched: {facts['entries']}, {facts['index']}; {_threshold_text(facts)}")
    print(f"model {visible(model.path)}, sha256 {model.sha256[:12]}, {model.dim} values")


def reindex(settings: ReindexSettings) -> None:
    """Make the index of a gallery anew, or into the other kind."""
    required(settings, "gallery")
    rebuild_index(settings.gallery, settings.index)
    description = Gallery(settings.gallery).description
    print(f"{visible(settings.gallery)}: {_size(description)}; searched: {description['index']}")


def convert(settings: ConvertSettings) -> None:
    """Make a gallery of one of the older form, which has a gallery.json and stays as it is."""
    required(settings, "gallery", "old")
    convert_gallery(settings.old, settings.gallery)
    print(f"{visible(settings.gallery)}: {_size(Gallery(settings.gallery).description)}; {visible(settings.old)} stays")


COMMANDS = {
    **command.by_name(enroll, search, remove),
    "list": (list_people, GallerySettings),
    **command.by_name(reindex, convert),
}

if __name__ == "__main__":
    command.run_subcommands(COMMANDS)
