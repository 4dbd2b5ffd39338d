"""Training data that goes bad while a run is on: it stops, says which file, and goes on when that is put back."""

import dataclasses
import os
import shutil

import pytest
from fault_runs import SmallRun

from ddl_tf.common.errors import InputError
from ddl_tf.data import store
from ddl_tf.data.layout import HEADER_BYTES
from ddl_tf.data.mending import mend_set
from ddl_tf.data.sampling import StreamSampler, StreamSizes
from ddl_tf.data.store import Faces

SHARD = r"train/shard-00000.tfrecord"


def test_a_shard_that_is_cut_short_mid_run(small_run, undisturbed_outcome, monkeypatch, capfd):
    pread = os.pread
    monkeypatch.setattr(store, "RETRY_SECONDS", (0.0,))
    faces = Faces(small_run.settings.train_data)
    # Rows are read ahead of training, by two threads: those of one step, lest it be chance which step fails.
    rows = StreamSampler(faces.index, StreamSizes(shuffled=8), small_run.settings.seed).rows(3).record
    bad = set((faces.index["offset"].to_numpy()[rows] - HEADER_BYTES).tolist())

    def cut_short(shard, length, place):
        of_training = os.readlink(f"/proc/self/fd/{shard}").endswith(SHARD)
        return b"" if of_training and place in bad else pread(shard, length, place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", cut_short)
        with pytest.raises(InputError, match=rf"{SHARD}: no record of the set at byte [\d,]+, where the index has one"):
            small_run.run()
    line = f"step 4 failed; once its cause is gone, the same command goes on from {small_run.folder}/resume/ckpt-3\n"
    assert line in capfd.readouterr().err
    # A step that failed is in no checkpoint.
    assert small_run.checkpoints()[-1] == 3
    small_run.run()
    assert small_run.outcome() == undisturbed_outcome


def test_a_lost_image_is_mended_and_the_run_goes_on(small_run, small_faces, tmp_path):
    shutil.copytree(small_faces / "train", tmp_path / "train")
    small_run.settings = dataclasses.replace(small_run.settings, train_data=[str(tmp_path / "train")])
    faces = Faces(small_run.settings.train_data)
    # The six steps draw each image once.
    row = int(StreamSampler(faces.index, StreamSizes(shuffled=8), small_run.settings.seed).rows(4).record[3])
    shard = tmp_path / "train/shard-00000.tfrecord"
    content = bytearray(shard.read_bytes())
    start = content.index(b"\xff\xd8\xff", faces.index["offset"][row])
    content[start : start + 3] = b"???"
    shard.write_bytes(content)
    with pytest.raises(InputError, match=rf"{SHARD}: .* \(row {row}, identity .* with `python -m ddl_tf.prepare mend`"):
        small_run.run()
    assert small_run.checkpoints() == [3, 4]
    assert mend_set(str(tmp_path / "train"))["row"].tolist() == [row]
    small_run.run()
    # A run that has only ever seen the mended set.
    whole = SmallRun(small_faces, tmp_path / "whole")
    whole.run(train_data=small_run.settings.train_data)
    assert small_run.outcome() == whole.outcome()
