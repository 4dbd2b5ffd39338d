"""Training data that goes bad while a run is on: it stops, says which file, and goes on when that is put back."""

import dataclasses
import errno
import os
import re
import shutil

import pytest
from fault_runs import SmallRun

from ddl_tf import command
from ddl_tf.data import store
from ddl_tf.data.mending import mend_set
from ddl_tf.data.sampling import StreamSampler, StreamSizes
from ddl_tf.data.store import Faces
from ddl_tf.errors import InputError

SHARD = r"train/shard-00000.tfrecord"


def test_a_shard_that_is_cut_short_or_lost_mid_run(small_run, undisturbed_outcome, monkeypatch, capfd):
    pread, calls = os.pread, []
    monkeypatch.setattr(store, "RETRY_SECONDS", (0.0,))

    def reads(shard):
        """How often the shard was read so far; 0 for the shards of the sets that are evaluated between the steps."""
        if os.readlink(f"/proc/self/fd/{shard}").endswith(SHARD):
            calls.append(shard)
            return len(calls)
        return 0

    def cut_short(shard, *place):
        # Rows are read by two threads, ahead of training: from some row of step 4 or 5 on.
        return pread(shard, *place) if reads(shard) <= 3 * 8 + 3 else b""

    def lost(shard, *place):
        if reads(shard) > 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(shard, *place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", cut_short)
        with pytest.raises(InputError, match=rf"{SHARD}: no record of the set at byte [\d,]+, where the index has one"):
            small_run.run()
    found = re.search(r"step (\d) failed; when mended, the same command goes on from (.*)\n", capfd.readouterr().err)
    done = int(found.group(1)) - 1
    assert done in (2, 3, 4)
    # A step that failed is in no checkpoint.
    assert small_run.checkpoints()[-1] == done
    assert found.group(2) == f"{small_run.folder}/resume/ckpt-{done}"
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", lost)
        with pytest.raises(OSError, match="Input/output error") as caught:
            small_run.run()
    assert re.search(SHARD + ": Input/output error; see to the disk or the network", command._explain(caught.value))
    assert small_run.checkpoints()[-1] == done
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
