"""The settings of the commands of the gallery."""

import dataclasses
from typing import ClassVar, Optional

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import refuse_ignored, setting
from ddl_tf.detection import DetectionSettings
from ddl_tf.detection.choice import AGREED, CHOICES
from ddl_tf.gallery.enrolment_quality import EnrolmentQuality
from ddl_tf.gallery.gallery import EXISTING
from ddl_tf.gallery.index import KINDS
from ddl_tf.gallery.photos import Photo, csv_photos, folder_photos, split_problems
from ddl_tf.gallery.rows import ENTRIES
from ddl_tf.importers.source import Problem
from ddl_tf.runtimes.quality import QualityModelSettings


@dataclasses.dataclass
class GallerySettings:
    """What all commands share."""

    gallery: str = setting("", "The folder of the gallery; required.")


@dataclasses.dataclass
class ImageSettings(GallerySettings):
    """Which photos, and the model."""

    model: str = setting(
        "",
        "A .keras checkpoint, the folder of a training run, or of an exported model's version; an ONNX network "
        "(.onnx), or a TensorFlow Lite model (.tflite); required.",
    )
    images: str = setting(
        "", "A folder of aligned faces, with --detect of any photos; one of --images and --images_csv is required."
    )
    images_csv: str = setting(
        "",
        "A CSV file of photos: column path, to enrol also person, and x1, y1, ..., x5, y5 where the faces are to be "
        "aligned: both eyes, nose, both corners of the mouth, that on the left of the image first, in pixels.",
    )
    flip: Optional[bool] = setting(
        None,
        "Whether to add the embedding of the mirrored image. Default: as the gallery was made; in a new one on, but "
        "off for an exported model, which does it or not by itself.",
    )
    batch_size: int = setting(64, "Images a step.")
    problems: Optional[str] = setting(None, "List all photos that were left out in this CSV file.")
    detect: bool = setting(False, "The photos are plain ones: find the faces in them, and align them.")


@dataclasses.dataclass
class PhotoSettings(DetectionSettings, ImageSettings):
    """Which photos, the model, and how faces are found."""

    # Further flags that mean nothing without --detect.
    OF_DETECTION: ClassVar[tuple[str, ...]] = ()

    def photos(self, of_people: bool) -> tuple[list[Photo], list[Problem]]:
        """List the photos, and what is wrong with some of them."""
        if bool(self.images) == bool(self.images_csv):
            raise InputError("give one of --images (a folder) and --images_csv")
        names = [field.name for field in dataclasses.fields(DetectionSettings)]
        refuse_ignored(self, [*names, *self.OF_DETECTION], self.detect, "--detect")
        listed = csv_photos(self.images_csv, of_people) if self.images_csv else folder_photos(self.images, of_people)
        photos, problems = split_problems(listed)
        if self.detect and any(photo.landmarks is not None for photo in photos):
            raise InputError(f"--detect: {self.images_csv} has the landmarks x1 to y5 already; leave out one of both")
        return photos, problems


@dataclasses.dataclass
class EnrollSettings(QualityModelSettings, PhotoSettings):
    """Flags of `enroll`."""

    OF_DETECTION = ("face",)

    face: str = setting(
        CHOICES[0],
        "With --detect, which face of several is the person: the largest, the nearest to the centre of the photo, or "
        "the one that the person's other photos agree on.",
        choices=(*CHOICES, AGREED),
    )
    quality_rule: Optional[str] = setting(
        None,
        "Refuse photos whose face, as the model gets it, does not fulfil this rule over measured columns, such as "
        "`measured_resolution_px >= 30 and learned_quality > 1.8`; the latter takes --quality_model.",
    )
    existing: str = setting(
        "refuse",
        "People who are enrolled already: refuse them, add the images that are not there yet, or replace all "
        "of theirs.",
        choices=EXISTING,
    )
    entries: Optional[str] = setting(
        None,
        "Of a new gallery, what is searched: a template of each person (default), or all images, of which the most "
        "similar counts.",
        choices=ENTRIES,
    )
    index: Optional[str] = setting(None, "Of a new gallery, how it is searched; default: exact.", choices=KINDS)
    evaluation: Optional[str] = setting(
        None,
        "A stored evaluation of this model (`python -m ddl_tf.evaluate ... --store`) to choose the threshold by, from "
        "which a person is known. Default: as it is; in a new gallery that of an exported model, if it has one.",
    )
    threshold_set: Optional[str] = setting(None, "The set of pairs in --evaluation to choose the threshold on.")
    far: Optional[float] = setting(
        None, "The false accept rate that the threshold may have there: that of one comparison, such as 1e-5."
    )
    threshold: Optional[float] = setting(None, "Instead of --evaluation: a threshold chosen elsewhere.")

    def enrolment_quality(self) -> Optional[EnrolmentQuality]:
        """Read the rule of quality; None if none is given."""
        refuse_ignored(self, ["quality_model"], bool(self.quality_rule), "--quality_rule")
        network = self.quality_network()
        return EnrolmentQuality(self.quality_rule, network) if self.quality_rule else None


@dataclasses.dataclass
class SearchSettings(PhotoSettings):
    """Flags of `search`."""

    OF_DETECTION = ("marked",)

    k: int = setting(5, "People to find for each photo, with --detect for each face.")
    threshold: Optional[float] = setting(None, "Another similarity from which a person is known than the gallery's.")
    output: Optional[str] = setting(None, "Write what was found to this CSV file, a line for each photo and person.")
    marked: Optional[str] = setting(
        None,
        "With --detect, write a copy of each photo with a face, the faces marked and named, to this folder; it must be "
        "new or empty.",
    )


@dataclasses.dataclass
class RemoveSettings(GallerySettings):
    """Flags of `remove`."""

    person: list[str] = setting([], "Whom to remove; required.", repeated=True)


@dataclasses.dataclass
class ReindexSettings(GallerySettings):
    """Flags of `reindex`."""

    index: Optional[str] = setting(None, "How the gallery shall be searched; default: as it is.", choices=KINDS)


@dataclasses.dataclass
class ConvertSettings(GallerySettings):
    """Flags of `convert`."""

    old: str = setting("", "The folder of the gallery of the older form; nothing in it is changed; required.")
