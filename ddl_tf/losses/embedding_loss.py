"""The base of the losses on the embedding output: one number for the rows of the global batch."""

from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.replicas import gather_rows
from ddl_tf.losses.rows import checked_rows


class EmbeddingLoss(tf.keras.losses.Loss):
    """The base of losses that give one number for the embeddings of a whole batch; subclasses define `call`.

    `y_true` is int `[batch, 2]`, identity and group of each row; `y_pred` is float `[batch, dim]`, embeddings of any
    length. Rows that are not whole numbers, of another shape or another number are refused (ValueError).

    Args:
        gather: whether replicas pool their rows before the loss is computed.
    """

    def __init__(self, gather: bool = True, name: Optional[str] = None, **kwargs: Any) -> None:
        # The loss is one number for the whole batch: there is nothing left to reduce.
        super().__init__(name=name, **kwargs)
        self.gather = gather

    def __call__(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: Optional[tf.Tensor] = None) -> tf.Tensor:
        """Return the loss, `[]` float32; a `sample_weight` is refused (ValueError)."""
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} takes no sample_weight: there is no loss per row; leave rows out of the batch, "
                'or out of the distillation by the group -1; weights of the labels alone are {"logits": weights}'
            )
        return super().__call__(y_true, y_pred)

    def global_batch(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return embeddings `[rows, dim]`, identities and groups `[rows]` int64, of all replicas if `gather` is set."""
        rows, embeddings = checked_rows(y_true, y_pred)
        if self.gather:
            rows, embeddings = gather_rows(rows, embeddings)
        return embeddings, rows[:, 0], rows[:, 1]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "gather": self.gather}
