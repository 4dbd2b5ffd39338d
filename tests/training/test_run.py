import dataclasses
import json
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from fault_runs import last_weights, run, small_settings
from tiny_store import stored

from ddl_tf.common.errors import InputError, NotFiniteError, TrainingStopped
from ddl_tf.common.keras_version import IS_KERAS_3
from ddl_tf.losses import MarginSoftmaxLoss
from ddl_tf.models import build_embedding_model, load_checkpoint, save_checkpoint
from ddl_tf.training import run as run_module
from ddl_tf.training.checkpoints import SaveForResume

ROWS = ("rows_per_group", "pairs_per_group", "shuffled_rows")


def settings_of(faces, folder):
    """Fine-tuning with DDL, with all that has a state: momentum, batch norm, dropout, a schedule, augmentation."""
    strengths = {f"augment_{kind}": 0.3 for kind in ("colour", "resolution", "compression")}
    augmentation = {"augment_probability": 0.5, "augment_groups": [1], **strengths}
    rows = {"rows_per_group": 4, "pairs_per_group": 3, "embedding_loss": "ddl"}
    return small_settings(faces, folder, warmup_epochs=0.5, **rows, **augmentation)


@pytest.fixture
def settings(small_faces, tmp_path):
    return settings_of(small_faces, tmp_path / "run")


def plain(settings, **changes):
    """Margin training alone, for one epoch: what is quickest."""
    rows = {"rows_per_group": 0, "pairs_per_group": 0, "shuffled_rows": 8, "augment_groups": []}
    return dataclasses.replace(settings, **{**rows, "embedding_loss": "none", "epochs": 1, **changes})


@pytest.fixture(scope="module")
def undisturbed(small_faces, tmp_path_factory):
    """A whole run: its folder and results."""
    settings = settings_of(small_faces, tmp_path_factory.mktemp("runs") / "run")
    return Path(settings.run_dir), run(settings)


def test_a_run_leaves_everything_in_its_folder(undisturbed):
    folder, results = undisturbed
    of_folder = ("settings.json", "flags.cfg", "versions.json", "log.csv", "results.json", "curves.png")
    for name in (*of_folder, "checkpoints/best.keras", "checkpoints/last.keras", "similarities.png"):
        assert (folder / name).stat().st_size > 0, name
    assert list((folder / "tensorboard").rglob("events*"))
    assert json.loads((folder / "results.json").read_text()) == results
    (result,) = results
    assert result["set"] == "easy"
    assert 0.5 <= result["accuracy"] <= 1.0
    log = pd.read_csv(folder / "log.csv")
    assert list(log["epoch"]) == [1, 2]
    for column in ("embedding_loss", "logits_loss", "embedding_positive_kl", "embedding_gap_1", "easy/auc"):
        assert np.isfinite(log[column]).all(), column
    similarities = np.load(folder / "similarities.npz")
    assert set(similarities) == {"positive_0", "negative_0", "positive_1", "negative_1"}


def global_state():
    """What a run sets for the whole process."""
    return (
        tf.keras.mixed_precision.global_policy().name,
        IS_KERAS_3 or tf.keras.backend.experimental.is_tf_random_generator_enabled(),
        tf.compat.v1.random.get_seed(1),
        random.getstate(),
        np.random.get_state()[1].tolist(),
    )


def test_replicas_resume_bit_for_bit(settings, two_replicas, monkeypatch, capsys):
    """With dropout, whose masks the second pass of a part repeats; with each shard's centers, momentum and samples.

    The process is afterwards as it was before.
    """
    tf.random.set_seed(7)
    before = global_state()
    changes = {"micro_batches": 2, "sharded_head": True, "sample_rate": 0.5, "precision": "mixed_bfloat16"}
    saving = plain(settings, clip_norm=5.0, steps_per_epoch=2, sync_batch_norm=True, **changes)
    whole = dataclasses.replace(saving, run_dir=f"{saving.run_dir}_undisturbed")
    results = run(whole, two_replicas)
    assert global_state() == before
    check = SaveForResume._check

    def interrupted(self, logs):
        if self.step == 1:
            signal.raise_signal(signal.SIGINT)
        check(self, logs)

    with monkeypatch.context() as patch:
        patch.setattr(SaveForResume, "_check", interrupted)
        with pytest.raises(TrainingStopped, match="stopped by SIGINT after step 1"):
            run(saving, two_replicas)
    assert global_state() == before
    assert run(saving, two_replicas) == results
    assert "on 2 device(s); 1 epochs of 2 steps; resumed at step 1" in capsys.readouterr().err
    for resumed, expected in zip(last_weights(saving.run_dir), last_weights(whole.run_dir)):
        np.testing.assert_array_equal(resumed, expected)


