"""Mining while training: it changes the batches, keeps resumed runs the same, and can be switched off."""

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from fault_runs import last_weights, run, small_settings

from ddl_tf.common.errors import InputError, TrainingStopped
from ddl_tf.data.sampling import StreamSampler, StreamSizes
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.embedding_file import Embeddings
from ddl_tf.layers.sharded import copies_of
from ddl_tf.models import build_recognizer
from ddl_tf.synthetic.faces import SyntheticSettings, prepare_synthetic
from ddl_tf.training import run as run_module
from ddl_tf.training.checkpoints import SaveForResume, Steps
from ddl_tf.training.hard_mining import MiningPlan
from ddl_tf.training.monitoring import Verification

EPOCHS, STEPS = 3, 3
SIZES = StreamSizes(per_group=6, pairs_per_group=3)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    counts = {"identities": 12, "images_per_identity": 8, "test_identities": 0}
    prepare_synthetic(SyntheticSettings(output=str(folder), image_size=32, **counts))
    return folder


@pytest.fixture
def settings(faces, tmp_path):
    """Both kinds of mining, several times a run."""
    rule = "center_margin {} quantile(center_margin, 0.5)"
    rules = {"remine_easy": rule.format(">"), "remine_hard": [rule.format("<=")], "remine_pairs": "hardest"}
    mining = {"confusable": 3, "neighbours_every": 2, "remine_every": 2, **rules}
    rows = {"pairs": [], "dropout": 0.0, "rows_per_group": 4, "pairs_per_group": 3, "epochs": EPOCHS}
    return small_settings(faces, tmp_path / "run", steps_per_epoch=STEPS, **rows, **mining)


def test_mining_changes_the_rows_and_a_resumed_run_draws_the_same(settings, tmp_path, monkeypatch, capfd):
    drawn, draw = {}, StreamSampler.rows

    def record(self, step):
        # The run's own sampler; the monitor's has pairs only.
        batch = draw(self, step)
        if self._sizes.per_group:
            drawn[step] = batch
        return batch

    monkeypatch.setattr(StreamSampler, "rows", record)
    run(settings)
    undisturbed, expected = dict(drawn), last_weights(settings.run_dir)
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
    for ours, theirs in zip(last_weights(resumed.run_dir), expected):
        np.testing.assert_array_equal(ours, theirs)


def small_model():
    return build_recognizer("plain_small", 12, embedding_size=16, input_shape=(32, 32, 3))


def begin_remining(settings, model, **changes):
    """The sampler and the callback of a run that re-mines alone, before its first step."""
    stored = Faces(settings.train_data)
    plan = MiningPlan(
        dataclasses.replace(settings, confusable=1, neighbours_every=500, **changes), stored, False, 0.0, settings.seed
    )
    sampler = StreamSampler(stored.index, SIZES, mined=plan.mined)
    (remine,) = plan.begin(Path(settings.run_dir) / "mined", model, sampler, Steps(0, STEPS, EPOCHS))
    return sampler, remine


def test_re_mining_is_by_the_current_weights(settings, tmp_path, monkeypatch):
    """The hard group gets the images that are near to other identities."""
    stored = Faces(settings.train_data)
    identity = stored.index["identity"].to_numpy()
    centers = np.eye(12, 16, dtype=np.float32)
    # Half of the images of every identity lie between it and the next one.
    between = (stored.index.groupby("identity").cumcount() % 4 < 2).to_numpy()
    vectors = centers[identity] + between[:, np.newaxis] * 0.9 * centers[(identity + 1) % 12]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(tmp_path / "vectors.npy", vectors.astype(np.float32))

    def embed(model, faces, folder, record, batch_size=256):
        folder.mkdir(parents=True, exist_ok=True)
        return Embeddings(tmp_path / "vectors.npy")

    monkeypatch.setattr("ddl_tf.training.hard_mining.embed_faces", embed)
    model = small_model()
    model.get_layer("head").class_centers.assign(centers.T)
    sampler, remine = begin_remining(settings, model)
    before = sampler.rows(5)
    remine.on_epoch_end(0)
    remine.on_epoch_end(1)
    after = sampler.rows(6)
    np.testing.assert_array_equal(between[after.record], after.group == 1)
    # The steps before the mining are still drawn as they were.
    np.testing.assert_array_equal(sampler.rows(5).record, before.record)
    assert not np.array_equal(between[before.record], before.group == 1)


