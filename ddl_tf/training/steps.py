"""The steps of a run."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Steps:
    """How many steps and epochs a run has; `first` steps are done already, where this process begins."""

    first: int
    per_epoch: int
    epochs: int
    checkpoint_every: int = 1

    @property
    def total(self) -> int:
        """The steps of the whole run."""
        return self.epochs * self.per_epoch

    def segments(self) -> list[tuple[int, int]]:
        """List (start, end) of the steps to do, such that Keras fits each with whole epochs or a part of one."""
        boundary = min(-(-self.first // self.per_epoch) * self.per_epoch, self.total)
        return [(start, end) for start, end in ((self.first, boundary), (boundary, self.total)) if start < end]
