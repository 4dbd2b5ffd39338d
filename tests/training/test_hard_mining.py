"""Mining while training: it changes the batches, keeps resumed runs the same, and can be switched off."""

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError, TrainingStopped
from ddl_tf.data.sampling import StreamSampler, StreamSizes
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.embedding_file import Embeddings
from ddl_tf.mining.neighbours import nearest_identities
from ddl_tf.models import build_recognizer, load_checkpoint
from ddl_tf.synthetic.faces import SyntheticSettings, prepare_synthetic
from ddl_tf.training import TrainSettings, train
from ddl_tf.training import run as run_module
from ddl_tf.training.checkpoints import SaveForResume
from ddl_tf.training.hard_mining import Remine
from ddl_tf.training.mining_plan import MiningPlan
from ddl_tf.training.monitoring import Verification
from ddl_tf.training.steps import Steps

EPOCHS, STEPS = 3, 3


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    prepare_synthetic(
        SyntheticSettings(output=str(folder), identities=12, images_per_identity=8, test_identities=0, image_size=32)
    )
    return folder


@pytest.fixture
def settings(faces, tmp_path):
    """Both kinds of mining, several times a run."""
    return TrainSettings(
        run_dir=str(tmp_path / "run"),
        train_data=[str(faces / "train")],
        backbone="plain_small",
        embedding_size=16,
        image_size=32,
        scale=16.0,
        rows_per_group=4,
        pairs_per_group=3,
        confusable=3,
        neighbours_every=2,
        remine_every=2,
        remine_easy="center_margin > quantile(center_margin, 0.5)",
        remine_hard=["center_margin <= quantile(center_margin, 0.5)"],
        remine_pairs="hardest",
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        learning_rate=0.05,
        checkpoint_steps=1,
    )


def run(settings, strategy=None):
    tf.keras.backend.clear_session()
    return train(settings, strategy=strategy or tf.distribute.get_strategy())


def weights(settings):
    return load_checkpoint(f"{settings.run_dir}/checkpoints/last.keras").get_weights()


def recorded_rows(monkeypatch):
    """The rows of every step that a run draws."""
    drawn = {}
    rows = StreamSampler.rows

    def record(self, step):
        # The run's own sampler; the monitor's has pairs only.
        batch = rows(self, step)
        if self._sizes.per_group:
            drawn[step] = batch
        return batch

    monkeypatch.setattr(StreamSampler, "rows", record)
    return drawn


def test_mining_changes_the_rows_and_a_resumed_run_draws_the_same(settings, tmp_path, monkeypatch, capfd):
    drawn = recorded_rows(monkeypatch)
    run(settings)
    undisturbed, expected = dict(drawn), weights(settings)
    assert "re-mined after epoch 2: 48 of group 0, 48 of group 1; " in capfd.readouterr().err
    off = StreamSampler(Faces(settings.train_data).index, StreamSizes(per_group=4, pairs_per_group=3), settings.seed)
    assert any(not np.array_equal(off.rows(step).record, rows.record) for step, rows in undisturbed.items())

    # Stopped in the middle of a period, after the re-mining at step 6.
    stop_at = 7
    resumed = dataclasses.replace(settings, run_dir=str(tmp_path / "resumed"))
    check = SaveForResume._check

    def stop(self, logs):
        if self.step == stop_at:
            # By then threads of the pipeline wait for the mining that is never made.
            signal.raise_signal(signal.SIGTERM)
        check(self, logs)

    with monkeypatch.context() as patch:
        patch.setattr(SaveForResume, "_check", stop)
        with pytest.raises(TrainingStopped) as stopped:
            run(resumed)
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    drawn.clear()
    run(resumed)
    assert min(drawn) == stop_at
    for step, rows in drawn.items():
        np.testing.assert_array_equal(rows.record, undisturbed[step].record)
        np.testing.assert_array_equal(rows.group, undisturbed[step].group)
    for ours, theirs in zip(weights(resumed), expected):
        np.testing.assert_array_equal(ours, theirs)


def mean_hardest_negative(vectors, sampler, steps):
    """The mean over rows of groups of the largest similarity to a row of the group of another identity, naively."""
    hardest = []
    for step in steps:
        rows = sampler.rows(step)
        for row in range(len(rows.record)):
            others = (rows.group == rows.group[row]) & (rows.identity != rows.identity[row])
            hardest.append((vectors[rows.record[others]] @ vectors[rows.record[row]]).max())
    return np.mean(hardest)


