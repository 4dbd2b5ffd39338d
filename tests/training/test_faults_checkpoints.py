"""Checkpoints that were cut short, damaged, or written with other flags."""

import os
import resource

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common import command
from ddl_tf.common.errors import InputError, NotFiniteError
from ddl_tf.losses import MarginSoftmaxLoss
from ddl_tf.models import build_recognizer
from ddl_tf.training import build_optimizer
from ddl_tf.training.checkpoints import ResumePoint

DATA, INDEX = "ckpt-{}.data-00000-of-00001", "ckpt-{}.index"


def compiled(optimizer="sgd", head="arcface", size=4, people=5):
    model = build_recognizer("plain_small", people, head=head, embedding_size=size, input_shape=(16, 16, 3))
    model.compile(build_optimizer(optimizer, 0.05), loss={"logits": MarginSoftmaxLoss()})
    return model


def fill(model, value):
    for variable in (*model.variables, *model.optimizer.variables):
        variable.assign(tf.cast(tf.fill(variable.shape, value), variable.dtype))


def values(model):
    return {float(v.numpy().ravel()[0]) for v in (*model.variables, *model.optimizer.variables) if v.shape.rank}


@pytest.fixture(scope="module")
def model():
    """One for all: what is restored says which checkpoint was used."""
    return compiled()


@pytest.fixture
def written(model, tmp_path):
    """A folder with whole checkpoints of the steps 1 and 2, all of whose values are 1 and 2."""
    point = ResumePoint(tmp_path, model)
    for step in (1, 2):
        fill(model, step)
        point.save(step)
    fill(model, 0)
    return tmp_path


def truncated(name, share):
    def damage(folder):
        os.truncate(folder / name, int((folder / name).stat().st_size * share))

    return damage


def flipped(folder):
    content = bytearray((folder / DATA.format(2)).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / DATA.format(2)).write_bytes(content)


def older_data(folder):
    (folder / DATA.format(2)).write_bytes((folder / DATA.format(1)).read_bytes())


@pytest.mark.parametrize(
    "damage",
    [
        *[truncated(DATA.format(2), share) for share in (0.0, 0.999)],
        *[truncated(INDEX.format(2), share) for share in (0.0, 0.99)],
        lambda folder: (folder / DATA.format(2)).unlink(),
        flipped,
        older_data,
    ],
)
def test_a_damaged_checkpoint_is_told_of_and_the_one_before_is_used(written, model, damage, capfd):
    damage(written)
    point = ResumePoint(written, model)
    assert point.restore() == 1
    assert values(model) == {1.0}
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"the checkpoint {written}/ckpt-2 cannot be resumed (")
    # Not the damaged one is kept beside the new one.
    point.save(3)
    assert ResumePoint(written, model).restore() == 3
    truncated(DATA.format(3), 0.5)(written)
    assert ResumePoint(written, model).restore() == 1


def test_what_a_kill_leaves_is_no_checkpoint(written, model, capfd):
    (written / INDEX.format(2)).unlink()
    (written / "ckpt-3_temp").mkdir()
    (written / "ckpt-3_temp/part-00000-of-00001.data-00000-of-00001.tempstate123").write_bytes(b"half")
    # TensorFlow's own list of checkpoints, of which runs of an earlier version have one.
    (written / "checkpoint").write_text("damaged")
    point = ResumePoint(written, model)
    assert point.restore() == 1
    assert capfd.readouterr().err == ""
    assert not (written / "ckpt-3_temp").exists()
    for step in (3, 4):
        point.save(step)
    names = ["checkpoint", DATA.format(3), INDEX.format(3), DATA.format(4), INDEX.format(4)]
    assert sorted(file.name for file in written.iterdir()) == names


def test_without_a_usable_checkpoint_it_says_what_to_do(written, model, capfd):
    for step in (1, 2):
        truncated(DATA.format(step), 0.3)(written)
    with pytest.raises(InputError, match=r"no checkpoint of .* can be resumed \(.*\): put a copy of one back"):
        ResumePoint(written, model).restore()
    assert len(capfd.readouterr().err.splitlines()) == 2
    # They stay: somebody may know how to mend them.
    assert (written / DATA.format(1)).exists()


@pytest.mark.parametrize(
    "flags",
    [{"size": 8}, {"people": 6}, {"optimizer": "adamw"}, {"head": "subcenter_arcface"}, {"head": "curricularface"}],
    ids=str,
)
def test_a_checkpoint_of_other_flags_is_told_of_and_the_one_before_is_used(written, model, flags, capfd):
    other = compiled(**flags)
    fill(other, 9)
    ResumePoint(written / "other", other).save(9)
    for name in (DATA.format(9), INDEX.format(9)):
        (written / "other" / name).rename(written / name)
    assert ResumePoint(written, model).restore() == 2
    assert values(model) == {2.0}
    assert f"{written}/ckpt-9 cannot be resumed (" in capfd.readouterr().err
    # In the other direction too: one of the two has more in it.
    (written / INDEX.format(9)).unlink()
    with pytest.raises(InputError, match="can be resumed"):
        ResumePoint(written, other).restore()


def test_a_checkpoint_that_cannot_be_written_leaves_those_before(written, model):
    point = ResumePoint(written, model)
    assert point.restore() == 2
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    fill(model, 3)
    # TensorFlow writes in another thread: nothing else of this process writes meanwhile.
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            point.save(3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert command._explain(caught.value) == (
        f"{written}: File too large; raise the limit on the size of files (ulimit -f), then give the same command again"
    )
    assert point.latest == f"{written}/ckpt-2"
    assert ResumePoint(written, model).restore() == 2
    point.save(3)
    assert ResumePoint(written, model).restore() == 3
    assert not list(written.glob("*_temp"))


def test_nothing_not_finite_is_written(written, model):
    point = ResumePoint(written, model)
    assert point.restore() == 2
    centers = model.get_layer("head").class_centers
    centers.assign(tf.where(tf.range(centers.shape[-1]) == 1, np.nan, centers))
    with pytest.raises(NotFiniteError, match=r"class_centers:0 is not finite after step 3; .*ckpt-2; lower"):
        point.save(3)
    assert ResumePoint(written, model).restore() == 2
