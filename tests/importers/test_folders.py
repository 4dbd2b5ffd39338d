import os

import pytest
from tiny_sets import picture, pipe, store_source

from ddl_tf.common.errors import InputError
from ddl_tf.importers.folders import csv_source, folder_source


def write(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(number))
    return path


@pytest.fixture
def people(tmp_path):
    """bob has three images, one of them further down; ann has one; a hidden file is none."""
    for number, name in enumerate(["bob/2.jpg", "bob/1.jpg", "bob/old/0.png", "ann/9.JPEG", "bob/.DS_Store"]):
        write(tmp_path / "people" / name, number)
    return tmp_path / "people"


def test_folder_per_identity(people, tmp_path):
    source = folder_source(str(people))
    items = list(source.read(0))
    names = ("ann/9.JPEG", "bob/1.jpg", "bob/2.jpg", "bob/old/0.png")
    assert [item.source for item in items] == [str(people / name) for name in names]
    assert [item.identity for item in items] == ["ann", "bob", "bob", "bob"]
    assert [item.image for item in items] == [picture(n) for n in (3, 1, 0, 2)]
    assert source.count == 4
    assert list(source.read(2)) == items[2:]
    # A link upwards is not followed.
    (people / "bob/old/up").symlink_to(people / "bob")
    pipe(people / "ann/0.jpg")
    problem, *others = folder_source(str(people)).read(0)
    assert (problem.kind, problem.source) == ("no file", str(people / "ann/0.jpg"))
    assert others == items
    for folder, message in ((tmp_path / "nowhere", "no such folder"), (people / "bob/old", "no folders in it")):
        (people / "bob/old/up").unlink(missing_ok=True)
        with pytest.raises(InputError, match=message):
            folder_source(str(folder))


def test_what_is_wrong_in_a_folder(people, tmp_path):
    (people / "empty").mkdir()
    (people / "bob/notes.txt").write_text("no image")
    (people / "list.txt").write_text("stray")
    described = store_source(folder_source(str(people)), tmp_path / "faces", "skip")
    assert described["problems"] == {"corrupt image": 1, "empty identity": 1, "stray file": 1}
    assert (described["images"], described["identities"]) == (4, 2)
    problems = (tmp_path / "faces/problems.csv").read_text().splitlines()
    assert problems[1].startswith(f"corrupt image,{people}/bob/notes.txt,it is no image")
    assert problems[2].startswith(f"stray file,{people}/list.txt")
    assert problems[3].startswith(f'empty identity,"{people}, identity empty"')


def test_a_name_that_is_not_utf8_is_a_problem_shown_escaped_before_the_work(people, tmp_path):
    for name in (b"bob/3\xe9.JPG", b"jos\xe9/1.jpg"):
        write(people / os.fsdecode(name), 7)
    first, second, *others = folder_source(str(people)).read(0)
    assert (first.kind, first.source) == ("file name", rf"{people}/bob/3\xe9.JPG")
    assert (second.kind, second.source) == ("file name", rf"{people}/jos\xe9/1.jpg")
    assert [item.identity for item in others] == ["ann", "bob", "bob", "bob"]
    with pytest.raises(InputError, match=r"file name: it is not UTF-8; rename it.*--on_error=skip"):
        store_source(folder_source(str(people)), tmp_path / "faces")
    assert not list(tmp_path.glob("faces.partial/shard*"))
    # The name of the root may be anything.
    root = os.fsdecode(os.fsencode(tmp_path) + b"/set\xe9")
    os.rename(people, root)
    described = store_source(folder_source(root), tmp_path / "skipped", "skip")
    assert described["problems"] == {"file name": 2}
    assert described["made_by"]["source"] == rf"{tmp_path}/set\xe9"
    assert r"set\xe9/bob/3\xe9.JPG" in (tmp_path / "skipped/problems.csv").read_text(encoding="utf-8")


def test_a_root_one_level_too_high(people, tmp_path, capsys):
    folder_source(str(people))
    for name, what in (("a", "one identity, a,"), ("b", "2 identities,")):
        assert capsys.readouterr().err == ""
        for person in ("ann", "bob"):
            write(tmp_path / "parent" / name / person / "1.jpg", 1)
        folder_source(str(tmp_path / "parent"))
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{tmp_path}/parent: {what} whose images lie in folders of that folder; ")


def test_csv(people):
    file = people / "faces.csv"
    lines = ("007,bob/1.jpg,0,0.5,day,1", '"Bob, jr",bob/2.jpg,1,,night,2', "", "NA,ann/9.JPEG,-1,3,day,3")
    file.write_text("\n".join(["identity,path,group,yaw,light,007", *lines]))
    source = csv_source(str(file))
    items = list(source.read(0))
    assert [item.identity for item in items] == list(source.identities) == ["007", "Bob, jr", "NA"]
    assert [item.image for item in items] == [picture(1), picture(0), picture(3)]
    assert [item.group for item in items] == [0, 1, -1]
    columns = [tuple(map(str, item.columns.values())) for item in items]
    assert columns == [("0.5", "day", "1"), ("nan", "night", "2"), ("3.0", "day", "3")]
    assert items[2].source == f"{file}, line 5 (ann/9.JPEG)"
    assert [item.identity for item in source.read(1)] == ["Bob, jr", "NA"]
    file.write_text("path,identity\n1.jpg,bob")
    (item,) = csv_source(str(file), str(people / "bob")).read(0)
    assert (item.image, item.group, dict(item.columns)) == (picture(1), -1, {})


def test_problems_of_a_csv(people):
    listed = people / "faces.csv"
    listed.write_text("path,identity\nbob/1.jpg,bob\nbob/7.jpg,bob\n,bob\nx,\nbob/1.jpg,ann\nann,ann\na\0,bob\n")
    problems = list(csv_source(str(listed)).read(0))[1:]
    kinds = ["missing file", "missing value", "missing value", "duplicate", "missing file", "file name"]
    assert [(item.kind, item.source) for item in problems] == [
        (kind, f"{listed}, line {line}") for line, kind in enumerate(kinds, 3)
    ]
    for number, reason in ((0, "bob/7.jpg: No such file"), (3, "in line 2 too"), (4, "Is a directory")):
        assert reason in problems[number].reason


def test_unusable_csv(tmp_path):
    file = tmp_path / "faces.csv"
    for content, message in (
        (b"", "no column 'path', the first line names none"),
        (b"path,who\na,b\n", "no column 'identity', the first line names path, who"),
        (b"path,identity\na\n", "line 2: 1 cells under 2"),
        (b"path,identity,group\na,b,1.5\n", "line 2: group 1.5"),
        (b"path,identity\n\xff\xff,a\n", "not a CSV file in UTF-8"),
        (b"path,identity,path\na,b,c\n", "two columns have one name"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=message):
            csv_source(str(file))
    with pytest.raises(OSError, match="a pipe, device or socket"):
        csv_source(str(pipe(file)))
