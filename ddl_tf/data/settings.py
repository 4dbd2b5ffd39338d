"""What a batch is made of and how its images are augmented: the settings that become flags of the commands."""

import dataclasses
from collections.abc import Sequence

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import refuse_ignored, setting
from ddl_tf.data.pools import StreamSizes


@dataclasses.dataclass
class AugmentationSettings:
    """Which images are mirrored and degraded, and how much; a command's settings inherit these fields.

    A strength is from 0 (off) to 1. Each image that a kind touches is degraded by an amount between nothing and the
    strength.

    Raises:
        InputError: naming the setting and its value.
    """

    flip: bool = setting(True, "Whether half of the training images are mirrored.")
    augment_crop: float = setting(0.0, "Strength of cropping and shifting: at 1 down to half of the area.")
    augment_randaugment: float = setting(
        0.0, "Strength of RandAugment's photometric operations: at 1 a magnitude of 0.5."
    )
    augment_occlusion: float = setting(0.0, "Strength of occlusion: at 1 rectangles of up to 0.7 of the sides.")
    augment_colour: float = setting(0.0, "Strength of changes of brightness, contrast, saturation and hue.")
    augment_grey: float = setting(0.0, "Strength of fading to grey: at 1 down to no colour.")
    augment_blur: float = setting(0.0, "Strength of Gaussian blur: at 1 a deviation of up to 0.03 of the side.")
    augment_resolution: float = setting(0.0, "Strength of low resolution: at 1 down to 1/14 of the side (8 of 112 px).")
    augment_compression: float = setting(0.0, "Strength of JPEG compression: at 1 down to a quality of 10.")
    augment_probability: float = setting(0.2, "Share of the images that each kind of augmentation touches.")
    augment_groups: list[int] = setting(
        [], "Groups whose rows are augmented (-1: rows without a group); by default all. --flip is for all rows."
    )

    def __post_init__(self) -> None:
        for name in (*strength_names(), "augment_probability"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"--{name} must be from 0 to 1, got {getattr(self, name)}")
        if (group := min(self.augment_groups, default=-1)) < -1:
            raise InputError(f"--augment_groups: there is no group {group}; groups are numbered from 0, -1 is none")

    @property
    def strengths(self) -> dict[str, float]:
        """The kinds of augmentation that are on, with their strengths."""
        return {name: getattr(self, name) for name in strength_names() if getattr(self, name)}

    def check_augmentation(self) -> None:
        """Refuse settings that would be ignored."""
        on = bool(self.strengths)
        refuse_ignored(self, ("augment_probability", "augment_groups"), on, "a kind, such as --augment_blur, above 0")
        refuse_ignored(self, strength_names(), self.augment_probability > 0, "--augment_probability above 0")

    def check_augmented_groups(self, groups: Sequence[int]) -> None:
        """Refuse groups to augment that are not among those of the rows (-1: rows without a group)."""
        for group in self.augment_groups:
            if group not in groups:
                present = ", ".join(map(str, sorted(groups)))
                raise InputError(f"--augment_groups={group}: no row is of this group, only of {present}")


def strength_names() -> list[str]:
    """List the settings that are strengths, in the order in which the kinds of augmentation are applied."""
    names = [field.name for field in dataclasses.fields(AugmentationSettings)]
    return [name for name in names if name not in ("flip", "augment_probability", "augment_groups")]


@dataclasses.dataclass
class StreamSettings:
    """How many rows of each stream a batch holds, and which; a command's settings inherit these fields."""

    shuffled_rows: int = setting(0, "Classified rows of a batch drawn from all images alike, each once an epoch.")
    rows_per_group: int = setting(0, "Classified rows of a batch of each group, of different identities.")
    pairs_per_group: int = setting(0, "Positive pairs (two rows each) of a batch of each group.")
    pairs_across: bool = setting(False, "Whether a hard pair is one hard and one easy image, not two hard ones.")
    classify_pairs: bool = setting(False, "Whether the rows of the pairs are classified too.")
    mined_pairs: bool = setting(
        False, "Whether pairs are drawn from those that `python -m ddl_tf.mine pairs` stored, not at random."
    )
    shared_identities: bool = setting(
        False, "Whether the pairs of all groups are of the same identities, as the losses rkd and sp need."
    )
    made_student: bool = setting(
        False, "Whether there is one more student, whose rows are easy images made hard by the augmentation."
    )

    def check_streams(self) -> None:
        """Refuse settings that would be ignored."""
        pairs, names = self.pairs_per_group > 0, ("pairs_across", "classify_pairs", "mined_pairs", "shared_identities")
        refuse_ignored(self, names, pairs, "--pairs_per_group above 0")
        rows = pairs or self.rows_per_group > 0
        refuse_ignored(self, ["made_student"], rows, "--rows_per_group or --pairs_per_group")

    def stream_sizes(self, confusable: int = 1) -> StreamSizes:
        """Give the sampler its sizes; raises an `InputError` if a number is negative or a batch would have no rows."""
        alike = ("pairs_per_group", "pairs_across", "classify_pairs", "shared_identities", "made_student")
        values = {name: getattr(self, name) for name in alike}
        return StreamSizes(self.shuffled_rows, self.rows_per_group, confusable=confusable, **values)
