"""What the losses on the embedding output share: the rows of the global batch, and one number for all of them."""

from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.replicas import gather_rows
from ddl_tf.losses.rows import checked_rows


class EmbeddingLoss(tf.keras.losses.Loss):
    """One number for the embeddings of a whole batch; subclasses define `call`.

    Args:
        gather: whether replicas pool their rows before the loss is computed.
        name: the name of the loss.
    """

    def __init__(self, gather: bool = True, name: Optional[str] = None, **kwargs: Any) -> None:
        # The loss is one number for the whole batch: there is nothing left to reduce.
        super().__init__(name=name, **kwargs)
        self.gather = gather

    def __call__(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: Optional[tf.Tensor] = None) -> tf.Tensor:
        """Compute the loss as Keras does; see `call`.

        Args:
            y_true: as for `call`.
            y_pred: as for `call`.
            sample_weight: not supported: the batch has a loss, a row has none.

        Returns:
            `[]` float32.

        Raises:
            ValueError: if a `sample_weight` is given.
        """
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} takes no sample_weight: there is no loss per row; leave rows out of the batch, "
                'or out of the distillation by the group -1; weights of the labels alone are {"logits": weights}'
            )
        return super().__call__(y_true, y_pred)

    def global_batch(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Read the rows that the loss is over.

        Args:
            y_true: `[batch, 2]` int: identity and group of each row.
            y_pred: `[batch, dim]` float: embeddings.

        Returns:
            `[rows, dim]` float32 embeddings, `[rows]` int64 identities and `[rows]` int64 groups: those of all
            replicas if `gather` is set.
        """
        rows, embeddings = checked_rows(y_true, y_pred)
        if self.gather:
            rows, embeddings = gather_rows(rows, embeddings)
        return embeddings, rows[:, 0], rows[:, 1]

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments.

        Returns:
            A dict from which `from_config` makes an equal loss.
        """
        return {**super().get_config(), "gather": self.gather}
