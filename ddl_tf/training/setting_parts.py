"""The settings of a run by concern: each part checks itself, and a function takes the part that it needs."""

import dataclasses
import operator
from collections.abc import Callable
from typing import Any, Optional

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import refuse_ignored, setting
from ddl_tf.mining.pairs import CHOICES
from ddl_tf.models.model_choice import HEAD_CLASSES

HEAD_STARTS = ("random", "class_means")
# How DDL sees distributions, and so do the metrics that watch it.
DDL_HISTOGRAMS = ("num_nodes", "similarity_low", "similarity_high", "bandwidth", "positive_threshold")
# Settings that one loss on the embeddings alone takes.
_OF_LOSS = {
    "ddl": (
        "positive_weight",
        "negative_weight",
        "order_weight",
        "overlap_weight",
        "stop_teacher_gradient",
    ),
    "triplet": ("triplet_margin",),
    "histogram": ("histogram_bins",),
    "rkd": ("rkd_distance_weight", "rkd_angle_weight"),
}

# Rules of numbers: their text, and what they compare with.
_AT_LEAST_ONE, _ABOVE_ZERO = ("be at least 1", operator.ge, 1), ("be above 0", operator.gt, 0)
_NOT_NEGATIVE = ("not be negative", operator.ge, 0)


def _check(settings: Any, rule: tuple[str, Callable[[float, float], bool], int], *names: str) -> None:
    """Check numbers by a rule; they may be None."""
    text, fits, bound = rule
    for name in names:
        value = getattr(settings, name)
        if value is not None and not fits(value, bound):
            raise InputError(f"--{name} must {text}, got {value}")


@dataclasses.dataclass
class RunSettings:
    """Where a run lies, what it trains on, and its seed."""

    run_dir: Optional[str] = setting(None, "Folder of the run; the same command again resumes it.")
    train_data: list[str] = setting([], "Stored sets (made by ddl_tf.prepare) to train on, taken together.")
    seed: int = setting(0, "Seed of the weights, the sampling and the augmentation.")

    def __post_init__(self) -> None:
        if not self.run_dir:
            raise InputError("no run folder: name it with --run_dir=DIR")
        if not self.train_data:
            raise InputError("no training set: name stored sets with --train_data=DIR[,DIR] (made by ddl_tf.prepare)")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed must be from 0 to {2**32 - 1}, got {self.seed}")


@dataclasses.dataclass
class NetworkSettings:
    """The recognizer, and what its weights start from."""

    backbone: str = setting(
        "iresnet50",
        "Name of the backbone: iresnet18|34|50|100, mobilefacenet, plain_small, keras_cv:NAME; checkpoint: the whole "
        "network of --init_checkpoint, of whatever kind.",
    )
    embedding_size: int = setting(512, "Length of the embedding.")
    image_size: int = setting(112, "Height and width of the training images, in pixels.")
    head: str = setting("arcface", "Margin head.", choices=tuple(HEAD_CLASSES))
    margin: Optional[float] = setting(None, "Margin of the head (not of magface); its own default if not given.")
    scale: float = setting(64.0, "Scale of the head's logits.")
    sample_rate: float = setting(
        1.0, "Share of the identities whose class centers take part in a step (Partial FC), for very many identities."
    )
    sharded_head: bool = setting(
        False, "Split the class centers over the devices of this machine, so that none has them all."
    )
    dropout: float = setting(0.0, "Dropout before the embedding.")
    init_checkpoint: Optional[str] = setting(None, "Checkpoint (.keras) or run folder to start from.")
    head_start: str = setting(
        "random",
        "Where class centers start that no checkpoint has; class_means: each at its identity's mean embedding.",
        choices=HEAD_STARTS,
    )

    def __post_init__(self) -> None:
        _check(self, _AT_LEAST_ONE, "image_size", "embedding_size")
        _check(self, _ABOVE_ZERO, "scale")
        if not 0 < self.sample_rate <= 1:
            raise InputError(f"--sample_rate must be above 0 and at most 1, got {self.sample_rate}")
        if self.backbone == "checkpoint":
            if not self.init_checkpoint:
                raise InputError("--backbone=checkpoint needs --init_checkpoint, whose network it is")
            refuse_ignored(self, ["embedding_size", "dropout"], False, "a --backbone that is built anew")
        if self.head_start == "class_means" and not self.init_checkpoint:
            raise InputError("--head_start=class_means needs --init_checkpoint, the network that embeds the images")


