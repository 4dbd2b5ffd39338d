"""What gets its name last is on the disk, whole, before it has that name, and its name is too when the call returns."""

import os
from pathlib import Path

import pytest
import tensorflow as tf
from tiny_network import tiny_network  # noqa: F401

from ddl_tf.common.partial_folder import open_partial, publish
from ddl_tf.miniature import MiniatureSettings
from ddl_tf.miniature import main as write_miniature
from ddl_tf.models import build_recognizer, embedding_model
from ddl_tf.serving import export_model
from ddl_tf.training.checkpoints import ResumePoint


@pytest.fixture
def events(monkeypatch):
    """("sync", path) and ("rename", from, to) in their order."""
    happened, fsync, rename = [], os.fsync, os.rename

    def record_sync(number):
        happened.append(("sync", os.readlink(f"/proc/self/fd/{number}")))
        fsync(number)

    def record_rename(source, target, **options):
        happened.append(("rename", os.fspath(source), os.fspath(target)))
        rename(source, target, **options)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "rename", record_rename)
    return happened


def check_folder(events, folder):
    """A folder that was moved to its name."""
    (moved,) = (place for place, event in enumerate(events) if event[0] == "rename" and event[2] == str(folder))
    source = events[moved][1]
    before, after = ({event[1] for event in part if event[0] == "sync"} for part in (events[:moved], events[moved:]))
    inside = [path for path in folder.rglob("*") if path.is_file() or any(path.iterdir())]
    assert {os.path.join(source, path.relative_to(folder)) for path in inside} <= before
    assert source in before
    assert str(folder.parent) in after


def test_a_published_set(tmp_path, events):
    partial, output = tmp_path / "faces.partial", tmp_path / "faces"
    with open_partial(partial, {"made": 1}, "data"):
        publish(partial, output, [], "data", [])
    check_folder(events, output)


def test_a_miniature(tmp_path, monkeypatch, events):
    # Path.rename takes os.rename from its own module.
    monkeypatch.setattr(Path, "rename", lambda path, target: os.rename(path, target))
    write_miniature(MiniatureSettings(layout="scface", output=str(tmp_path / "scface")))
    check_folder(events, tmp_path / "scface")


def test_an_export(tmp_path, events):
    model = build_recognizer("plain_small", 3, embedding_size=8, input_shape=(32, 32, 3))
    check_folder(events, export_model(embedding_model(model), "tiny", str(tmp_path), search=False))


def test_a_checkpoint_is_on_the_disk_before_an_older_one_goes(tmp_path, monkeypatch, events):
    model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))])
    model.compile("sgd", "mse")
    unlink = Path.unlink

    def record_unlink(path, **options):
        events.append(("unlink", str(path)))
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", record_unlink)
    point = ResumePoint(tmp_path / "resume", model)
    for step in (1, 2, 3):
        events.clear()
        point.save(step)
    removed = [place for place, event in enumerate(events) if event[0] == "unlink"]
    assert removed
    synced = {event[1] for event in events[: removed[0]] if event[0] == "sync"}
    files = {str(path) for path in (tmp_path / "resume").glob("ckpt-3.*")}
    assert len(files) == 2
    assert {*files, str(tmp_path / "resume")} <= synced
