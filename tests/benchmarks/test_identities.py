import identities as benchmark
import pytest
import tensorflow as tf

from ddl_tf.layers import ArcFace, SampledHead, ShardedHead
from ddl_tf.training import build_optimizer

SETTINGS = benchmark.Settings(identities=[40], embedding_size=6, batch=8, sample_rate=0.5, steps=1)


@pytest.mark.parametrize("name", benchmark.HEADS)
def test_the_bytes_of_the_formulas_are_those_of_the_weights(name, two_replicas):
    replicas, sharded, sampled = benchmark.HEADS[name]
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        head = ArcFace(40)
        if sharded:
            head = ShardedHead(head, 0.5 if sampled else 1.0)
        elif sampled:
            head = SampledHead(head, 0.5)
        head.build([None, 6])
        optimizer = build_optimizer("sgd", 0.1)
        optimizer.build(head.trainable_weights)
    (centers,) = head.trainable_weights
    kept = [centers, *(slot for slot in optimizer.variables if slot.shape == centers.shape)]
    assert len(kept) == 2
    need = benchmark.computed(name, 40, SETTINGS)
    assert need["kept"] == sum(4 * weight.shape.num_elements() for weight in kept)
    taking_part = {"full": 40, "full, 2 replicas": 40, "sampled": 20, "sharded, 2 replicas": 20}.get(name, 10)
    rows = 4 if name == "full, 2 replicas" else 8
    assert need["step"] == 4 * taking_part * (6 + rows)
