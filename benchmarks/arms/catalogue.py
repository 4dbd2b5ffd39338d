"""The arms that are compared: what each adds to the flags that all share, and the one flag of it that is tuned."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ddl_tf.common.errors import InputError


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way of fine-tuning.

    Attributes:
        title: for tables.
        flags: fields of `TrainSettings` that it sets beside the shared ones.
        tuned: the field that is tuned; None where nothing is trained.
        values: those that are tried, as many for each arm.
    """

    title: str
    flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tuned: Optional[str] = None
    values: Sequence[float] = ()

    @property
    def trained(self) -> bool:
        """Whether it is trained at all."""
        return self.tuned is not None


ARCFACE = {"head": "arcface", "margin": 0.3}
COSFACE = {"head": "cosface", "margin": 0.2}
MARGINS = (0.1, 0.2, 0.3, 0.5, 0.7)
WEIGHTS = (1.0, 3.0, 10.0, 30.0, 100.0)

# RKD's own weights are 25 and 50, so that its whole weight is tuned lower.
ARMS: dict[str, Arm] = {
    "none": Arm("no fine-tuning"),
    "arcface": Arm("ArcFace-FT", {"head": "arcface"}, "margin", MARGINS),
    "cosface": Arm("CosFace-FT", {"head": "cosface"}, "margin", MARGINS),
    "triplet": Arm("triplet", {**ARCFACE, "embedding_loss": "triplet"}, "embedding_weight", WEIGHTS),
    "ohem": Arm("OHEM", {**ARCFACE, "logits_loss": "ohem"}, "ohem_keep", (0.25, 0.5, 0.7, 0.9, 0.95)),
    "focal": Arm("focal", {**ARCFACE, "logits_loss": "focal"}, "focal_gamma", (0.5, 1.0, 2.0, 4.0, 8.0)),
    "histogram": Arm("histogram", {**ARCFACE, "embedding_loss": "histogram"}, "embedding_weight", WEIGHTS),
    # It compares identities, so that the pairs of both groups are of the same ones: as many rows, of fewer people.
    "rkd": Arm(
        "RKD",
        {**ARCFACE, "embedding_loss": "rkd", "shared_identities": True},
        "embedding_weight",
        (0.01, 0.03, 0.1, 0.3, 1.0),
    ),
    "arcface_ddl": Arm("ArcFace+DDL", {**ARCFACE, "embedding_loss": "ddl"}, "embedding_weight", WEIGHTS),
    "cosface_ddl": Arm("CosFace+DDL", {**COSFACE, "embedding_loss": "ddl"}, "embedding_weight", WEIGHTS),
    # Not the paper's: the KL terms leave the teacher where it is.
    "arcface_ddl_detached": Arm(
        "ArcFace+DDL, teacher detached",
        {**ARCFACE, "embedding_loss": "ddl", "stop_teacher_gradient": True},
        "embedding_weight",
        WEIGHTS,
    ),
}

# Not in a comparison unless they are asked for. `_no_pairs`: the rows of pairs are in the batch, but not classified.
VARIANTS: dict[str, Arm] = {
    "arcface_ddl_kl": Arm(
        "ArcFace+DDL, KL terms alone, teacher detached",
        {**ARMS["arcface_ddl_detached"].flags, "order_weight": 0.0},
        "embedding_weight",
        WEIGHTS,
    ),
    **{
        f"{name}_no_pairs": dataclasses.replace(
            ARMS[name],
            title=f"{ARMS[name].title}, pairs not classified",
            flags={**ARMS[name].flags, "classify_pairs": False},
        )
        for name in ("arcface", "arcface_ddl_detached")
    },
}

ALL: dict[str, Arm] = {**ARMS, **VARIANTS}


def chosen_arms(names: Iterable[str]) -> list[str]:
    """Check names of arms.

    Args:
        names: of arms and variants; none stands for `ARMS`.

    Returns:
        The names, in the order of the tables.

    Raises:
        InputError: if there is no such arm.
    """
    wanted = list(names) or list(ARMS)
    for name in wanted:
        if name not in ALL:
            raise InputError(f"--arms={','.join(wanted)}: there is no arm {name!r}; use {', '.join(ALL)}")
    return [name for name in ALL if name in wanted]


def command_line(module: str, settings: Mapping[str, Any]) -> str:
    """Write the command that stands for settings.

    Args:
        module: such as "ddl_tf.train".
        settings: the fields that are given; None is left out.

    Returns:
        The line, for the output folder as the working folder.

    Example:
        >>> command_line("ddl_tf.train", {"classify_pairs": True, "train_data": ["a", "b"], "margin": 0.3})
        'python -m ddl_tf.train --classify_pairs --train_data=a,b --margin=0.3'
    """
    parts = ["python", "-m", module]
    for name, value in settings.items():
        if isinstance(value, bool):
            parts.append(f"--{'' if value else 'no'}{name}")
        elif value is not None:
            parts.append(f"--{name}={','.join(map(str, value)) if isinstance(value, (list, tuple)) else value}")
    return " ".join(parts)
