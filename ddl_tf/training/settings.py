"""The flags of `python -m ddl_tf.train`, joined: the fields of each concern are in `setting_parts.py`."""

import dataclasses
import math
from collections.abc import Sequence

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import refuse_ignored
from ddl_tf.data.settings import AugmentationSettings, StreamSettings
from ddl_tf.evaluation.sets import VerificationSets
from ddl_tf.training import setting_parts as parts


# The fields of the last base come first.
@dataclasses.dataclass
class TrainSettings(
    parts.CheckpointSettings,
    parts.DeviceSettings,
    parts.OptimizerSettings,
    parts.LossSettings,
    parts.MiningSettings,
    parts.FinetuningSettings,
    parts.NetworkSettings,
    parts.RunSettings,
    StreamSettings,
    AugmentationSettings,
    VerificationSets,
):
    """The settings of one training run; see each field's help text.

    Raises:
        InputError: naming the setting and its value.

    Example:
        >>> TrainSettings(run_dir="runs/a", train_data=["set"], shuffled_rows=64, learning_rate=0.05).epochs
        20
    """

    def __post_init__(self) -> None:
        """Check each part, then what goes together; what depends on the data comes in `refuse_ignored_by_groups`."""
        for name, value in dataclasses.asdict(self).items():
            numbers = value if isinstance(value, list) else [value]
            if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
                raise InputError(f"--{name} must be a finite number, got {value}")
        for part in TrainSettings.__bases__:
            if "__post_init__" in vars(part):
                part.__post_init__(self)  # type: ignore[attr-defined]
        if self.sample_rate < 1 and self.optimizer != "sgd":
            raise InputError(
                f"--sample_rate={self.sample_rate} needs --optimizer=sgd, which updates the sampled class centers "
                f"alone, got --optimizer={self.optimizer}"
            )
        self._check_groups()
        self._check_feature_cache()
        self.check_streams()
        self.check_augmentation()
        self._refuse_ignored()

    @property
    def _has_groups(self) -> bool:
        """Whether rows are drawn group by group."""
        return bool(self.pairs_per_group or self.rows_per_group)

    def _check_groups(self) -> None:
        """Check what needs rows with groups, or their pairs."""
        if self.remine_every and not self._has_groups:
            raise InputError("--remine_every needs rows with groups: set --pairs_per_group or --rows_per_group above 0")
        for name in ("mined_pairs", "shared_identities"):
            if getattr(self, name) and not self.pairs_per_group:
                raise InputError(f"--{name} needs --pairs_per_group above 0")
        if self.mined_pairs and self.remine_easy and self.remine_pairs == "none":
            raise InputError("--mined_pairs do not fit groups that are mined anew: set --remine_pairs too")
        loss, by_identity = f"--embedding_loss={self.embedding_loss}", self.embedding_loss in ("rkd", "sp")
        if by_identity and not self.shared_identities:
            raise InputError(f"{loss} compares the groups identity by identity: set --shared_identities")
        if self.embedding_loss != "none" and not self._has_groups:
            raise InputError(f"{loss} needs rows with groups: set --pairs_per_group (and --rows_per_group) above 0")
        if by_identity and self.jit_compile:
            raise InputError(
                f"{loss} cannot be compiled: how many identities the groups share is known in the step only; leave out "
                "--jit_compile"
            )

    def _check_feature_cache(self) -> None:
        """Refuse what activations that are computed once cannot follow."""
        changing = {
            "image augmentation": bool(self.strengths),
            "--recompute": self.recompute,
            "--micro_batches": self.micro_batches > 1,
        }
        for name in (name for name, is_set in changing.items() if is_set and self.feature_cache):
            raise InputError(f"--feature_cache computes activations once, which {name} does not allow: leave one out")

    def _refuse_ignored(self) -> None:
        """Refuse what another part makes useless."""
        kind = "a kind of augmentation, such as --augment_resolution, above 0"
        refuse_ignored(self, ["made_student"], bool(self.strengths), kind)
        rows = "--rows_per_group or --pairs_per_group above 0"
        refuse_ignored(self, ["pairs_across"], not self.mined_pairs or self.remine_pairs != "none", "--nomined_pairs")
        refuse_ignored(self, ["confusable", *parts.DDL_HISTOGRAMS], self._has_groups, rows)
        refuse_ignored(self, ["remine_pairs"], self.pairs_per_group > 0, "--pairs_per_group above 0")
        refuse_ignored(self, ["start_pull"], self.init_checkpoint is not None, "--init_checkpoint, to pull to")
        refuse_ignored(self, ["remine_every"], self.remine_every < self.epochs, "more --epochs than that")
        refuse_ignored(self, ["label_smoothing"], self.logits_loss == "softmax", "--logits_loss=softmax")
        refuse_ignored(self, ("cfp_protocols", "cfp_folds"), self.cfp_root is not None, "--cfp_root")
        sets = {field.name for field in dataclasses.fields(VerificationSets)} - {"cfp_protocols", "cfp_folds"}
        has_sets = any(getattr(self, name) for name in sets)
        refuse_ignored(self, ["best_by"], has_sets, "a verification set, such as --pairs")

    def refuse_ignored_by_groups(self, groups: Sequence[int]) -> None:
        """Refuse settings that the groups which a batch has rows of make useless; a made student's is the last."""
        self.check_augmented_groups([*([-1] if self.shuffled_rows else []), *groups])
        augmented = self.augment_groups
        if self.made_student and augmented and groups[-1] not in augmented:
            raise InputError(
                f"--augment_groups={','.join(map(str, augmented))} leaves the student of --made_student as easy as the "
                f"teacher: add its group, {groups[-1]}"
            )
        stored = len(groups) - self.made_student
        refuse_ignored(self, ["pairs_across"], stored > 1, "a training set with a hard group (python -m ddl_tf.mine)")
        ddl_terms = self.embedding_loss == "ddl" or len(groups) > 1
        names = [name for name in parts.DDL_HISTOGRAMS if name != "positive_threshold" or self.remine_pairs == "none"]
        refuse_ignored(self, names, ddl_terms, "--embedding_loss=ddl, or a hard group whose distributions are watched")