@dataclasses.dataclass
class FinetuningSettings:
    """What of a network that is good already trains, how fast, and what keeps it near to what it was."""

    train_blocks: Optional[int] = setting(
        None, "Blocks of the network, counted from the end, that train; without it and --train_layers all do."
    )
    train_layers: list[str] = setting(
        [], "Regular expressions: layers of the network that train are those whose whole name one matches."
    )
    freeze_batch_norm: bool = setting(
        False, "Whether batch normalisation stays as it is, statistics, scales and offsets, in all layers."
    )
    network_rate: float = setting(
        1.0, "Factor of the learning rate for the weights of the network, which is all but the head."
    )
    lora_rank: int = setting(
        0,
        "Rank of the changes of LoRA to dense, 1 x 1 convolution and attention layers (those of --train_blocks, if "
        "given), which train alone, and are merged into checkpoints; 0 is without LoRA.",
    )
    lora_alpha: Optional[float] = setting(None, "Strength of LoRA's changes; by default their rank.")
    lora_layers: str = setting(".*", "Regular expression: the layers that LoRA changes, by their whole name.")
    start_pull: float = setting(
        0.0, "Strength of the pull of the network's weights to those of --init_checkpoint (L2-SP)."
    )
    feature_cache: Optional[str] = setting(
        None, "Folder for the activations of the first layers, where these do not train: each is computed once."
    )

    def __post_init__(self) -> None:
        _check(self, _AT_LEAST_ONE, "train_blocks")
        _check(self, _NOT_NEGATIVE, "network_rate", "lora_rank", "start_pull")
        _check(self, _ABOVE_ZERO, "lora_alpha")
        refuse_ignored(self, ["lora_alpha", "lora_layers"], self.lora_rank > 0, "--lora_rank above 0")


@dataclasses.dataclass
class MiningSettings:
    """What is mined while training."""

    confusable: int = setting(
        1, "Identities of each group come in clusters of this many with near class centers; 1 draws them independently."
    )
    neighbours_every: int = setting(500, "Steps between searches for the nearest class centers, for --confusable.")
    remine_every: int = setting(0, "Epochs between minings of groups and pairs by the current weights; 0 never does.")
    remine_easy: Optional[str] = setting(None, "Rule of group 0 when mined anew; without it the groups stay.")
    remine_hard: list[str] = setting([], "Rules of the groups 1, 2, ... when mined anew.", repeated=True)
    remine_noise: Optional[str] = setting(None, "Rule of likely label noise when mined anew.")
    remine_pairs: str = setting(
        "none", "Which positive pairs to keep when mined anew; none draws them at random.", choices=("none", *CHOICES)
    )
    remine_pairs_per_identity: int = setting(10, "How many of these pairs of each identity and group.")

    def __post_init__(self) -> None:
        _check(self, _AT_LEAST_ONE, "neighbours_every")
        _check(self, _NOT_NEGATIVE, "remine_every")
        if (self.remine_easy is None) != (not self.remine_hard):
            raise InputError("--remine_easy and --remine_hard go together: groups are mined by rules for all of them")
        mines = self.remine_easy is not None or self.remine_pairs != "none"
        if mines != (self.remine_every > 0):
            raise InputError(
                f"--remine_every={self.remine_every} goes with what to mine anew: --remine_easy and --remine_hard, or "
                f"--remine_pairs; got --remine_easy={self.remine_easy}, --remine_pairs={self.remine_pairs}"
            )
        refuse_ignored(self, ["neighbours_every"], self.confusable > 1, "--confusable above 1")
        refuse_ignored(self, ["remine_noise"], self.remine_easy is not None, "--remine_easy and --remine_hard")
        refuse_ignored(self, ["remine_pairs_per_identity"], self.remine_pairs != "none", "--remine_pairs")


@dataclasses.dataclass
class LossSettings:
    """The loss on the logits, and the one on the embeddings."""

    logits_loss: str = setting("softmax", "Loss on the margin head's logits.", choices=("softmax", "focal", "ohem"))
    focal_gamma: float = setting(2.0, "How much the focal loss plays down easy rows.")
    ohem_keep: float = setting(0.5, "Share of the classified rows, the hardest ones, that ohem counts.")
    embedding_loss: str = setting(
        "none",
        "Loss on the embeddings beside it: ddl is Distribution Distillation Loss, the others what it is compared with.",
        choices=("none", "ddl", "triplet", "histogram", "rkd", "sp"),
    )
    embedding_weight: float = setting(1.0, "Weight of the whole loss on the embeddings.")
    triplet_margin: float = setting(0.2, "Margin of the triplet loss, in squared distances.")
    histogram_bins: int = setting(201, "Bins of the histogram loss.")
    rkd_distance_weight: float = setting(25.0, "Weight of RKD's distances.")
    rkd_angle_weight: float = setting(50.0, "Weight of RKD's angles.")
    positive_weight: float = setting(0.1, "Weight of DDL's positive KL term.")
    negative_weight: float = setting(0.02, "Weight of DDL's negative KL term.")
    order_weight: float = setting(0.5, "Weight of DDL's order term.")
    overlap_weight: float = setting(0.0, "Weight of the overlap of each group's own distributions, beside DDL's terms.")
    num_nodes: int = setting(1000, "Nodes of DDL's histograms.")
    similarity_low: float = setting(0.0, "Lower end of DDL's nodes.")
    similarity_high: float = setting(1.0, "Upper end of DDL's nodes.")
    bandwidth: float = setting(0.1, "Standard deviation of DDL's histogram kernel.")
    positive_threshold: float = setting(0.0, "Positive pairs with a similarity at or below it are dropped.")
    stop_teacher_gradient: bool = setting(False, "Whether DDL's KL terms leave the teacher alone.")

    def __post_init__(self) -> None:
        for name, logits_loss in (("focal_gamma", "focal"), ("ohem_keep", "ohem")):
            refuse_ignored(self, [name], self.logits_loss == logits_loss, f"--logits_loss={logits_loss}")
        refuse_ignored(self, ["embedding_weight"], self.embedding_loss != "none", "an --embedding_loss")
        for loss, names in _OF_LOSS.items():
            refuse_ignored(self, names, self.embedding_loss == loss, f"--embedding_loss={loss}")


