"""Find what is easy and what is hard, and write it into stored sets: `python -m ddl_tf.mine COMMAND`.

One command for each way of knowing what is hard: a column of the index (`rules`), measured image quality (`quality`), a
trained model's own view (`model`), or a degradation that is made (`degrade`). `clean`
finds what is wrong with images and labels, `select` makes a set of what is left, `pairs` arranges positive pairs, and
`batch` shows what training will see.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import pandas as pd

from ddl_tf import data, detection, evaluation, mining
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.partial_folder import discard
from ddl_tf.common.settings import refuse_ignored, required, setting
from ddl_tf.data import AugmentationSettings, Faces, StoreSettings, StreamSampler, write_set
from ddl_tf.data.settings import StreamSettings
from ddl_tf.mining import PairRules, Rule, mine_pairs, read_pairs, write_pairs
from ddl_tf.mining.cleaning import CLEAN_COLUMNS, CleanRules, find_faults
from ddl_tf.mining.columns import columns_table, write_columns
from ddl_tf.mining.degradation import STRENGTH_COLUMNS, degraded_source, parse_degradation
from ddl_tf.mining.groups import GroupRules, Groups, assign_groups, groups_table
from ddl_tf.mining.image_scan import PART_NAMES as SCAN_NAMES
from ddl_tf.mining.image_scan import scan_faces
from ddl_tf.mining.labels import LabelRules
from ddl_tf.mining.measuring import PART_NAMES, measure_faces, measure_learned
from ddl_tf.mining.pairs import CHOICES, DROPPED_PAIRS, POSITIVE_PAIRS, pairs_table
from ddl_tf.mining.selection import identity_names, merged_names, selected_source
from ddl_tf.runtimes.quality import QualityModelSettings

# Of the faces that `clean` looks for; one that is aligned has a box of 70 px and more.
_SMALLEST_FACE_PX = 40


@dataclasses.dataclass
class SetSettings:
    """The sets that a command works on."""

    data: list[str] = setting([], "Stored sets (made by ddl_tf.prepare), taken together; required.")
    seed: int = setting(0, "Seed of what is random.")

    def open(self) -> Faces:
        """Open the sets."""
        if not self.data:
            raise InputError("--data is missing: name stored sets (made by ddl_tf.prepare)")
        return Faces(self.data)

    @property
    def work(self) -> Path:
        """The folder for what is made on the way."""
        return Path(self.data[0]) / "mined"


@dataclasses.dataclass
class GroupSettings(SetSettings):
    """Which images become easy and hard, and the pictures to check it by."""

    easy: Optional[str] = setting(None, "Rule of the easy images, group 0, the teacher; such as `abs(yaw) < 15`.")
    hard: list[str] = setting([], "Rule of hard images: the first is group 1, the next 2, ...", repeated=True)
    noise: Optional[str] = setting(None, "Rule of likely label noise, which is neither easy nor hard.")
    plots: Optional[str] = setting(
        None, "Folder for contact sheet, distributions and table; default: mined/ in the set."
    )
    sheet_images: int = setting(10, "Images of each group on the contact sheet.")

    def rules(self) -> Optional[GroupRules]:
        """Read the rules; None if none is given."""
        if self.easy is None and not self.hard and self.noise is None:
            return None
        if self.easy is None or not self.hard:
            raise InputError("--easy and --hard go together (--noise is optional): give a rule for each")
        noise = None if self.noise is None else Rule(self.noise)
        return GroupRules(Rule(self.easy), [Rule(text) for text in self.hard], noise)


@dataclasses.dataclass
class QualitySettings(QualityModelSettings, GroupSettings):
    """Flags of `quality`."""


@dataclasses.dataclass
class ModelSettings(GroupSettings):
    """Flags of `model`."""

    model: Optional[str] = setting(None, "A .keras checkpoint, or the folder of a training run; required.")
    centers: str = setting(
        "mean",
        "Class centers: the mean embeddings of the identities, or those of the checkpoint's head.",
        choices=("mean", "head"),
    )
    other_centers: bool = setting(
        True, "Whether to find the nearest other center too: images x identities x dim products."
    )
    embeddings: Optional[str] = setting(None, "Folder to keep the embeddings in; default: mined/embeddings in the set.")
    batch_size: int = setting(256, "Images a step.")


@dataclasses.dataclass
class PairsSettings(SetSettings):
    """Flags of `pairs`."""

    model: Optional[str] = setting(None, "The teacher: a .keras checkpoint, run folder or exported model; required.")
    across: bool = setting(False, "Whether a hard pair is one hard and one easy image, not two hard ones.")
    choice: str = setting(
        "hardest",
        "Which pairs of an identity to keep: the least similar, random ones, or the least similar of those that are "
        "more similar than either image is to the nearest other identity.",
        choices=CHOICES,
    )
    per_identity: int = setting(10, "Pairs to keep of each identity and group.")
    threshold: float = setting(0.0, "Pairs with a similarity at or below it are outliers: dropped, and listed.")
    most_images: int = setting(200, "Of an identity with more images in a group, so many are drawn to be paired.")
    embeddings: Optional[str] = setting(None, "Folder to keep the embeddings in; default: mined/embeddings in the set.")
    batch_size: int = setting(256, "Images a step.")


@dataclasses.dataclass
class DegradeSettings(StoreSettings):
    """Flags of `degrade`."""

    data: list[str] = setting([], "Stored sets to take the easy images from; required.")
    easy: Optional[str] = setting(None, "Rule of the easy images; default: group 0, or all where there are no groups.")
    student: list[str] = setting(
        [], "Degradation of a student, such as resolution:8-16+jpeg:30; the first is group 1, ...", repeated=True
    )
    seed: int = setting(0, "Seed of what is random.")
    plots: Optional[str] = setting(None, "Folder for contact sheet and distributions; default: mined/ in the new set.")
    sheet_images: int = setting(10, "Images of each group on the contact sheet.")


@dataclasses.dataclass
class CleanSettings(SetSettings):
    """Flags of `clean`."""

    model: Optional[str] = setting(
        None, "A .keras checkpoint, run folder or exported model, to judge labels by; default: copies and faces only."
    )
    near_duplicate: float = setting(
        0.98, "Correlation of two thumbnails, one mirrored or not, from which on they are one picture."
    )
    detect: bool = setting(True, "Whether to look for the face of every image (needs the extra [photos]).")
    poor_fit_px: float = setting(15.0, "Misfit from which on a face is a poor fit, in pixels of an image of 112.")
    deviations: float = setting(
        3.5, "Limits of similarities are so many standard deviations from the median of what most images have."
    )
    margin: float = setting(0.1, "How much nearer than to its own identity an image must be to another to be wrong.")
    same_similarity: Optional[float] = setting(
        None, "Similarity from which on two identities are one person; default: from the set, see --deviations."
    )
    plots: Optional[str] = setting(None, "Folder for tables and sheets; default: mined/clean in the set.")
    sheet_images: int = setting(40, "Images of each fault on its sheet.")
    embeddings: Optional[str] = setting(None, "Folder to keep the embeddings in; default: mined/embeddings in the set.")
    batch_size: int = setting(256, "Images a step.")

    def __post_init__(self) -> None:
        if self.sheet_images < 1:
            raise InputError(f"--sheet_images must be at least 1, got {self.sheet_images}")
        refuse_ignored(self, ["poor_fit_px"], self.detect, "--detect")
        of_model = ["deviations", "margin", "same_similarity", "embeddings", "batch_size"]
        refuse_ignored(self, of_model, bool(self.model), "--model")

    def rules(self) -> CleanRules:
        """Read the rules."""
        labels = LabelRules(self.deviations, self.margin, self.same_similarity)
        return CleanRules(self.near_duplicate, self.poor_fit_px, labels)


@dataclasses.dataclass
class SelectSettings(StoreSettings):
    """Flags of `select`."""

    data: list[str] = setting([], "Stored sets to take images from; required.")
    where: Optional[str] = setting(None, "Rule of the images to take, such as `fault == ''`; default: all.")
    merge: bool = setting(False, "Whether to merge the identities that `mine clean --model` found to be one person.")


@dataclasses.dataclass
class BatchSettings(StreamSettings, AugmentationSettings, SetSettings):
    """Flags of `batch`."""

    step: int = setting(0, "Which step's batch to draw.")
    image_size: int = setting(112, "Height and width of the training images, in pixels.")
    most: int = setting(8, "Pairs and single rows of each group to draw.")
    output: str = setting("batch.png", "Draw to this file (.png, .jpg, .pdf or .svg).")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("step", 0), ("image_size", 1), ("most", 1)):
            if getattr(self, name) < least:
                raise InputError(f"--{name} must be at least {least}, got {getattr(self, name)}")
        self.check_streams()
        self.check_augmentation()
        on = any(self.strengths.values())
        refuse_ignored(self, ["made_student"], on, "a kind of augmentation, such as --augment_resolution, above 0")
        refuse_ignored(self, ["pairs_across"], not self.mined_pairs, "--nomined_pairs")


def _draw(
    folder: Path,
    faces: Faces,
    index: pd.DataFrame,
    groups: Groups,
    columns: list[str],
    settings: Union[GroupSettings, DegradeSettings],
    rules: Optional[GroupRules] = None,
) -> None:
    """Draw the contact sheet and the distributions of columns."""
    noise = groups.noise if groups.noise.any() else None
    sheet = mining.contact_sheet(faces, groups.group, "", noise, index[columns], settings.sheet_images, settings.seed)
    pictures = {"contact_sheet.jpg": sheet}
    if columns:
        thresholds = rules.thresholds(index) if rules else None
        pictures["distributions.png"] = mining.distribution_figure(index, groups.group, columns, thresholds, noise)
    for name, figure in pictures.items():
        with write_aside(folder / name) as aside:
            figure.savefig(aside)
    print(f"look at {' and '.join(str(folder / name) for name in pictures)}")


def _group(settings: GroupSettings, faces: Faces, columns: dict[str, np.ndarray], made_by: dict[str, Any]) -> None:
    """Write measured columns, and groups if there are rules, into the index; print and draw what came out."""
    index = faces.index.assign(**columns)
    rules = settings.rules()
    group = faces.index["group"].to_numpy(np.int64)
    groups = assign_groups(index, rules) if rules else Groups(group, np.zeros(len(index), bool), 0)
    if columns:
        print(markdown_table(columns_table(columns)), end="\n\n")
    table = groups_table(index, groups.group, groups.noise, rules)
    print(markdown_table(table))
    if groups.several:
        print(f"\n{groups.several:,} images fit several rules: the first of noise, easy, hard counts")
    folder = Path(settings.plots) if settings.plots else settings.work
    shown = list(dict.fromkeys([*(rules.columns if rules else []), *columns]))
    print()
    _draw(folder, faces, index, groups, shown, settings, rules)
    with write_aside(folder / "groups.csv") as aside:
        table.to_csv(aside, index=False)
    written = {**columns, **({"group": groups.group} if rules else {})}
    if written:
        used = {"easy": settings.easy, "hard": settings.hard, "noise": settings.noise} if rules else {}
        write_columns(faces, written, {**made_by, **used})
        print(f"{', '.join(settings.data)}: the index has {', '.join(written)} now")


def rules(settings: GroupSettings) -> None:
    """Make groups by rules over the columns that the index has: pose, race, camera distance, what was measured."""
    if settings.rules() is None:
        raise InputError("--easy and --hard are missing: give a rule for the easy and for each hard group")
    _group(settings, settings.open(), {}, {"command": "rules"})


def quality(settings: QualitySettings) -> None:
    """Measure image quality (and pose, where the index has landmarks); make groups by it if rules are given."""
    settings.rules()
    network, faces = settings.quality_network(), settings.open()
    parts, learned_parts = settings.work / "quality.partial", settings.work / "learned_quality.partial"
    learned = measure_learned(faces, learned_parts, network) if network else {}
    columns = {**measure_faces(faces, parts), **learned}
    _group(settings, faces, columns, {"command": "quality", "quality_model": settings.quality_model})
    discard(parts, PART_NAMES)
    if network:
        discard(learned_parts, PART_NAMES)


def model(settings: ModelSettings) -> None:
    """Measure how a trained model sees every image; make groups by it if rules are given."""
    settings.rules()
    required(settings, "model")
    viewer = mining.Viewer(settings.model, settings.batch_size)
    faces = settings.open()
    head = viewer.head(faces) if settings.centers == "head" else None
    folder = Path(settings.embeddings) if settings.embeddings else settings.work / "embeddings"
    columns = viewer.measure(faces, folder, head, settings.other_centers)
    _group(settings, faces, columns, {"command": "model", "model": settings.model, "centers": settings.centers})


def degrade(settings: DegradeSettings) -> None:
    """Make a set of easy images and hard copies of them, degraded with recorded strength."""
    if not settings.data or not settings.student:
        raise InputError("--data and --student are missing: name stored sets, and a degradation for each student")
    students = [parse_degradation(text) for text in settings.student]
    faces = Faces(settings.data)
    group = faces.index["group"].to_numpy(np.int64)
    chosen = group == 0 if np.any(group >= 0) else np.ones(len(faces), bool)
    if settings.easy is not None:
        chosen = Rule(settings.easy).select(faces.index)
    described = write_set(degraded_source(faces, np.flatnonzero(chosen), students, settings.seed), settings)
    faces = Faces([str(settings.output)])
    made, group = faces.index, faces.index["group"].to_numpy(np.int64)
    groups = Groups(group, np.zeros(len(faces), bool), 0)
    print(markdown_table(groups_table(made, group, groups.noise)), end="\n\n")
    varied = [name for name in described["columns"] if name in STRENGTH_COLUMNS and made[name].nunique() > 1]
    folder = Path(settings.plots) if settings.plots else Path(str(settings.output)) / "mined"
    _draw(folder, faces, made, groups, varied, settings)
    print(f"stored {described['images']:,} images of {described['identities']:,} identities in {settings.output}")


def clean(settings: CleanSettings) -> None:
    """Find copies, images without a face, wrong labels, and identities that are one person; nothing is deleted."""
    rules = settings.rules()
    viewer = mining.Viewer(settings.model, settings.batch_size) if settings.model else None
    detector, skipped = None, [] if viewer else ["wrong_identity, outlier, same person: they need --model"]
    if settings.detect:
        try:
            detector = detection.MTCNNDetector(smallest_face=_SMALLEST_FACE_PX)
        except InputError as error:
            skipped.append(f"no_face, poor_fit: {error}")
    else:
        skipped.append("no_face, poor_fit: --nodetect")
    faces = settings.open()
    if viewer and faces.num_identities < 2:
        raise InputError(f"{', '.join(settings.data)}: 1 identity, but labels are judged by comparing at least two")
    parts = settings.work / "clean.partial"
    scan = scan_faces(faces, parts, detector)
    embeddings = None
    if viewer:
        embeddings = viewer.embed(faces, Path(settings.embeddings or settings.work / "embeddings"))
    found = find_faults(faces, scan, rules, embeddings)
    mining.cleaning_report.write_cleaning(
        faces, found, Path(settings.plots or settings.work / "clean"), settings.sheet_images, settings.seed
    )
    columns = {str(name): found.columns[name].to_numpy() for name in found.columns}
    write_columns(faces, columns, {"command": "clean", "model": settings.model, **dataclasses.asdict(rules)})
    discard(parts, SCAN_NAMES)
    for line in [*skipped, *found.skipped]:
        print(f"not judged: {line}")
    print(f"{', '.join(settings.data)}: the index has {', '.join(columns)} now")


def select(settings: SelectSettings) -> None:
    """Make a set of the images that a rule chooses, with identities merged that are one person."""
    if not settings.data or (settings.where is None and not settings.merge):
        raise InputError("--data, and --where or --merge, are missing: name stored sets, and what to take of them")
    faces = Faces(settings.data)
    chosen = np.ones(len(faces), bool) if settings.where is None else Rule(settings.where).select(faces.index)
    names = merged_names(faces, "merge_with") if settings.merge else identity_names(faces)
    source = selected_source(faces, np.flatnonzero(chosen), names, CLEAN_COLUMNS)
    described = write_set(source, settings)
    print(
        f"stored {described['images']:,} of {len(faces):,} images, of {described['identities']:,} identities, "
        f"in {settings.output}"
    )


def pairs(settings: PairsSettings) -> None:
    """Arrange positive pairs: within the hard images or hard and easy, hardest, random or semi-hard."""
    chosen = PairRules(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(PairRules)})
    required(settings, "model")
    viewer = mining.Viewer(settings.model, settings.batch_size)
    faces = settings.open()
    folder = Path(settings.embeddings) if settings.embeddings else settings.work / "embeddings"
    identity, group = (faces.index[name].to_numpy(np.int64) for name in ("identity", "group"))
    other_similarity = faces.index["other_similarity"].to_numpy(float) if "other_similarity" in faces.index else None
    rows = viewer.embed(faces, folder).rows
    mined = mine_pairs(rows, identity, group, chosen, other_similarity, settings.seed)
    if not len(mined.kept):
        raise InputError(
            "no pair is left: the sets have no groups (make them first), no identity has two images of a group, or "
            f"every pair's similarity is at or below --threshold={settings.threshold}"
        )
    write_pairs(faces, mined)
    print(markdown_table(pairs_table(mined)))
    print(f"\neach set has {POSITIVE_PAIRS} now (train with --mined_pairs), and the outliers in {DROPPED_PAIRS}")


def batch(settings: BatchSettings) -> None:
    """Draw a training batch: which rows each group has, as the network gets them."""
    evaluation.plots.check_format(settings.output)
    faces = settings.open()
    stored = read_pairs(faces) if settings.mined_pairs else None
    sampler = StreamSampler(faces.index, settings.stream_sizes(), settings.seed, stored)
    settings.check_augmented_groups([*([-1] if settings.shuffled_rows else []), *sampler.groups])
    size, augment = (settings.image_size, settings.image_size), data.build_augmentation(settings)
    dataset = data.training_dataset(faces, sampler, augment, size, settings.step, settings.step + 1, settings.seed)
    inputs, _ = next(dataset.as_numpy_iterator())
    with write_aside(Path(settings.output)) as aside:
        mining.sheets.batch_sheet(inputs["image"], sampler.rows(settings.step), settings.most).savefig(aside)
    print(f"look at {settings.output}: {sampler.num_rows} rows")


COMMANDS = command.by_name(rules, quality, model, degrade, clean, select, pairs, batch)

if __name__ == "__main__":
    command.run_subcommands(COMMANDS)
