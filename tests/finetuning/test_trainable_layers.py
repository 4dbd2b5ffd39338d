import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_version import variable_path
from ddl_tf.finetuning import layers_of_last_blocks, train_only
from ddl_tf.finetuning.network_graph import NetworkGraph
from ddl_tf.models import build_embedding_model
from ddl_tf.models.low_rank import add_low_rank


@pytest.fixture(scope="module")
def network():
    tf.keras.utils.set_random_seed(0)
    return build_embedding_model("iresnet18", 16, (32, 32, 3))


def test_blocks_end_where_branches_have_come_together(network):
    graph = NetworkGraph(network)
    ends = [graph.calls[start - 1].layer.name for start in graph.block_starts()[1:]]
    assert ends == [f"layer{stage}.{block}.add" for stage in range(1, 5) for block in range(2)]


def test_both_parts_at_any_cut_give_what_the_network_gives(network):
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    expected = network(images)
    cuts = NetworkGraph(network).cuts()
    assert 0 in cuts
    for cut in (*list(cuts)[:: len(cuts) // 4], max(cuts)):
        lower, upper = NetworkGraph(network).parts(cut)
        np.testing.assert_array_equal(upper(lower(images)), expected)


def test_a_branch_is_not_cut():
    image = tf.keras.Input([4, 4, 3], name="image")
    first = tf.keras.layers.Conv2D(3, 1, name="first")(image)
    second = tf.keras.layers.Conv2D(3, 1, name="second")(first)
    joined = tf.keras.layers.Add(name="add")([second, image])
    # The image goes on beside the two convolutions.
    assert list(NetworkGraph(tf.keras.Model(image, joined)).cuts()) == [0, 3]


def trained(network):
    return {variable_path(weight).split("/")[0] for weight in network.trainable_weights}


def test_the_last_blocks_or_named_layers_train(network):
    assert train_only(network, last_blocks=1) == ["neck"]
    last = ["layer4.1.bn1", "layer4.1.conv1", "layer4.1.bn2", "layer4.1.prelu", "layer4.1.conv2", "layer4.1.bn3"]
    assert sorted(train_only(network, last_blocks=2)) == sorted([*last, "neck"])
    assert train_only(network, patterns=["conv1", r"layer1\.0\.conv."]) == ["conv1", "layer1.0.conv1", "layer1.0.conv2"]
    assert trained(network) == {"conv1", "layer1.0.conv1", "layer1.0.conv2"}
    assert train_only(network, 1, ["conv1"]) == ["conv1", "neck"]
    everything = train_only(network)
    assert len(everything) == sum(bool(call.layer.weights) for call in NetworkGraph(network).calls)


def test_frozen_batch_norm_is_that_of_inference_wherever_it_is(network):
    names = train_only(network, freeze_batch_norm=True)
    assert not [name for name in names if "bn" in name]
    images = np.random.default_rng(1).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    statistics = [weight.numpy() for weight in network.non_trainable_weights]
    np.testing.assert_array_equal(network(images, training=True), network(images))
    for weight, before in zip(network.non_trainable_weights, statistics):
        np.testing.assert_array_equal(weight, before)


def test_low_rank_layers_train_alone_unless_others_are_chosen(network):
    changed = add_low_rank(network, 2, 2.0, r"layer4.*")
    names = train_only(changed)
    # Its 3 x 3 convolutions are no low-rank layers.
    assert names == ["layer4.0.downsample.0"]
    assert [weight.shape.as_list() for weight in changed.trainable_weights] == [[256, 2], [2, 512]]
    assert train_only(changed, last_blocks=1) == ["layer4.0.downsample.0", "neck"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"last_blocks": 99}, r"--train_blocks=99: the network has 9 blocks \(of "),
        ({"last_blocks": 0}, "--train_blocks=0"),
        ({"patterns": ["conv9"]}, "--train_layers=conv9: no layer with weights has such a name; there are conv1, bn1"),
        ({"patterns": ["conv("]}, r"--train_layers=conv\( is no regular expression"),
        ({"patterns": ["bn1"], "freeze_batch_norm": True}, "nothing of the network is left to train"),
    ],
)
def test_refused(network, arguments, words):
    with pytest.raises(InputError, match=words):
        train_only(network, **arguments)


def test_low_rank_layers_of_the_last_blocks(network):
    names = layers_of_last_blocks(network, 4)
    assert [name for name in names if "downsample" in name] == ["layer4.0.downsample.0", "layer4.0.downsample.1"]
    changed = add_low_rank(network, 2, 2.0, among=names)
    assert train_only(changed) == ["layer4.0.downsample.0"]
    with pytest.raises(InputError, match="no dense or 1 x 1 convolution layer of the blocks that train has a name"):
        add_low_rank(network, 2, 2.0, among=["neck"])