@dataclasses.dataclass
class OptimizerSettings:
    """How long a run trains, its optimizer and schedule, and what regularises it."""

    epochs: int = setting(20, "Number of epochs.")
    steps_per_epoch: Optional[int] = setting(
        None,
        "Steps of an epoch; by default until each image was drawn once (--shuffled_rows), or until as many rows were "
        "drawn as the groups have images.",
    )
    optimizer: str = setting("sgd", "Optimizer.", choices=("sgd", "adamw"))
    learning_rate: float = setting(0.1, "Learning rate after the warm-up.")
    momentum: float = setting(0.9, "Momentum of SGD.")
    weight_decay: float = setting(
        5e-4,
        "Weight decay, not on batch norm and biases: L2 in the gradient for sgd (as PyTorch), decoupled for adamw.",
    )
    schedule: str = setting(
        "cosine", "How the learning rate falls after the warm-up.", choices=("constant", "cosine", "step", "polynomial")
    )
    warmup_epochs: float = setting(0.0, "Epochs over which the learning rate rises linearly.")
    decay_epochs: list[float] = setting([], "Epochs after which the step schedule multiplies the rate by decay_factor.")
    decay_factor: float = setting(0.1, "Factor of the step schedule.")
    end_learning_rate: float = setting(0.0, "Where the cosine and polynomial schedules end.")
    polynomial_power: float = setting(2.0, "Power of the polynomial schedule.")
    label_smoothing: float = setting(0.0, "Label smoothing of the margin softmax.")
    clip_norm: Optional[float] = setting(None, "Largest norm of the gradient of all weights; not clipped if not given.")

    def __post_init__(self) -> None:
        _check(self, _AT_LEAST_ONE, "epochs")
        _check(self, _ABOVE_ZERO, "steps_per_epoch", "learning_rate", "clip_norm", "decay_factor")
        _check(self, _NOT_NEGATIVE, "weight_decay", "warmup_epochs", "momentum", "end_learning_rate")
        if self.warmup_epochs > self.epochs:
            raise InputError(f"--warmup_epochs={self.warmup_epochs} is longer than --epochs={self.epochs}")
        if self.schedule == "step" and not self.decay_epochs:
            raise InputError("--schedule=step needs --decay_epochs, the epochs after which the rate falls")
        if any(epoch <= 0 for epoch in self.decay_epochs):
            raise InputError(f"--decay_epochs must be above 0, got {','.join(map(str, self.decay_epochs))}")
        refuse_ignored(self, ["momentum"], self.optimizer == "sgd", "--optimizer=sgd")
        refuse_ignored(self, ("decay_epochs", "decay_factor"), self.schedule == "step", "--schedule=step")
        falls = self.schedule in ("cosine", "polynomial")
        refuse_ignored(self, ["end_learning_rate"], falls, "--schedule=cosine or polynomial")
        refuse_ignored(self, ["polynomial_power"], self.schedule == "polynomial", "--schedule=polynomial")


@dataclasses.dataclass
class DeviceSettings:
    """How the devices compute a step."""

    cpu_replicas: Optional[int] = setting(
        None, "Logical devices of the CPU to train on, to try replicas without GPUs; by default all GPUs, or the CPU."
    )
    precision: str = setting("float32", "Precision policy.", choices=("float32", "mixed_float16", "mixed_bfloat16"))
    jit_compile: bool = setting(False, "Whether XLA compiles the training step.")
    micro_batches: int = setting(
        1, "Parts in which the rows of a step go through the network; the losses are those of all rows together."
    )
    recompute: bool = setting(
        False, "Whether the backbone's residual blocks run again for the gradient, which saves memory."
    )
    sync_batch_norm: bool = setting(
        False, "Whether batch normalisation is by the batch of all devices instead of each device's own rows."
    )

    def __post_init__(self) -> None:
        _check(self, _ABOVE_ZERO, "cpu_replicas")
        _check(self, _AT_LEAST_ONE, "micro_batches")


@dataclasses.dataclass
class CheckpointSettings:
    """When a run is evaluated and stored."""

    evaluate_every: int = setting(1, "Epochs between evaluations on the verification sets.")
    best_by: str = setting(
        "auc", "Measure that chooses the best checkpoint, averaged over the sets.", choices=("accuracy", "auc")
    )
    checkpoint_steps: int = setting(500, "Steps between checkpoints for resuming; each epoch's end is one too.")

    def __post_init__(self) -> None:
        _check(self, _AT_LEAST_ONE, "evaluate_every", "checkpoint_steps")
