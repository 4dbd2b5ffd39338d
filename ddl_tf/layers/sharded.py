"""The sharded head: every replica has a part of the classes, and no replica has them all (model parallel softmax)."""

import re
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.keras_version import WITHOUT_CAST, rows_of, tf_variable
from ddl_tf.common.replicas import gather_rows, in_several_replicas
from ddl_tf.layers.compact_head import NO_LOGIT, combine_compact, compact_logits
from ddl_tf.layers.curricularface import CurricularFace
from ddl_tf.layers.margin import CENTERS_STDDEV, MarginHead, Targets, cosines_between
from ddl_tf.layers.partial_fc import PartialFC

SHARD_NAME = "class_shard"
# Rows of random centers that are made at a time.
_DRAWN_ROWS = 2**14


def is_shard(variable: tf.Variable) -> bool:
    """Whether the copies of a variable on the replicas are shards of one matrix, as those of a `ShardedHead` are."""
    # Keras 3 calls an optimizer's momentum of it "head_class_shard_momentum".
    return re.search(rf"(^|/|_){SHARD_NAME}(_[a-z]+)?(/replica_\d+)?(:0)?$", variable.name) is not None


def copies_of(variable: tf.Variable) -> tuple[tf.Variable, ...]:
    """Return the variables, one for each replica, that a variable of any strategy consists of."""
    variable = tf_variable(variable)
    return variable.values if isinstance(variable, tf.distribute.DistributedValues) else (variable,)