def test_confusable_identities_raise_the_hardest_negatives():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=[200, 16])
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    index = pd.DataFrame({"identity": np.repeat(np.arange(200), 6), "group": np.tile([0, 1, 0, 1, 0, 1], 200)})
    vectors = centers[index["identity"]] + 0.1 * rng.normal(size=[1200, 16])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = nearest_identities(centers.astype(np.float32), 12)
    sizes = {"per_group": 16, "pairs_per_group": 8}
    means = [
        mean_hardest_negative(
            vectors,
            StreamSampler(index, StreamSizes(**sizes, confusable=cluster), neighbours=lambda step: nearest),
            range(20),
        )
        for cluster in (1, 4)
    ]
    assert means[1] > means[0] + 0.1


def small_model():
    return build_recognizer("plain_small", 12, embedding_size=16, input_shape=(32, 32, 3))


SIZES = StreamSizes(per_group=6, pairs_per_group=3)


def begin_remining(settings, model, **changes):
    """The sampler and the callback of a run that re-mines alone, before its first step."""
    stored = Faces(settings.train_data)
    plan = MiningPlan(dataclasses.replace(settings, confusable=1, neighbours_every=500, **changes), stored)
    sampler = StreamSampler(stored.index, SIZES, mined=plan.mined)
    (remine,) = plan.begin(Path(settings.run_dir) / "mined", model, sampler, Steps(0, STEPS, EPOCHS))
    return sampler, remine


def test_re_mining_raises_the_hardest_negatives(settings, tmp_path, monkeypatch):
    """By the current weights, the hard group gets the images that are near to other identities."""
    stored = Faces(settings.train_data)
    rng = np.random.default_rng(1)
    identity = stored.index["identity"].to_numpy()
    centers = np.eye(12, 16, dtype=np.float32)
    # Half of the images of every identity lie between it and the next one.
    between = rng.random(len(stored)) < 0.5
    vectors = centers[identity] + between[:, np.newaxis] * 0.9 * centers[(identity + 1) % 12]
    vectors += 0.05 * rng.normal(size=vectors.shape)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)

    def embed(model, faces, folder, record, batch_size=256):
        folder.mkdir(parents=True, exist_ok=True)
        return Embeddings(tmp_path / "vectors.npy")

    monkeypatch.setattr("ddl_tf.training.hard_mining.embed_faces", embed)
    model = small_model()
    model.get_layer("head").class_centers.assign(centers.T)
    sampler, callback = begin_remining(settings, model)
    assert isinstance(callback, Remine)

    class HardOnly:
        """The rows of group 1."""

        def rows(self, step):
            rows = sampler.rows(step)
            hard = rows.group == 1
            return type(rows)(*(column[hard] for column in rows))

    before = mean_hardest_negative(vectors, HardOnly(), range(6))
    callback.on_epoch_end(0)
    callback.on_epoch_end(1)
    after = mean_hardest_negative(vectors, HardOnly(), range(6, 12))
    assert after > before + 0.05
    # The steps before the mining are still drawn as they were.
    assert mean_hardest_negative(vectors, HardOnly(), range(6)) == before


def test_groups_that_cannot_be_drawn_from_leave_those_before(settings, capsys):
    sampler, callback = begin_remining(settings, small_model(), remine_hard=["center_margin > 5"])
    expected = StreamSampler(Faces(settings.train_data).index, SIZES).rows(6)
    callback.on_epoch_end(1)
    assert "re-mining after epoch 2 changes nothing: the rule of group 1" in capsys.readouterr().err
    np.testing.assert_array_equal(sampler.rows(6).record, expected.record)


def test_what_stops_the_search_is_raised_in_training(settings, tmp_path, monkeypatch):
    stored = Faces(settings.train_data)
    plan = MiningPlan(settings, stored)
    sampler = StreamSampler(stored.index, StreamSizes(per_group=2, confusable=3), neighbours=plan.neighbours)
    refresh, _ = plan.begin(tmp_path / "mined", small_model(), sampler, Steps(0, STEPS, EPOCHS))

    def fail(*arguments):
        raise OSError("the disk is full")

    monkeypatch.setattr("ddl_tf.training.hard_mining.nearest_identities", fail)
    for batch in range(settings.neighbours_every):
        refresh.on_train_batch_end(batch)
    with pytest.raises(OSError, match="the disk is full"):
        plan.finish()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"remine_every": -1}, "remine_every must not be negative"),
        ({"remine_every": 0}, "remine_every=0 goes with"),
        ({"remine_hard": []}, "go together"),
        ({"remine_easy": None, "remine_hard": [], "remine_pairs": "none"}, "goes with what to mine"),
        ({"rows_per_group": 0, "pairs_per_group": 0, "shuffled_rows": 4}, "needs rows with groups"),
        ({"mined_pairs": True, "remine_pairs": "none"}, "do not fit groups that are mined anew"),
        ({"mined_pairs": True, "pairs_per_group": 0}, "mined_pairs needs"),
        ({"neighbours_every": 0}, "neighbours_every must be at least 1"),
    ],
)
def test_settings_that_do_not_fit(settings, changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(settings, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"remine_easy": "yaww < 3"}, "names the column 'yaww'"), ({"remine_easy": "yaw <"}, "cannot be read")],
)
def test_rules_are_checked_before_training(settings, changes, message):
    with pytest.raises(InputError, match=message):
        run(dataclasses.replace(settings, **changes))