def test_groups_that_cannot_be_drawn_from_leave_those_before(settings, capsys):
    sampler, callback = begin_remining(settings, small_model(), remine_hard=["center_margin > 5"])
    stored = Faces(settings.train_data)
    callback.on_epoch_end(1)
    assert "re-mining after epoch 2 changes nothing: the rule of group 1" in capsys.readouterr().err
    np.testing.assert_array_equal(sampler.rows(6).record, StreamSampler(stored.index, SIZES).rows(6).record)
    row = np.arange(len(stored))
    for group, groups in ((0 * row, 1), (row % 3, 3)):
        with pytest.raises(InputError, match=f"there are now {groups} groups, but a batch has rows of 2"):
            sampler.make_pools(group, None)


def test_what_stops_the_search_is_raised_in_training(settings, tmp_path, monkeypatch):
    stored = Faces(settings.train_data)
    plan = MiningPlan(settings, stored, False, 0.0, settings.seed)
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
        ({"remine_every": -1}, "remine_every must not be negative, got -1"),
        ({"remine_every": 0}, "remine_every=0 goes with"),
        ({"remine_hard": []}, "go together"),
        ({"remine_easy": None, "remine_hard": [], "remine_pairs": "none"}, "goes with what to mine"),
        ({"rows_per_group": 0, "pairs_per_group": 0, "shuffled_rows": 4}, "needs rows with groups"),
        ({"mined_pairs": True, "remine_pairs": "none"}, "do not fit groups that are mined anew"),
        ({"mined_pairs": True, "pairs_per_group": 0}, "mined_pairs needs"),
        ({"neighbours_every": 0}, "neighbours_every must be at least 1"),
        ({"remine_easy": "yaww < 3"}, "names the column 'yaww'"),
        ({"remine_easy": "yaw <"}, "cannot be read"),
        ({"remine_hard": ["yaw > 9"] * 3}, "but the training set has 2: give a rule for each"),
    ],
)
def test_settings_that_do_not_fit(settings, changes, message):
    with pytest.raises(InputError, match=message):
        run(dataclasses.replace(settings, **changes))


def test_a_sharded_head_mines_by_its_logits(settings, two_replicas):
    rule = "target_logit {} quantile(target_logit, 0.5)"
    rules = {"remine_easy": rule.format(">"), "remine_hard": [rule.format("<=")], "remine_every": 1}
    shards = {"sharded_head": True, "sample_rate": 0.5, "epochs": 2, "steps_per_epoch": 2}
    changed = dataclasses.replace(settings, **rules, **shards)
    run(changed, two_replicas)
    mined = Path(changed.run_dir) / "mined"
    names = ["000000.npz", "000000.npz", "000001.npz", "000001.npz", "000002.npz"]
    assert sorted(file.name for file in mined.rglob("*.npz")) == names
    with np.load(mined / "groups/000001.npz") as groups:
        assert np.bincount(groups["group"]).tolist() == [48, 48]
    assert all(np.isfinite(weight).all() for weight in last_weights(changed.run_dir))


def test_a_run_that_is_stopped_after_its_last_step_is_finished_by_the_same_command(settings, monkeypatch):
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
    for owner, name in ((Verification, "evaluate"), (run_module, "write_aside")):
        with monkeypatch.context() as patch:
            # No such call returns, as if the process were gone.
            patch.setattr(owner, name, None)
            with pytest.raises(TypeError):
                run(short)
        assert not results.exists()
    run(short)
    assert results.exists()


def test_statistics_of_replicas_are_averaged_before_mining(settings, two_replicas):
    """Without a verification set or a monitor, nothing else would.

    Embeddings of a run that had no checkpoint yet are removed: it may have had other settings, and so other weights.
    """
    left = Path(settings.run_dir) / "mined/embeddings"
    left.mkdir(parents=True)
    (left / "part-00000.npy").write_text("")
    with two_replicas.scope():
        model = small_model()
        mean = next(weight for weight in model.non_trainable_variables if "moving_mean" in weight.name)
    for number, copy in enumerate(copies_of(mean)):
        copy.assign(tf.fill(copy.shape, float(number)))
    _, remine = begin_remining(settings, model)
    assert not left.exists()
    with two_replicas.scope():
        remine.on_epoch_end(1)
    for copy in copies_of(mean):
        np.testing.assert_allclose(copy.numpy(), 0.5)