def assembled(variable: tf.Variable, num_classes: int) -> tf.Tensor:
    """Put the shards of class centers, or of what an optimizer keeps of them, together: `[num_classes, dim]`."""
    return tf.concat([tf.convert_to_tensor(copy) for copy in copies_of(variable)], axis=0)[:num_classes]


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class ShardedHead(PartialFC):
    """A margin head whose class centers are split over the replicas of a `MirroredStrategy`.

    With R replicas each has `ceil(num_classes / R)` classes, and computes the logits of the rows of all replicas to
    them; three numbers for a row are exchanged. Loss and gradients are those of the head that it wraps. With a sample
    rate below 1 every shard draws a sample of its classes: Partial FC proper.

    The centers are one trainable weight, whose copies on the replicas differ. An optimizer must know that, as those of
    `ddl_tf.training.build_optimizer` do; any other would sum the gradients of different classes. `get_weights`,
    `set_weights` and `tf.train.Checkpoint` see the first shard alone; use `centers_by_class` and `assign_centers`.
    A `.keras` file has all centers, and is loaded onto any number of replicas.

    Args:
        head: the margin head whose margin, scale and number of classes are used; neither `SubCenterArcFace` nor
            `CurricularFace`.
        sample_rate: share of the classes of a shard that take part in a training step, in (0, 1].
        seed: of the samples.

    Raises:
        ValueError: if an argument is out of its range, the head cannot be sharded, or the strategy has its replicas on
            several machines.

    Example:
        >>> from ddl_tf.layers import ArcFace
        >>> ShardedHead(ArcFace(num_classes=1000))(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 3])

    References:
        An et al., "Partial FC: Training 10 Million Identities ...", ICCVW 2021, https://arxiv.org/abs/2010.05222
    """

    def __init__(self, head: MarginHead, sample_rate: float = 1.0, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(head, sample_rate, seed, **kwargs)
        if isinstance(head, CurricularFace):
            raise ValueError(f"{type(head).__name__} cannot be sharded: a shard lacks the targets of most rows")

    def build(self, input_shape: Any) -> None:
        """Make the shards."""
        strategy = tf.distribute.get_strategy()
        self._num_shards = strategy.num_replicas_in_sync
        if self._num_shards > 1 and not isinstance(strategy, tf.distribute.MirroredStrategy):
            raise ValueError(f"a sharded head needs a MirroredStrategy, got {type(strategy).__name__}")
        self.build_statistics()
        self._shard_rows = -(-self.num_classes // self._num_shards)
        dim = int(input_shape[-1])
        self.class_shard = self.add_weight(
            name=SHARD_NAME, shape=(self._shard_rows, dim), initializer="zeros", **WITHOUT_CAST
        )
        # Keras 3 may build it in the graph of a function.
        with tf.init_scope():
            self._begin(dim)
        tf.keras.layers.Layer.build(self, input_shape)

    def _begin(self, dim: int) -> None:
        # Shard by shard out of one stream of numbers: the same centers for any number of shards, never all at once.
        # Its seed is TensorFlow's, as that of every other weight.
        random = np.random.default_rng(int(tf.random.uniform([], maxval=2**31 - 1, dtype=tf.int32)))
        for k, copy in enumerate(copies_of(self.class_shard)):
            real = int(np.clip(self.num_classes - k * self._shard_rows, 0, self._shard_rows))
            for start in range(0, real, _DRAWN_ROWS):
                end = min(start + _DRAWN_ROWS, real)
                rows = CENTERS_STDDEV * random.standard_normal([end - start, dim], np.float32)
                # To assign to a slice copies the whole shard each time.
                copy.scatter_update(tf.IndexedSlices(rows, tf.range(start, end)))

    def centers_by_class(self) -> tf.Tensor:
        """Put the shards together: `[num_classes, dim]`."""
        return assembled(self.class_shard, self.num_classes)

    def assign_centers(self, centers: tf.Tensor) -> None:
        """Split class centers `[num_classes, dim]` into shards."""
        rows, dim = self.class_shard.shape
        for k, copy in enumerate(copies_of(self.class_shard)):
            shard = centers[k * rows : (k + 1) * rows]
            copy.assign(tf.concat([shard, tf.zeros([rows - len(shard), dim])], axis=0))

    def cosines(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Return the cosines to every class, `[batch, num_classes]`; this puts the shards together."""
        return cosines_between(embeddings, self.centers_by_class(), by_class=True)

    def _compact_logits(self, embeddings: tf.Tensor, labels: tf.Tensor, training: Optional[bool]) -> tf.Tensor:
        if not in_several_replicas():
            training = training and self._num_shards == 1
            shards = enumerate(copies_of(self.class_shard))
            parts = tf.stack([self._of_shard(embeddings, labels, shard, k, training) for k, shard in shards])
            return combine_compact(parts)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        all_embeddings, all_labels = gather_rows(embeddings, labels)
        (counts,) = gather_rows(tf.shape(labels))
        of_shard = self._of_shard(all_embeddings, all_labels, self.class_shard, replica, training)
        combined = combine_compact(*gather_rows(of_shard[tf.newaxis]))
        first = tf.reduce_sum(tf.where(tf.range(self._num_shards) < replica, counts, 0))
        return tf.ensure_shape(combined[first : first + tf.size(labels)], [labels.shape[0], 3])

    def _of_shard(
        self, embeddings: tf.Tensor, labels: tf.Tensor, shard: tf.Variable, number: Any, training: Optional[bool]
    ) -> tf.Tensor:
        """The compact logits `[batch, 3]` over the classes of one shard."""
        labels = labels - number * self._shard_rows
        labels = tf.where((labels >= 0) & (labels < self._shard_rows), labels, -1)
        real = self.num_classes - number * self._shard_rows
        if training and self.sample_rate < 1:
            classes = self.draw(labels, self._shard_rows, number, real)
            shard = rows_of(shard, classes)
            labels = tf.where(labels >= 0, tf.searchsorted(classes, labels), -1)
        else:
            classes = tf.range(self._shard_rows)
        targets = Targets(labels)
        cosines = cosines_between(embeddings, shard, by_class=True)
        logits = self.scale * self.head.with_margin(cosines, targets, embeddings, training)
        if self._shard_rows * self._num_shards > self.num_classes:
            logits = tf.where(classes < real, logits, NO_LOGIT)
        return compact_logits(logits, targets)

    def save_own_variables(self, store: Any) -> None:
        """Write all class centers into a `.keras` file."""
        store["class_centers"], store["drawn"] = self.centers_by_class().numpy(), self.drawn.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Read all class centers from a `.keras` file."""
        self.assign_centers(store["class_centers"][:])
        self.drawn.assign(store["drawn"][()])
