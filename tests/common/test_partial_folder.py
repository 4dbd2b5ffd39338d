"""What an import may remove or replace: only what it made itself."""

import os

import pytest
from tiny_sets import list_source, samples
from tiny_sets import store as store_items

from ddl_tf.common import partial_folder as partial
from ddl_tf.common.errors import InputError
from ddl_tf.data import writer
from ddl_tf.data.store import Faces
from ddl_tf.data.writer import StoreSettings, write_set


def store(output, count=3, **settings):
    return store_items(samples(count), output, **settings)


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("years of work")
    return path


def kept(path):
    return path.read_text() == "years of work"


def stop(*_):
    raise KeyboardInterrupt


@pytest.fixture
def unfinished(tmp_path, monkeypatch):
    """A partial folder that an import left before its publishing."""
    with monkeypatch.context() as patch:
        patch.setattr(writer, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            store(tmp_path / "faces")
    return tmp_path / "faces.partial"


@pytest.mark.parametrize(
    "name", ["thesis.txt", "shard-00000.tfrecord", "part-00000.json", "photos/anna.jpg", ".hidden"]
)
def test_a_folder_of_the_users_named_partial_is_refused_and_stays(tmp_path, name):
    mine = write(tmp_path / "faces.partial" / name)
    with pytest.raises(InputError, match=rf"faces\.partial .*holds '{name.split('/')[0]}', which is not of it: move"):
        store(tmp_path / "faces")
    assert kept(mine)
    assert sorted(os.listdir(tmp_path)) == ["faces.partial"]


def test_what_a_user_put_into_unfinished_work_is_refused_and_stays(tmp_path, unfinished):
    mine = write(tmp_path / "thesis.txt")
    for name in ("shard-00000.tfrecord", "lock", "settings.json", "index.parquet"):
        (unfinished / name).rename(tmp_path / "aside")
        (unfinished / name).symlink_to(mine)
        with pytest.raises(InputError, match=f"holds '{name}'"):
            store(tmp_path / "faces")
        assert kept(mine)
        (tmp_path / "aside").replace(unfinished / name)
    mine = write(unfinished / "photos/anna.jpg")
    with pytest.raises(InputError, match="which is not of it: move that folder away"):
        store(tmp_path / "faces")
    assert kept(mine)


def test_unfinished_work_whose_record_is_damaged_is_refused(tmp_path, unfinished):
    for content in ("", "[" * 100_000, "[]", '"x"'):
        (unfinished / "settings.json").write_text(content)
        with pytest.raises(InputError, match=r"settings\.json: not the record of unfinished work"):
            store(tmp_path / "faces")


@pytest.mark.parametrize("as_set", [False, True])
def test_a_folder_of_the_users_named_replaced_is_in_the_way_of_replacing(tmp_path, as_set):
    """Also where it is a stored set: perhaps the user's copy of the one to replace."""
    if as_set:
        store(tmp_path / "faces.replaced")
    mine = write(tmp_path / "faces.replaced/thesis.txt")
    store(tmp_path / "faces")
    with pytest.raises(InputError, match=r"faces\.replaced is in the way"):
        store(tmp_path / "faces", 5, overwrite=True)
    assert kept(mine)
    assert len(Faces([str(tmp_path / "faces")])) == 3
    assert not (tmp_path / "faces.partial").exists()


def test_replacing_a_set_keeps_what_a_user_put_into_it(tmp_path):
    store(tmp_path / "faces")
    notes = [write(tmp_path / "faces" / name) for name in ("notes.txt", "mined/groups.csv", ".todo")]
    before = sorted(os.listdir(tmp_path / "faces"))
    store(tmp_path / "faces", 5, overwrite=True)
    assert all(map(kept, notes))
    assert sorted(os.listdir(tmp_path / "faces")) == before
    assert len(Faces([str(tmp_path / "faces")])) == 5
    assert os.listdir(tmp_path) == ["faces"]


def test_what_has_no_room_in_the_new_set_stays_aside(tmp_path, capsys):
    store(tmp_path / "faces")
    write(tmp_path / "faces/pairs.parquet/notes.txt")
    write_set(
        list_source(samples(4)),
        StoreSettings(output=str(tmp_path / "faces"), overwrite=True),
        tables={"pairs.parquet": Faces([str(tmp_path / "faces")]).index},
    )
    assert kept(tmp_path / "faces.replaced/pairs.parquet/notes.txt")
    assert "faces.replaced: kept, it holds what was not of the set" in capsys.readouterr().err


def replace_stopping(folder, calls, monkeypatch):
    """Whether replacing a set needs more than so many calls that change a folder; nothing is lost at the last one."""
    store(folder / "faces")
    write(folder / "faces/notes.txt")
    left, stopped = [calls], False

    def until(function):
        def called(*arguments, **more):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return function(*arguments, **more)

        return called

    publish = partial.publish

    def stopping(*arguments):
        with monkeypatch.context() as patch:
            for owner, name in ((os, "rename"), (os, "replace"), (partial.Path, "unlink"), (partial.Path, "rmdir")):
                patch.setattr(owner, name, until(getattr(owner, name)))
            publish(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "publish", stopping)
        try:
            store(folder / "faces", 5, overwrite=True)
        except KeyboardInterrupt:
            stopped = True
            assert [path for path in folder.glob("faces*/notes.txt") if kept(path)]
    store(folder / "faces", 5, overwrite=True)
    assert kept(folder / "faces/notes.txt")
    assert sorted(os.listdir(folder)) == ["faces"]
    files = ["dataset.json", "index.parquet", "notes.txt", "problems.csv", "shard-00000.tfrecord"]
    assert sorted(os.listdir(folder / "faces")) == files
    assert len(Faces([str(folder / "faces")])) == 5
    return stopped


def test_replacing_that_stops_anywhere_loses_nothing(tmp_path, monkeypatch):
    calls = 0
    while replace_stopping(tmp_path / str(calls), calls, monkeypatch):
        calls += 1
    assert calls > 10


def test_an_output_that_is_a_link_stays_one(tmp_path):
    store(tmp_path / "disk/faces")
    (tmp_path / "faces").symlink_to(tmp_path / "disk/faces")
    store(tmp_path / "faces", 5, overwrite=True)
    assert (tmp_path / "faces").is_symlink()
    assert len(Faces([str(tmp_path / "disk/faces")])) == 5
    assert os.listdir(tmp_path / "disk") == ["faces"]


@pytest.mark.parametrize("name", ["../thesis.txt", "thesis.txt", "/etc/hostname"])
def test_a_description_that_names_other_files_as_shards_is_refused(tmp_path, name):
    store(tmp_path / "faces")
    mine = write(tmp_path / "thesis.txt")
    file = tmp_path / "faces/dataset.json"
    file.write_text(file.read_text().replace("shard-00000.tfrecord", name))
    with pytest.raises(InputError, match="is no name of a shard"):
        store(tmp_path / "faces", 5, overwrite=True)
    assert kept(mine)
