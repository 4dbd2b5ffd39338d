"""The sharded head: every replica has a part of the classes, and no replica has them all (model parallel softmax)."""

import re
from typing import Any, Optional, Union

import numpy as np
import tensorflow as tf

from ddl_tf.common.class_labels import class_numbers
from ddl_tf.common.replicas import gather_rows, in_several_replicas
from ddl_tf.layers.compact_logits import NO_LOGIT, combine_compact, compact_logits
from ddl_tf.layers.curricularface import CurricularFace
from ddl_tf.layers.margin import CENTERS_STDDEV, MarginHead, cosines_to_rows
from ddl_tf.layers.partial_fc import SampledHead
from ddl_tf.layers.targets import Targets

SHARD_NAME = "class_shard"


def is_shard(variable: tf.Variable) -> bool:
    """Whether the copies of a variable on the replicas are shards of one matrix.

    Args:
        variable: a weight of a model.

    Returns:
        True for the class centers of a `ShardedHead`.
    """
    return re.search(rf"(^|/){SHARD_NAME}(/replica_\d+)?(:0)?$", variable.name) is not None


def copies_of(variable: tf.Variable) -> tuple[tf.Variable, ...]:
    """Give the variables that a variable consists of.

    Args:
        variable: made in or out of the scope of a strategy.

    Returns:
        One for each replica.
    """
    return variable.values if isinstance(variable, tf.distribute.DistributedValues) else (variable,)


def assembled(variable: tf.Variable, num_classes: int) -> tf.Tensor:
    """Put shards together.

    Args:
        variable: the class centers of a sharded head, or what an optimizer keeps of them, such as their momentum.
        num_classes: number of identities.

    Returns:
        `[num_classes, dim]`.
    """
    return tf.concat([tf.convert_to_tensor(copy) for copy in copies_of(variable)], axis=0)[:num_classes]


