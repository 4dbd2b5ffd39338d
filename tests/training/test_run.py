import dataclasses
import json
import random
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tiny_store import stored

from ddl_tf.common.errors import InputError, NotFiniteError, TrainingStopped
from ddl_tf.losses import MarginSoftmaxLoss
from ddl_tf.models import build_embedding_model, load_checkpoint, save_checkpoint
from ddl_tf.training import TrainSettings, train
from ddl_tf.training import run as run_module
from ddl_tf.training.checkpoints import SaveForResume

EPOCHS, STEPS = 2, 3


@pytest.fixture(scope="module")
def faces(small_faces):
    """No test changes it."""
    return small_faces


def settings_of(faces, folder):
    """Fine-tuning with DDL, with all that has a state: momentum, batch norm, dropout, a schedule, augmentation."""
    return TrainSettings(
        run_dir=str(folder),
        train_data=[str(faces / "train")],
        pairs=[str(faces / "easy")],
        backbone="plain_small",
        embedding_size=16,
        image_size=32,
        scale=16.0,
        dropout=0.3,
        rows_per_group=4,
        pairs_per_group=3,
        augment_probability=0.5,
        augment_colour=0.3,
        augment_resolution=0.3,
        augment_compression=0.3,
        augment_groups=[1],
        embedding_loss="ddl",
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        learning_rate=0.05,
        warmup_epochs=0.5,
        checkpoint_steps=1,
    )


@pytest.fixture
def settings(faces, tmp_path):
    return settings_of(faces, tmp_path / "run")


def run(settings, strategy=None):
    tf.keras.backend.clear_session()
    return train(settings, strategy=strategy or tf.distribute.get_strategy())


def plain(settings, **changes):
    """Margin training alone, for one epoch: what is quickest."""
    rows = {"rows_per_group": 0, "pairs_per_group": 0, "shuffled_rows": 8, "augment_groups": []}
    return dataclasses.replace(settings, **{**rows, "embedding_loss": "none", "epochs": 1, **changes})


def weights(settings):
    return load_checkpoint(f"{settings.run_dir}/checkpoints/last.keras").get_weights()


def raise_signal_at(monkeypatch, step, number=signal.SIGINT):
    """Let a signal arrive while a step runs, as Ctrl-C does."""
    check = SaveForResume._check

    def interrupted(self, logs):
        if self.step == step:
            signal.raise_signal(number)
        check(self, logs)

    monkeypatch.setattr(SaveForResume, "_check", interrupted)


@pytest.fixture(scope="module")
def undisturbed(faces, tmp_path_factory):
    """A whole run: its folder and results."""
    settings = settings_of(faces, tmp_path_factory.mktemp("runs") / "run")
    return Path(settings.run_dir), run(settings)


def test_a_run_leaves_everything_in_its_folder(undisturbed):
    folder, results = undisturbed
    for name in ("settings.json", "flags.cfg", "versions.json", "log.csv", "results.json", "curves.png"):
        assert (folder / name).stat().st_size > 0, name
    for name in ("checkpoints/best.keras", "checkpoints/last.keras", "similarities.png", "similarities.npz"):
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


def test_an_interrupted_run_resumes_to_the_same_result(settings, undisturbed, monkeypatch):
    folder, results = undisturbed
    with monkeypatch.context() as patch:
        raise_signal_at(patch, 2, signal.SIGTERM)
        with pytest.raises(TrainingStopped) as stop:
            run(settings)
    assert stop.value.exit_code == 128 + signal.SIGTERM
    assert run(settings) == results
    expected = load_checkpoint(folder / "checkpoints/last.keras").get_weights()
    for resumed, undisturbed_weight in zip(weights(settings), expected):
        np.testing.assert_array_equal(resumed, undisturbed_weight)
    logs = [pd.read_csv(path / "log.csv") for path in (folder, Path(settings.run_dir))]
    for column in ("epoch", "easy/auc"):
        assert logs[0][column].tolist() == logs[1][column].tolist()


