"""Training data that goes bad while a run is on: it stops, says which file, and goes on when that is put back."""

import errno
import os
import re

import pytest

from ddl_tf import command
from ddl_tf.data import store
from ddl_tf.errors import InputError

SHARD = r"train/shard-00000.tfrecord"


def test_a_shard_that_is_cut_short_or_lost_mid_run(small_run, undisturbed_outcome, monkeypatch, capfd):
    pread, calls = os.pread, []
    monkeypatch.setattr(store, "RETRY_SECONDS", (0.0,))

    def cut_short(*place):
        # Rows are read by two threads, ahead of training: from some row of step 4 or 5 on.
        calls.append(place)
        return pread(*place) if len(calls) <= 3 * 8 + 3 else b""

    def lost(*place):
        calls.append(place)
        if len(calls) > 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(*place)

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
