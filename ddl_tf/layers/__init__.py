"""The layers of a recognizer beside its backbone: margin heads and embedding necks."""

from ddl_tf.layers.float32 import Float32Layer
from ddl_tf.layers.grouped_convolution import GroupedConvolution
from ddl_tf.layers.margin import ArcFace, CombinedMargin, CosFace, MarginHead
from ddl_tf.layers.neck import BATCH_NORM, DepthwiseNeck, FlattenNeck, PoolNeck

__all__ = [
    "BATCH_NORM",
    "ArcFace",
    "CombinedMargin",
    "CosFace",
    "DepthwiseNeck",
    "FlattenNeck",
    "Float32Layer",
    "GroupedConvolution",
    "MarginHead",
    "PoolNeck",
]