def global_state():
    """What a run sets for the whole process."""
    return (
        tf.keras.mixed_precision.global_policy().name,
        tf.keras.backend.experimental.is_tf_random_generator_enabled(),
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
    with monkeypatch.context() as patch:
        raise_signal_at(patch, 1)
        with pytest.raises(TrainingStopped, match="stopped by SIGINT after step 1"):
            run(saving, two_replicas)
    assert global_state() == before
    assert run(saving, two_replicas) == results
    assert "on 2 device(s); 1 epochs of 2 steps; resumed at step 1" in capsys.readouterr().err
    for resumed, expected in zip(weights(saving), weights(whole)):
        np.testing.assert_array_equal(resumed, expected)


def test_micro_batches_divide_the_rows_of_a_device(settings, two_replicas):
    with pytest.raises(InputError, match="--micro_batches=4 does not divide the 10 rows of each device"):
        run(dataclasses.replace(settings, micro_batches=4), two_replicas)


def test_an_image_that_cannot_be_decoded_is_named(settings, faces, tmp_path):
    shutil.copytree(faces / "train", tmp_path / "damaged")
    (shard,) = (tmp_path / "damaged").glob("*.tfrecord")
    content = bytearray(shard.read_bytes())
    for place in [match.start() for match in re.finditer(b"\xff\xd8\xff", bytes(content))]:
        content[place : place + 3] = b"???"
    shard.write_bytes(content)
    with pytest.raises(InputError, match=r"shard-00000.tfrecord: the image at byte .* cannot be decoded"):
        run(plain(settings, train_data=[str(tmp_path / "damaged")]))


def test_distillation_needs_a_student(settings, faces, tmp_path):
    shutil.copytree(faces / "train", tmp_path / "easy")
    index = pd.read_parquet(tmp_path / "easy/index.parquet")
    index.assign(group=0).to_parquet(tmp_path / "easy/index.parquet")
    with pytest.raises(InputError, match="the training set has no other"):
        run(dataclasses.replace(settings, train_data=[str(tmp_path / "easy")]))


def test_a_complete_run_is_not_run_again_nor_with_other_settings(settings, undisturbed, capsys):
    folder, results = undisturbed
    complete = dataclasses.replace(settings, run_dir=str(folder))
    assert run(complete) == results
    assert "complete" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"--learning_rate was 0.05 and is 0.1"):
        run(dataclasses.replace(complete, learning_rate=0.1))


def test_a_folder_with_something_else_is_refused(settings, tmp_path):
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(InputError, match="not empty"):
        run(dataclasses.replace(settings, run_dir=str(tmp_path)))


def test_fine_tuning_starts_from_the_checkpoint(settings, undisturbed, capsys):
    start = undisturbed[0] / "checkpoints/last.keras"
    tiny = plain(settings, init_checkpoint=str(start), learning_rate=1e-12, weight_decay=0.0, steps_per_epoch=1)
    run(tiny)
    assert "backbone, neck, head" in capsys.readouterr().err
    for tuned, started in zip(weights(tiny), load_checkpoint(start).get_weights()):
        if tuned.ndim > 1:
            np.testing.assert_allclose(tuned, started, atol=1e-6)


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
    tuned = plain(
        settings,
        run_dir=str(tmp_path / "run"),
        backbone="checkpoint",
        embedding_size=512,
        dropout=0.0,
        init_checkpoint=str(start),
        learning_rate=1e-3,
        steps_per_epoch=1,
    )
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


def test_new_people_start_at_their_means(settings, undisturbed, monkeypatch):
    class Reached(Exception):
        pass

    def reached(model, faces, seed):
        raise Reached(seed)

    monkeypatch.setattr(run_module, "initialise_from", lambda model, path: ["backbone", "neck"])
    monkeypatch.setattr(run_module, "start_at_class_means", reached)
    with pytest.raises(Reached, match=str(settings.seed)):
        run(plain(settings, init_checkpoint=str(undisturbed[0]), head_start="class_means"))