def test_a_complete_run_is_not_run_again_nor_with_other_settings(settings, undisturbed, capsys):
    folder, results = undisturbed
    complete = dataclasses.replace(settings, run_dir=str(folder))
    assert run(complete) == results
    assert "complete" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"--learning_rate was 0.05 and is 0.1"):
        run(dataclasses.replace(complete, learning_rate=0.1))


def test_fine_tuning_starts_from_the_checkpoint_and_new_people_at_their_means(
    settings, undisturbed, capsys, monkeypatch
):
    start = undisturbed[0] / "checkpoints/last.keras"
    tiny = plain(settings, init_checkpoint=str(start), learning_rate=1e-12, weight_decay=0.0, steps_per_epoch=1)
    run(tiny)
    assert "backbone, neck, head" in capsys.readouterr().err
    for tuned, started in zip(last_weights(tiny.run_dir), last_weights(undisturbed[0])):
        if tuned.ndim > 1:
            np.testing.assert_allclose(tuned, started, atol=1e-6)

    def reached(model, faces, seed, cache):
        raise LookupError(f"seed {seed}")

    monkeypatch.setattr(run_module, "initialise_from", lambda model, path: ["backbone", "neck"])
    monkeypatch.setattr(run_module, "start_at_class_means", reached)
    with pytest.raises(LookupError, match=f"seed {settings.seed}"):
        run(dataclasses.replace(tiny, run_dir=f"{tiny.run_dir}_means", head_start="class_means"))


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_network_of_others_is_trained_as_it_is(settings, tmp_path, is_plain, capsys):
    """Without a second neck behind its embedding; a plain Keras model may be compiled."""
    image = tf.keras.Input([settings.image_size, settings.image_size, 3])
    dense = tf.keras.layers.Dense(6, name="dense")
    network = tf.keras.Model(image, dense(tf.keras.layers.Flatten()(tf.keras.layers.AveragePooling2D(8)(image))))
    start = tmp_path / "start.keras"
    if is_plain:
        network.compile("adam", "mse")
        network.save(start)
    else:
        save_checkpoint(build_embedding_model(network, input_shape=image.shape[1:]), start)
    of_others = {"backbone": "checkpoint", "embedding_size": 512, "dropout": 0.0, "init_checkpoint": str(start)}
    tuned = plain(settings, learning_rate=1e-3, steps_per_epoch=1, **of_others)
    run(tuned)
    assert f"from {start}: {'network' if is_plain else 'backbone, neck'}" in capsys.readouterr().err
    model = load_checkpoint(tmp_path / "run/checkpoints/last.keras")
    assert model.output["embedding"].shape[1] == 6
    kernel = dense.kernel.numpy()
    (trained,) = (weight for weight in model.get_layer("backbone").get_weights() if weight.shape == kernel.shape)
    assert 0 < np.abs(trained - kernel).max() < 0.1
    for changes, message in (
        ({"init_checkpoint": None}, "--backbone=checkpoint needs --init_checkpoint"),
        ({"embedding_size": 64}, "--embedding_size=64 would be ignored"),
    ):
        with pytest.raises(InputError, match=message):
            dataclasses.replace(tuned, **changes)


def test_a_loss_that_is_not_finite_stops_with_step_term_and_checkpoint(settings, monkeypatch):
    call, steps = MarginSoftmaxLoss.__call__, tf.Variable(0)

    def poisoned(self, y_true, y_pred, sample_weight=None):
        # Not finite from the second step on.
        steps.assign_add(1)
        return call(self, y_true, y_pred, sample_weight) + tf.where(steps > 1, np.nan, 0.0)

    monkeypatch.setattr(MarginSoftmaxLoss, "__call__", poisoned)
    with pytest.raises(NotFiniteError, match=r"loss is nan at step 2; .*ckpt-1"):
        run(plain(settings))