@pytest.mark.parametrize("head", [{"sample_rate": 0.5}, {"sharded_head": True, "sample_rate": 0.5}])
def test_sampled_and_sharded_heads_mine_by_their_logits(settings, two_replicas, head):
    changed = dataclasses.replace(
        settings,
        epochs=2,
        steps_per_epoch=2,
        remine_every=1,
        remine_easy="target_logit > quantile(target_logit, 0.5)",
        remine_hard=["target_logit <= quantile(target_logit, 0.5)"],
        **head,
    )
    run(changed, two_replicas if "sharded_head" in head else None)
    mined = Path(changed.run_dir) / "mined"
    names = ["000000.npz", "000000.npz", "000001.npz", "000001.npz", "000002.npz"]
    assert sorted(file.name for file in mined.rglob("*.npz")) == names
    with np.load(mined / "groups/000001.npz") as groups:
        assert np.bincount(groups["group"]).tolist() == [48, 48]
    assert all(np.isfinite(weight).all() for weight in weights(changed))


class Killed(BaseException):
    """As if the process were gone."""


def kill_in(monkeypatch, owner, name, when):
    original = getattr(owner, name)

    def call(*arguments, **more):
        if when(*arguments):
            raise Killed
        return original(*arguments, **more)

    monkeypatch.setattr(owner, name, call)


def test_a_run_that_is_stopped_after_its_last_step_is_finished_by_the_same_command(settings, faces, monkeypatch):
    """Its last epoch is one of mining."""
    short = dataclasses.replace(settings, epochs=2, steps_per_epoch=2, remine_every=1, neighbours_every=2)
    evaluate = Verification.on_epoch_end

    def stopped_in_the_last_evaluation(self, epoch, logs=None):
        if epoch + 1 == short.epochs:
            signal.raise_signal(signal.SIGTERM)
        evaluate(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Verification, "on_epoch_end", stopped_in_the_last_evaluation)
        with pytest.raises(TrainingStopped) as stopped:
            run(short)
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    results = Path(short.run_dir) / "results.json"
    for owner, name, when in (
        (Verification, "evaluate", lambda *_: True),
        (run_module, "plot_run", lambda *_: True),
        (run_module, "write_aside", lambda path: path == results),
    ):
        with monkeypatch.context() as patch:
            kill_in(patch, owner, name, when)
            with pytest.raises(Killed):
                run(short)
        assert not results.exists()
    run(short)
    assert results.exists()


def test_embeddings_of_a_run_that_had_no_checkpoint_yet_are_not_taken_up(settings):
    """It may have had other settings, and so other weights."""
    left = Path(settings.run_dir) / "mined/embeddings"
    left.mkdir(parents=True)
    (left / "part-00000.npy").write_text("")
    begin_remining(settings, small_model())
    assert not left.exists()


@pytest.mark.parametrize("hard", [["center_margin <= 0", "center_margin > 5"], ["yaw > 9"] * 3])
def test_there_is_a_rule_for_each_hard_group_of_the_training_set(settings, hard):
    with pytest.raises(InputError, match="but the training set has 2: give a rule for each"):
        run(dataclasses.replace(settings, remine_hard=hard))


def test_a_sampler_takes_no_other_number_of_groups(settings):
    index = Faces(settings.train_data).index
    sampler = StreamSampler(index, StreamSizes(per_group=2))
    with pytest.raises(InputError, match="there are now 1 groups, but a batch has rows of 2"):
        sampler.make_pools(np.zeros(len(index), int), None)
    with pytest.raises(InputError, match="there are now 3 groups, but a batch has rows of 2"):
        sampler.make_pools(np.arange(len(index)) % 3, None)


def test_statistics_of_replicas_are_averaged_before_mining(settings, two_replicas):
    """Without a verification set or a monitor, nothing else would."""
    with two_replicas.scope():
        model = small_model()
        mean = next(weight for weight in model.non_trainable_variables if "moving_mean" in weight.name)
    for number, copy in enumerate(mean.values):
        copy.assign(tf.fill(copy.shape, float(number)))
    _, remine = begin_remining(settings, model)
    with two_replicas.scope():
        remine.on_epoch_end(1)
    for copy in mean.values:
        np.testing.assert_allclose(copy.numpy(), 0.5)