def cut(variable: tf.Variable, matrix: Any) -> None:
    """Give every replica its shard of a matrix.

    Args:
        variable: the class centers of a sharded head, or what an optimizer keeps of them.
        matrix: `[num_classes, dim]`.
    """
    rows, dim = variable.shape
    for k, copy in enumerate(copies_of(variable)):
        shard = matrix[k * rows : (k + 1) * rows]
        copy.assign(tf.concat([shard, tf.zeros([rows - len(shard), dim], variable.dtype)], axis=0))


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class ShardedHead(SampledHead):
    """A margin head whose class centers are split over the replicas of a `MirroredStrategy`.

    With R replicas each has `ceil(num_classes / R)` classes, with their momentum. All replicas exchange their
    embeddings, a replica computes the logits of all rows to its own classes, and what is exchanged of these is three
    numbers for a row. Loss and gradients are those of the head that it wraps. With a sample rate below 1 every shard
    draws a sample of its classes: Partial FC proper.

    The centers are one trainable weight, whose copies on the replicas differ. An optimizer must know that, as those of
    `ddl_tf.training.build_optimizer` do; any other would sum the gradients of different classes. `get_weights`,
    `set_weights` and `tf.train.Checkpoint` see the first shard alone; use `centers_by_class` and `assign_centers`.
    A `.keras` file has all centers, and is loaded onto any number of replicas.

    Args:
        head: the margin head whose margin, scale and number of classes are used; neither `SubCenterArcFace` nor
            `CurricularFace`.
        sample_rate: share of the classes of a shard that take part in a training step, in (0, 1].
        seed: of the samples.
        **kwargs: arguments of `tf.keras.layers.Layer`.

    Raises:
        ValueError: if an argument is out of its range, the head cannot be sharded, or the strategy has its replicas on
            several machines.

    Example:
        >>> from ddl_tf.layers import ArcFace
        >>> ShardedHead(ArcFace(num_classes=1000))(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 3])

    References:
        An et al., "Partial FC: Training 10 Million Identities on a Single Machine", ICCVW 2021,
        https://arxiv.org/abs/2010.05222
    """

    def __init__(self, head: MarginHead, sample_rate: float = 1.0, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(head, sample_rate, seed, **kwargs)
        if isinstance(head, CurricularFace):
            raise ValueError(f"{type(head).__name__} cannot be sharded: a shard lacks the targets of most rows")

    def build(self, input_shape: Any) -> None:
        """Make the shards.

        Args:
            input_shape: `[batch, dim]`, the shape of the embeddings.
        """
        strategy = tf.distribute.get_strategy()
        self._num_shards = strategy.num_replicas_in_sync
        if self._num_shards > 1 and not isinstance(strategy, tf.distribute.MirroredStrategy):
            raise ValueError(f"a sharded head needs a MirroredStrategy, got {type(strategy).__name__}")
        self.build_statistics()
        self._shard_rows = -(-self.num_classes // self._num_shards)
        dim = int(input_shape[-1])
        self.class_shard = self.add_weight(name=SHARD_NAME, shape=(self._shard_rows, dim), initializer="zeros")
        # Shard by shard out of one stream of numbers: the same centers for any number of shards, never all at once.
        # Its seed is TensorFlow's, as that of every other weight.
        random = np.random.default_rng(int(tf.random.uniform([], maxval=2**31 - 1, dtype=tf.int32)))
        for k, copy in enumerate(copies_of(self.class_shard)):
            real = int(np.clip(self.num_classes - k * self._shard_rows, 0, self._shard_rows))
            values = np.zeros([self._shard_rows, dim], np.float32)
            values[:real] = CENTERS_STDDEV * random.standard_normal([real, dim], np.float32)
            copy.assign(values)
        tf.keras.layers.Layer.build(self, input_shape)

    def centers_by_class(self) -> tf.Tensor:
        """Put the shards together.

        Returns:
            `[num_classes, dim]`.
        """
        return assembled(self.class_shard, self.num_classes)

    def assign_centers(self, centers: tf.Tensor) -> None:
        """Cut the class centers into shards.

        Args:
            centers: `[num_classes, dim]`.
        """
        cut(self.class_shard, centers)

    def cosines(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Compute the cosine of every embedding to every class; this puts the shards together.

        Args:
            embeddings: `[batch, dim]`, need not be normalised.

        Returns:
            `[batch, num_classes]`, in [-1, 1].
        """
        return cosines_to_rows(embeddings, self.centers_by_class())

    def call(
        self, embeddings: tf.Tensor, labels: Optional[tf.Tensor] = None, training: Optional[bool] = None
    ) -> tf.Tensor:
        """Compute the logits.

        Args:
            embeddings: `[batch, dim]`, need not be normalised.
            labels: int `[batch]` or `[batch, 1]`; a row with -1 has no target.
            training: whether to draw a sample (and running statistics to learn from these rows).

        Returns:
            `[batch, 3]` float32, see `compact_logits`; without labels `[batch, num_classes]`, without margin.

        Raises:
            ValueError: as for `MarginHead`.
        """
        if labels is None:
            return self.scale * self.cosines(embeddings)
        labels, out_of_range = class_numbers(labels, embeddings, self.num_classes)
        if not in_several_replicas():
            training = training and self._num_shards == 1
            shards = enumerate(copies_of(self.class_shard))
            parts = tf.stack([self._of_shard(embeddings, labels, shard, k, training) for k, shard in shards])
            return combine_compact(parts) + out_of_range[:, tf.newaxis]
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        everyone, all_labels = gather_rows(embeddings, labels)
        (counts,) = gather_rows(tf.shape(labels))
        of_shard = self._of_shard(everyone, all_labels, self.class_shard, replica, training)
        combined = combine_compact(*gather_rows(of_shard[tf.newaxis]))
        first = tf.reduce_sum(tf.where(tf.range(self._num_shards) < replica, counts, 0))
        own = tf.ensure_shape(combined[first : first + tf.size(labels)], [labels.shape[0], 3])
        return own + out_of_range[:, tf.newaxis]

    def _of_shard(
        self,
        embeddings: tf.Tensor,
        labels: tf.Tensor,
        shard: tf.Variable,
        number: Union[int, tf.Tensor],
        training: Optional[bool],
    ) -> tf.Tensor:
        """The compact logits `[batch, 3]` over the classes of one shard."""
        labels = labels - number * self._shard_rows
        labels = tf.where((labels >= 0) & (labels < self._shard_rows), labels, -1)
        real = self.num_classes - number * self._shard_rows
        if training and self.sample_rate < 1:
            classes = self.draw(labels, self._shard_rows, number, real)
            shard = tf.gather(shard, classes)
            labels = tf.where(labels >= 0, tf.searchsorted(classes, labels), -1)
        else:
            classes = tf.range(self._shard_rows)
        targets = Targets(labels)
        cosines = cosines_to_rows(embeddings, shard)
        logits = self.scale * self.head.with_margin(cosines, targets, embeddings, training)
        if self._shard_rows * self._num_shards > self.num_classes:
            logits = tf.where(classes < real, logits, NO_LOGIT)
        return compact_logits(logits, targets)

    def save_own_variables(self, store: Any) -> None:
        """Write what is in a `.keras` file: all class centers.

        Args:
            store: of Keras.
        """
        store["class_centers"], store["drawn"] = self.centers_by_class().numpy(), self.drawn.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Read what is in a `.keras` file.

        Args:
            store: of Keras.
        """
        self.assign_centers(store["class_centers"][:])
        self.drawn.assign(store["drawn"][()])
