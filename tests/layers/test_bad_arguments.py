"""Every layer names the argument that it refuses, its value, and what would do."""

import pytest
import tensorflow as tf

from ddl_tf import layers

INF, NAN = float("inf"), float("nan")
# The layer, its arguments, the message.
REFUSED = [
    *(("MarginHead", (x,), {}, f"num_classes must be a whole number, at least 1, got {x}") for x in (0, 3.7)),
    *(("MarginHead", (3,), {"scale": x}, f"scale must be above 0 and finite, got {x}") for x in (-1.0, INF)),
    *(("CombinedMargin", (3,), {"m1": x}, f"m1 must be above 0 and finite, got {x}") for x in (0.0, INF)),
    *(("CombinedMargin", (3,), {"m3": x}, rf"m3 must be in \[0, 2\), got {x}") for x in (-0.1, INF)),
    *(("ArcFace", (3,), {"margin": x}, rf"margin must be an angle in \[0, pi\), got {x}") for x in (3.2, NAN)),
    *(("CosFace", (3,), {"margin": x}, rf"margin must be in \[0, 2\), got {x}") for x in (-0.35, 10.0, INF)),
    *(("CurricularFace", (3,), {"momentum": x}, rf"momentum must be in \[0, 1\), got {x}") for x in (1.0, -0.1)),
    *(("AdaFace", (3,), {"margin": x}, rf"margin must be in \[0, pi\), got {x}") for x in (3.2, NAN)),
    *(("AdaFace", (3,), {"h": x}, f"h must not be negative, and finite, got {x}") for x in (-0.1, INF)),
    *(("AdaFace", (3,), {"t_alpha": x}, rf"t_alpha must be in \(0, 1\], got {x}") for x in (0.0, 1.5)),
    *(("MagFace", (3,), {"l_a": x}, f"0 < l_a < u_a, both finite, got l_a {x}, u_a 110.0") for x in (0.0, 120.0)),
    ("MagFace", (3,), {"u_a": INF}, "both finite, got l_a 10.0, u_a inf"),
    *(("MagFace", (3,), {"l_margin": x}, f"l_margin <= u_margin < pi, got l_margin {x}, u_m") for x in (-0.1, 0.9)),
    ("MagFace", (3,), {"u_margin": 3.2}, "got l_margin 0.45, u_margin 3.2"),
    *(("MagFace", (3,), {"lambda_g": x}, f"lambda_g must not be negative, and finite, got {x}") for x in (-1.0, NAN)),
    *(("SubCenterArcFace", (3,), {"sub_centers": x}, f"sub_centers must be a whole .*got {x}") for x in (0, 1.5)),
    ("FlattenNeck", (0,), {}, "embedding_size must be a whole number, at least 1, got 0"),
    ("PoolNeck", (-3,), {}, "embedding_size must be a whole number, at least 1, got -3"),
    ("FlattenNeck", (8,), {"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ("GroupedConvolution", (0,), {}, "groups must be at least 1, got 0"),
    ("GroupedConvolution", (4,), {}, "got 4 groups, 6 channels"),
    ("GroupedConvolution", (2, -1), {}, "kernel_size must be at least 1, got -1"),
    *(("PartialFC", (layers.ArcFace(3), x), {}, f"sample_rate must be .* at most 1, got {x}") for x in (0.0, 1.5)),
    ("PartialFC", (layers.SubCenterArcFace(3),), {}, "SubCenterArcFace cannot be sampled: it has several centers"),
    ("ShardedHead", (layers.SubCenterArcFace(3),), {}, "SubCenterArcFace cannot be sampled"),
    ("ShardedHead", (layers.CurricularFace(3),), {}, "CurricularFace cannot be sharded: a shard lacks the targets"),
    *((x, (layers.PartialFC(layers.ArcFace(3)),), {}, f"{x} takes a plain .*") for x in ("PartialFC", "ShardedHead")),
]


@pytest.mark.parametrize("layer, values, arguments, message", REFUSED)
def test_bad_arguments(layer, values, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(layers, layer)(*values, **arguments)(tf.zeros([2, 5, 4, 6]))
