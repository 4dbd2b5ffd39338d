"""The ways of fine-tuning that `python -m ddl_tf.tune` compares: what each adds to the settings that all share."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ddl_tf.common.errors import InputError
from ddl_tf.training import TrainSettings


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way of fine-tuning.

    Attributes:
        title: for tables and sentences.
        flags: fields of `TrainSettings` that it sets beside the shared ones.
        tuned: the field of which several values are tried; None where there is nothing to choose.
        values: those that are tried.
    """

    title: str
    flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tuned: Optional[str] = None
    values: Sequence[float] = ()


START, MARGIN = "none", "margin"
_WEIGHTS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_MARGINS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7)
# Not the paper's: no positive KL term, which from a converged network cost TAR at low FAR; the overlap in the place of
# the order term (docs/results/finetuning.md).
_OVERLAP: dict[str, Any] = {
    "positive_weight": 0.0,
    "negative_weight": 0.1,
    "order_weight": 0.0,
    "overlap_weight": 0.3,
    "bandwidth": 0.15,
    "stop_teacher_gradient": True,
}


def _embedding_loss(title: str, loss: str, **flags: Any) -> Arm:
    return Arm(title, {"embedding_loss": loss, **flags}, "embedding_weight", _WEIGHTS)


ARMS: dict[str, Arm] = {
    # The head alone trains for a step, so that the network stays as it is.
    START: Arm(
        "no fine-tuning",
        {"network_rate": 0.0, "freeze_batch_norm": True, "start_pull": 0.0, "epochs": 1, "steps_per_epoch": 1},
    ),
    MARGIN: Arm("margin softmax alone"),
    "arcface": Arm("ArcFace-FT", {"head": "arcface"}, "margin", _MARGINS),
    "cosface": Arm("CosFace-FT", {"head": "cosface"}, "margin", _MARGINS),
    "ohem": Arm("OHEM", {"logits_loss": "ohem"}, "ohem_keep", (0.25, 0.5, 0.7, 0.8, 0.9, 0.95)),
    "focal": Arm("focal", {"logits_loss": "focal"}, "focal_gamma", (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)),
    "triplet": _embedding_loss("triplet", "triplet"),
    "histogram": _embedding_loss("histogram", "histogram"),
    "ddl": _embedding_loss("DDL", "ddl"),
    # Not the paper's: the KL terms leave the teacher where it is.
    "ddl_detached": _embedding_loss("DDL, teacher detached", "ddl", stop_teacher_gradient=True),
    "ddl_overlap": _embedding_loss("DDL, overlap for order", "ddl", **_OVERLAP),
    # A little of the gain for what easy faces would lose.
    "ddl_overlap_slow": _embedding_loss("DDL, overlap, slower network", "ddl", network_rate=0.7, **_OVERLAP),
    # These have no other loss, but let the network move less: where they are worth it, there is something to forget.
    "lora": Arm("LoRA", {}, "lora_rank", (2, 4, 8, 16, 32, 64)),
    "slow_network": Arm("slower network", {}, "network_rate", (0.03, 0.1, 0.2, 0.3, 0.5, 0.7)),
    "start_pull": Arm("pull to the start", {}, "start_pull", (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)),
    "one_block": Arm("last block alone", {"train_blocks": 1}),
    "frozen_batch_norm": Arm("batch norm frozen", {"freeze_batch_norm": True}),
}


def flags_of(arm: str, value: Optional[float]) -> dict[str, Any]:
    """List what an arm sets, with the value of the field that it tunes; None where it tunes none."""
    flags, tuned = dict(ARMS[arm].flags), ARMS[arm].tuned
    if tuned is not None and value is not None:
        # A rank is a whole number, as its default is.
        is_whole = type(TrainSettings.__dataclass_fields__[tuned].metadata["default"]) is int
        flags[tuned] = int(value) if is_whole else value
    return flags


def chosen_arms(names: Sequence[str]) -> list[str]:
    """Check names of arms, in the order of `ARMS`; none stands for all. What others are compared with is among them."""
    for name in names:
        if name not in ARMS:
            raise InputError(f"--arms={','.join(names)}: there is no arm {name!r}; use {', '.join(ARMS)}")
    return [name for name in ARMS if not names or name in names or name in (START, MARGIN)]
