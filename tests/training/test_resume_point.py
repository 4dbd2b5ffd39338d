import numpy as np
import pytest

from ddl_tf.common.errors import InputError, NotFiniteError
from ddl_tf.layers.sharded import copies_of, is_shard
from ddl_tf.losses import MarginSoftmaxLoss
from ddl_tf.models import build_recognizer
from ddl_tf.training import build_optimizer
from ddl_tf.training.checkpoints import ResumePoint
from ddl_tf.training.objective import make_state

ROWS = 8


def compiled(people=5, **head):
    model = build_recognizer("plain_small", people, embedding_size=16, input_shape=(16, 16, 3), **head)
    compact = head.keys() & {"sample_rate", "sharded_head"}
    model.compile(build_optimizer("sgd", 0.05), loss={"logits": MarginSoftmaxLoss(compact=bool(compact))})
    make_state(model)
    # A graph takes longer than a step; a sharded head is trained on replicas.
    model.run_eagerly = "sharded_head" not in head
    return model


def sharded():
    return compiled(sharded_head=True)


def fit(model, seed):
    random = np.random.default_rng(seed)
    label = random.integers(-1, 5, ROWS)
    images = random.integers(0, 256, [ROWS, 16, 16, 3]).astype(np.uint8)
    return model.fit({"image": images, "label": label}, {"logits": label}, batch_size=ROWS, verbose=0).history


@pytest.mark.parametrize(
    "head",
    [{"head": "curricularface"}, {"head": "adaface"}, {"people": 40, "sample_rate": 0.25}],
    ids=["curricularface", "adaface", "sampled"],
)
def test_what_a_head_remembers_is_resumed_bit_for_bit(head, tmp_path):
    """Its running statistics; the samples that would have come next."""
    model = compiled(**head)
    start = [weight.numpy() for weight in model.get_layer("head").non_trainable_weights]
    fit(model, 1)
    ResumePoint(tmp_path, model).save(1)
    expected = fit(model, 2)
    resumed = compiled(**head)
    assert ResumePoint(tmp_path, resumed).restore() == 1
    assert fit(resumed, 2) == expected
    for weight, expected_weight in zip(resumed.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(weight, expected_weight)
    for weight, old in zip(resumed.get_layer("head").non_trainable_weights, start):
        assert not np.array_equal(weight, old), weight.name


def shards(model):
    """The shards of the centers, and of their momentum."""
    variables = [v for v in [*model.variables, *model.optimizer.variables] if is_shard(v)]
    return [copy.numpy() for variable in variables for copy in copies_of(variable)]


def test_every_shard_is_resumed_with_its_momentum(two_replicas, tmp_path):
    with two_replicas.scope():
        model, resumed = sharded(), sharded()
        fit(model, 1)
        ResumePoint(tmp_path, model).save(1)
        assert ResumePoint(tmp_path, resumed).restore() == 1
    first, second, *momentum = shards(model)
    assert not np.array_equal(first, second)
    assert all(np.any(values) for values in momentum)
    assert len(momentum) == 2
    for weight, expected_weight in zip(shards(resumed), shards(model)):
        np.testing.assert_array_equal(weight, expected_weight)


def test_shards_are_resumed_on_as_many_devices(two_replicas, tmp_path):
    with two_replicas.scope():
        ResumePoint(tmp_path, sharded()).save(1)
    with pytest.raises(InputError, match="can be resumed"):
        ResumePoint(tmp_path, sharded()).restore()


def test_a_shard_that_is_not_finite_is_not_saved(two_replicas, tmp_path):
    with two_replicas.scope():
        model = sharded()
        point = ResumePoint(tmp_path, model)
        _, second = copies_of(model.get_layer("head").class_shard)
        second.assign(np.nan * second)
        with pytest.raises(NotFiniteError, match=r"class_shard.* is not finite after step 3"):
            point.save(3)