def test_margin_training_alone_needs_no_groups(settings):
    margin_alone = plain(settings, head="magface", steps_per_epoch=1)
    (result,) = run(margin_alone)
    assert np.isfinite(result["auc"])
    log = pd.read_csv(f"{margin_alone.run_dir}/log.csv")
    assert not [column for column in log if "embedding" in column]
    if not IS_KERAS_3:
        # Keras 3 logs the sum alone.
        assert log["loss"][0] == pytest.approx(log["logits_loss"][0] + log["magnitude_loss"][0], rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run_dir": None}, "--run_dir"),
        ({"train_data": []}, "--train_data"),
        ({"epochs": 0}, "--epochs must be at least 1, got 0"),
        ({"learning_rate": float("nan")}, "--learning_rate must be a finite number, got nan"),
        ({"decay_epochs": [1.0, float("inf")]}, "--decay_epochs must be a finite number"),
        ({"seed": -1}, "--seed must be from 0 to 4294967295, got -1"),
        ({"learning_rate": -1.0}, "--learning_rate must be above 0, got -1.0"),
        ({"warmup_epochs": 9.0}, "--warmup_epochs=9.0"),
        ({"sample_rate": 0.0}, "--sample_rate must be above 0 and at most 1, got 0.0"),
        ({"sample_rate": 0.1, "optimizer": "adamw"}, "--sample_rate=0.1 needs --optimizer=sgd.*got --optimizer=adamw"),
        ({"schedule": "step"}, "--decay_epochs"),
        ({"rows_per_group": 0, "pairs_per_group": 0, "shuffled_rows": 4}, "--pairs_per_group"),
        ({"head_start": "class_means"}, "class_means needs --init_checkpoint"),
    ],
)
def test_bad_settings_are_named(settings, change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(settings, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({rows: 10**9}, "images of 32 x 32 pixels takes .* but the memory is") for rows in ROWS),
        ({"train_data": ["nowhere"]}, "nowhere"),
        ({"train_data": ["one_identity"]}, "has 1 identity, but training needs at least 2"),
        ({"train_data": ["one_group"]}, "the training set has no other"),
        ({"run_dir": "one_group"}, "not empty"),
        ({"cpu_replicas": 2}, "--cpu_replicas=2 has no effect beside a strategy"),
        ({"micro_batches": 3}, "--micro_batches=3 does not divide the 20 rows of each device"),
        ({"dropout": 1.5}, "dropout must be"),
        ({"head": "magface", "margin": 0.5}, "margin"),
        ({"bandwidth": 0.0}, "bandwidth must be above 0 and finite, got 0.0"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(settings, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    stored(tmp_path / "one_identity", count=2)
    shutil.copytree(settings.train_data[0], "one_group")
    index = pd.read_parquet("one_group/index.parquet")
    index.assign(group=0).to_parquet("one_group/index.parquet")
    with pytest.raises(InputError, match=message) as error:
        run(dataclasses.replace(settings, **change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "rows",
    [{"pairs_across": True, "pairs_per_group": 2}, {"pairs_per_group": 0, "embedding_loss": "histogram"}],
    ids=["pairs_across", "rows_only"],
)
def test_the_monitor_draws_as_the_run_does(settings, small_faces, tmp_path, rows):
    """A hard group with one image a person has no pair within it, which neither run needs."""
    shutil.copytree(small_faces / "train", tmp_path / "set")
    index = pd.read_parquet(tmp_path / "set/index.parquet")
    one_hard_image = np.where(index.groupby("identity").cumcount() == 0, 1, 0)
    index.assign(group=one_hard_image).to_parquet(tmp_path / "set/index.parquet")
    changed = {"train_data": [str(tmp_path / "set")], "epochs": 1, "steps_per_epoch": 1}
    run(dataclasses.replace(settings, **changed, **rows))
    similarities = np.load(f"{settings.run_dir}/similarities.npz")
    assert len(similarities["negative_1"])
    assert bool(len(similarities["positive_1"])) == ("pairs_across" in rows)
