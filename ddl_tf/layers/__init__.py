"""The layers of a recognizer beside its backbone: margin heads and embedding necks."""

from typing import TYPE_CHECKING

from ddl_tf.common.keras_version import BACKEND, refuse_names

__all__ = [
    "BATCH_NORM",
    "AdaFace",
    "ArcFace",
    "CombinedMargin",
    "CompactHead",
    "CosFace",
    "CurricularFace",
    "DepthwiseNeck",
    "FlattenNeck",
    "GroupedConvolution",
    "LowRankConv2D",
    "LowRankDense",
    "LowRankEinsumDense",
    "LowRankLayer",
    "LowRankMultiHeadAttention",
    "MagFace",
    "MarginHead",
    "PartialFC",
    "PoolNeck",
    "SampledHead",
    "ShardedHead",
    "SubCenterArcFace",
    "Targets",
    "combine_compact",
    "compact_logits",
    "is_synchronized",
    "synchronize_batch_norm",
]

if TYPE_CHECKING or BACKEND == "tensorflow":
    from ddl_tf.layers.adaface import AdaFace
    from ddl_tf.layers.arcface import ArcFace, CombinedMargin, CosFace
    from ddl_tf.layers.compact_head import CompactHead, combine_compact, compact_logits
    from ddl_tf.layers.curricularface import CurricularFace
    from ddl_tf.layers.grouped_convolution import GroupedConvolution
    from ddl_tf.layers.low_rank import (
        LowRankConv2D,
        LowRankDense,
        LowRankEinsumDense,
        LowRankLayer,
        LowRankMultiHeadAttention,
    )
    from ddl_tf.layers.magface import MagFace
    from ddl_tf.layers.margin import MarginHead, Targets
    from ddl_tf.layers.neck import BATCH_NORM, DepthwiseNeck, FlattenNeck, PoolNeck
    from ddl_tf.layers.partial_fc import PartialFC, SampledHead
    from ddl_tf.layers.sharded import ShardedHead
    from ddl_tf.layers.subcenter import SubCenterArcFace
    from ddl_tf.layers.sync_batch_norm import is_synchronized, synchronize_batch_norm
else:
    # The same classes in `keras.ops`, which take the place of those of TensorFlow in saved models too; and the layers
    # that are made of Keras' own.
    from ddl_tf.layers.neck import BATCH_NORM, DepthwiseNeck, FlattenNeck
    from ddl_tf.layers.ops_margin import ArcFace, CombinedMargin, CosFace, MarginHead, Targets
    from ddl_tf.layers.ops_statistics import AdaFace, CurricularFace, MagFace, SubCenterArcFace
    from ddl_tf.layers.sync_batch_norm import is_synchronized, synchronize_batch_norm

    __getattr__ = refuse_names(__name__, set(__all__))
