"""Runs that fine-tune: what trains, how fast, what pulls back, and activations that are kept."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor, TimeoutError

import numpy as np
import pytest
import tensorflow as tf
from fault_runs import last_weights, run, small_settings
from tiny_network import tiny_network  # noqa: F401

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import lock_folder
from ddl_tf.common.keras_version import variable_path
from ddl_tf.data import Faces
from ddl_tf.finetuning import FeatureCache, train_only
from ddl_tf.models import build_embedding_model, embedding_model, load_checkpoint
from ddl_tf.training.optimizers import build_optimizer


@pytest.fixture(scope="module")
def start(small_faces, tmp_path_factory):
    """A run to start from, without dropout."""
    settings = small_settings(small_faces, tmp_path_factory.mktemp("start") / "run", shuffled_rows=8, dropout=0.0)
    run(settings)
    return settings.run_dir


@pytest.fixture
def settings(small_faces, tmp_path, start):
    rows = {"rows_per_group": 2, "pairs_per_group": 2, "embedding_loss": "ddl", "dropout": 0.0}
    return small_settings(small_faces, tmp_path / "run", init_checkpoint=start, **rows)


def by_name(folder):
    weights = load_checkpoint(f"{folder}/checkpoints/last.keras").weights
    return {variable_path(weight).split(":")[0]: weight.numpy() for weight in weights}


def changed(settings, start, **changes):
    """The weights that differ after a run from those that it started from."""
    settings = dataclasses.replace(settings, **changes)
    results = run(settings)
    first = load_checkpoint(f"{start}/checkpoints/best.keras").get_weights()
    pairs = zip(last_weights(settings.run_dir), first, by_name(settings.run_dir))
    return {name for after, before, name in pairs if np.any(after != before)}, results


def test_frozen_layers_stay_as_they_were(settings, start):
    names, _ = changed(settings, start, train_blocks=1)
    everything = set(by_name(start))
    # The tiny network has one sum; behind it are its activation, the neck, and the head.
    assert names
    assert not [name for name in names if name.startswith(("conv2d", "batch_normalization/"))]
    assert len(names) < len(everything) / 2


def test_activations_that_are_kept_change_nothing(settings, small_faces, start, tmp_path, capsys):
    _, expected = changed(settings, start, train_blocks=1, head_start="class_means")
    weights = last_weights(settings.run_dir)
    for name in ("first", "second"):
        cached = dataclasses.replace(
            settings,
            train_blocks=1,
            head_start="class_means",
            run_dir=f"{tmp_path}/{name}",
            feature_cache=f"{tmp_path}/c",
        )
        results = run(cached)
        for ours, theirs in zip(last_weights(cached.run_dir), weights):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
        assert results[0]["auc"] == pytest.approx(expected[0]["auc"], abs=1e-5)
        assert results[0]["mean_same"] == pytest.approx(expected[0]["mean_same"], abs=1e-5)
    # They are made once, of the training set and of the verification set.
    assert capsys.readouterr().err.count("and their mirror images take") == 2
    assert len(list((tmp_path / "c").iterdir())) == 2


def test_who_wants_activations_that_another_makes_waits(small_faces, tmp_path):
    network = build_embedding_model("plain_small", 16, (32, 32, 3))
    train_only(network, last_blocks=1)
    images = Faces([str(small_faces / "train")]).images()
    made = FeatureCache(network, tmp_path).features(images, "some")
    (folder,) = tmp_path.iterdir()
    with ThreadPoolExecutor(1) as pool:
        with lock_folder(folder, ".waiting"):
            waiting = pool.submit(FeatureCache(network, tmp_path).features, images, "some")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=3)
        np.testing.assert_array_equal(waiting.result(), made)


def test_the_network_learns_more_slowly_or_not_at_all(settings, start):
    names, _ = changed(settings, start, network_rate=0.0, freeze_batch_norm=True)
    assert {name.split("/")[-1] for name in names} == {"class_centers"}


def test_lora_changes_kernels_alone_and_is_merged(settings, tmp_path):
    image = tf.keras.Input([32, 32, 3])
    hidden = tf.keras.layers.Conv2D(8, 3, strides=4, name="patches")(tf.keras.layers.Rescaling(1 / 127.5, -1)(image))
    hidden = tf.keras.layers.GlobalAveragePooling2D()(tf.keras.layers.Conv2D(8, 1, name="mix")(hidden))
    network = tf.keras.Model(image, tf.keras.layers.Dense(16, name="embed")(hidden))
    network.save(tmp_path / "start.keras")
    lora = {"backbone": "checkpoint", "embedding_size": 512, "init_checkpoint": f"{tmp_path}/start.keras"}
    run(dataclasses.replace(settings, **lora, lora_rank=2, lora_layers="mix|embed"))
    trained = embedding_model(load_checkpoint(f"{settings.run_dir}/checkpoints/last.keras"))
    after, before = (
        {"".join(variable_path(weight).split(":")[0].rsplit("/", 2)[-2:]): weight.numpy() for weight in model.weights}
        for model in (trained, network)
    )
    assert set(after) == set(before)
    assert {name for name in after if np.any(after[name] != before[name])} == {"mixkernel", "embedkernel"}
    # A change of rank 2.
    assert np.linalg.matrix_rank((after["embedkernel"] - before["embedkernel"]), tol=1e-5) == 2


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"feature_cache": "c"}, "the first layers of the network train: choose the last ones with --train_blocks"),
        ({"feature_cache": "c", "micro_batches": 2, "train_blocks": 1}, "which --micro_batches does not allow"),
        ({"feature_cache": "c", "augment_blur": 0.5, "train_blocks": 1}, "which image augmentation does not allow"),
        ({"lora_alpha": 2.0}, "--lora_alpha"),
        ({"network_rate": -1.0}, "--network_rate must not be negative, got -1.0"),
        ({"start_pull": 1.0, "init_checkpoint": None}, "--start_pull"),
        ({"train_blocks": 9}, "--train_blocks=9: the network has"),
    ],
)
def test_refused(settings, changes, words):
    with pytest.raises(InputError, match=words):
        run(dataclasses.replace(settings, **changes))


def moved_by_a_step(replicas, optimizer, fast, slow):
    @tf.function
    def step():
        replicas.run(lambda: optimizer.apply_gradients([(tf.ones(2), fast), (tf.zeros(2), slow)]))

    before = fast.numpy(), slow.numpy()
    step()
    return fast.numpy() - before[0], slow.numpy() - before[1]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_slow_weight_moves_by_the_factor_and_a_pulled_one_back(name, two_replicas):
    moved = {}
    for mode in ("plain", "slow", "pulled"):
        with two_replicas.scope():
            fast, slow = tf.Variable([1.0, 2.0], name="fast/kernel"), tf.Variable([3.0, 4.0], name="slow/kernel")
            optimizer = build_optimizer(name, 0.1, weight_decay=0.5)
            optimizer.build([fast, slow])
            if mode == "slow":
                optimizer.slow_down([slow], 0.1)
            if mode == "pulled":
                optimizer.pull([slow], 3.0)
                slow.assign([3.5, 4.0])
        moved[mode] = moved_by_a_step(two_replicas, optimizer, fast, slow)
    for mode in ("slow", "pulled"):
        np.testing.assert_allclose(moved[mode][0], moved["plain"][0], rtol=1e-6)
    np.testing.assert_allclose(moved["slow"][1], 0.1 * moved["plain"][1], rtol=1e-5)
    if name == "sgd":
        # Decay and pull: 0.1 * (0.5 * weight + 3 * (weight - start)).
        np.testing.assert_allclose(moved["pulled"][1], [-0.1 * (0.5 * 3.5 + 3 * 0.5), -0.1 * 0.5 * 4.0], rtol=1e-6)
    else:
        assert moved["pulled"][1][0] < moved["plain"][1][0]