def test_means_need_a_network(settings):
    with pytest.raises(InputError, match="class_means needs --init_checkpoint"):
        dataclasses.replace(settings, head_start="class_means")


def test_a_loss_that_is_not_finite_stops_with_step_term_and_checkpoint(settings, monkeypatch):
    call, steps = MarginSoftmaxLoss.__call__, tf.Variable(0)

    def poisoned(self, y_true, y_pred, sample_weight=None):
        # Not finite from the second step on.
        steps.assign_add(1)
        return call(self, y_true, y_pred, sample_weight) + tf.where(steps > 1, np.nan, 0.0)

    monkeypatch.setattr(MarginSoftmaxLoss, "__call__", poisoned)
    with pytest.raises(NotFiniteError, match=r"logits_loss is nan at step 2; .*ckpt-1"):
        run(plain(settings))


def test_margin_training_alone_needs_no_groups(settings):
    """In a folder where a bad argument of the loss was refused."""
    with pytest.raises(InputError, match=r"bandwidth must be above 0 and finite, got 0.0"):
        run(dataclasses.replace(settings, bandwidth=0.0))
    margin_alone = plain(settings, head="magface", steps_per_epoch=1)
    (result,) = run(margin_alone)
    assert np.isfinite(result["auc"])
    log = pd.read_csv(f"{margin_alone.run_dir}/log.csv")
    assert not [column for column in log if "embedding" in column]
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
    ],
)
def test_bad_settings_are_named(settings, change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(settings, **change)


def test_missing_data_is_named(settings, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        run(dataclasses.replace(settings, train_data=[str(tmp_path / "nowhere")]))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "rows",
    [{"pairs_across": True, "pairs_per_group": 2}, {"pairs_per_group": 0, "embedding_loss": "triplet"}],
    ids=["pairs_across", "rows_only"],
)
def test_the_monitor_draws_as_the_run_does(settings, faces, tmp_path, rows):
    """A hard group with one image a person has no pair within it, which neither run needs."""

    shutil.copytree(faces / "train", tmp_path / "set")
    index = pd.read_parquet(tmp_path / "set/index.parquet")
    one_hard_image = np.where(index.groupby("identity").cumcount() == 0, 1, 0)
    index.assign(group=one_hard_image).to_parquet(tmp_path / "set/index.parquet")
    changed = {"train_data": [str(tmp_path / "set")], "epochs": 1, "steps_per_epoch": 1}
    run(dataclasses.replace(settings, **changed, **rows))
    similarities = np.load(f"{settings.run_dir}/similarities.npz")
    assert len(similarities["negative_1"])
    assert bool(len(similarities["positive_1"])) == ("pairs_across" in rows)


def test_one_identity_is_refused_in_one_line(settings, tmp_path):
    stored(tmp_path / "set", count=2)
    with pytest.raises(InputError, match="has 1 identity, but training needs at least 2"):
        run(plain(settings, train_data=[str(tmp_path / "set")]))
    assert not Path(settings.run_dir).exists()


@pytest.mark.parametrize("rows", [{"rows_per_group": 10**9}, {"pairs_per_group": 10**9}, {"shuffled_rows": 10**9}])
def test_a_batch_beyond_the_memory_is_refused_before_anything_is_made(settings, rows):
    with pytest.raises(InputError, match=r"a batch of .* images of 32 x 32 pixels takes .* but the memory is"):
        run(dataclasses.replace(settings, **rows))


@pytest.mark.parametrize("change", [{"dropout": 1.5}, {"head": "magface", "margin": 0.5}])
def test_what_the_layers_refuse_is_one_line(settings, change):
    with pytest.raises(InputError):
        run(plain(settings, **change))


def test_logical_devices_beside_a_strategy_are_refused(settings):
    with pytest.raises(InputError, match="--cpu_replicas=2 has no effect beside a strategy"):
        run(plain(settings, cpu_replicas=2))
