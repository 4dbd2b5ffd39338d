"""Which streams make a batch: the settings that become flags of the commands."""

import dataclasses

from ddl_tf.common.settings import refuse_ignored, setting
from ddl_tf.data.sampling import StreamSizes


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
        """Check what would be ignored.

        Raises:
            InputError: naming the setting and its value.
        """
        pairs = self.pairs_per_group > 0
        names = ("pairs_across", "classify_pairs", "mined_pairs", "shared_identities")
        refuse_ignored(self, names, pairs, "--pairs_per_group above 0")
        refuse_ignored(
            self, ["made_student"], pairs or self.rows_per_group > 0, "--rows_per_group or --pairs_per_group"
        )

    def stream_sizes(self, confusable: int = 1) -> StreamSizes:
        """Give the sampler its sizes.

        Args:
            confusable: identities of a cluster.

        Returns:
            The sizes.

        Raises:
            InputError: if a number is negative, or a batch would have no rows.
        """
        return StreamSizes(
            self.shuffled_rows,
            self.rows_per_group,
            self.pairs_per_group,
            self.pairs_across,
            self.classify_pairs,
            confusable,
            self.shared_identities,
            self.made_student,
        )
