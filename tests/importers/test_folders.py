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


def test_folder_per_identity(people):
    source = folder_source(str(people))
    items = list(source.read(0))
    assert [item.source for item in items] == [
        str(people / name) for name in ("ann/9.JPEG", "bob/1.jpg", "bob/2.jpg", "bob/old/0.png")
    ]
    assert [item.identity for item in items] == ["ann", "bob", "bob", "bob"]
    assert [item.image for item in items] == [picture(n) for n in (3, 1, 0, 2)]
    assert source.count == 4
    assert list(source.read(2)) == items[2:]


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
    described = store_source(folder_source(str(people)), tmp_path / "faces", "skip")
    assert described["problems"] == {"file name": 2}
    assert r"bob/3\xe9.JPG" in (tmp_path / "faces/problems.csv").read_text(encoding="utf-8")


def test_a_root_that_is_not_utf8_can_be_stored(people, tmp_path):
    root = os.fsdecode(os.fsencode(tmp_path) + b"/jos\xe9")
    (people / "list.txt").write_text("stray")
    os.rename(people, root)
    described = store_source(folder_source(root), tmp_path / "faces", "skip")
    assert described["made_by"]["source"] == rf"{tmp_path}/jos\xe9"
    assert rf"{tmp_path}/jos\xe9/list.txt" in (tmp_path / "faces/problems.csv").read_text(encoding="utf-8")


def test_links_to_folders_above_are_not_followed(people):
    right = [item.source for item in folder_source(str(people)).read(0)]
    for name, target in {"bob/self": "bob", "bob/self2": "bob", "bob/old/up": "bob", "ann/all": "."}.items():
        (people / name).symlink_to(people / target)
    assert [item.source for item in folder_source(str(people)).read(0)] == right


def test_a_pipe_among_photos_is_a_problem(people):
    pipe(people / "ann/0.jpg")
    problem, *others = folder_source(str(people)).read(0)
    assert (problem.kind, problem.source) == ("no file", str(people / "ann/0.jpg"))
    assert "a pipe, device or socket" in problem.reason
    assert len(others) == 4


@pytest.mark.parametrize("folders", [["a"], ["a", "b"]])
def test_a_root_one_level_too_high(people, tmp_path, capsys, folders):
    folder_source(str(people))
    assert capsys.readouterr().err == ""
    for name in folders:
        write(tmp_path / "parent" / name / "ann/1.jpg", 1)
        write(tmp_path / "parent" / name / "bob/1.jpg", 2)
    folder_source(str(tmp_path / "parent"))
    what = "one identity, a," if len(folders) == 1 else "2 identities,"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path}/parent: {what} whose images lie in folders of that folder; ")


def test_unusable_folder(people, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        folder_source(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="there are no folders in it"):
        folder_source(str(people / "ann"))


def write_csv(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_csv(people):
    listed = write_csv(
        people / "faces.csv",
        "identity,path,group,yaw,light,007",
        "007,bob/1.jpg,0,0.5,day,1",
        '"Bob, jr",bob/2.jpg,1,,night,2',
        "",
        "NA,ann/9.JPEG,-1,3,day,3",
    )
    source = csv_source(listed)
    items = list(source.read(0))
    assert [item.identity for item in items] == ["007", "Bob, jr", "NA"]
    assert [item.image for item in items] == [picture(1), picture(0), picture(3)]
    assert [item.group for item in items] == [0, 1, -1]
    assert [item.columns["light"] for item in items] == ["day", "night", "day"]
    assert [item.columns["007"] for item in items] == [1, 2, 3]
    assert [str(item.columns["yaw"]) for item in items] == ["0.5", "nan", "3.0"]
    assert items[2].source == f"{listed}, line 5 (ann/9.JPEG)"
    assert [item.identity for item in source.read(1)] == ["Bob, jr", "NA"]
    assert list(source.identities) == ["007", "Bob, jr", "NA"]
    (item,) = csv_source(write_csv(people / "faces.csv", "path,identity", "1.jpg,bob"), str(people / "bob")).read(0)
    assert (item.image, item.group, dict(item.columns)) == (picture(1), -1, {})


def test_problems_of_a_csv(people):
    lines = ("path,identity", "bob/1.jpg,bob", "bob/7.jpg,bob", ",bob", "x,", "bob/1.jpg,ann", "ann,ann", "a\0,bob")
    listed = write_csv(people / "faces.csv", *lines)
    problems = list(csv_source(listed).read(0))[1:]
    kinds = ["missing file", "missing value", "missing value", "duplicate", "missing file", "file name"]
    assert [(item.kind, item.source) for item in problems] == [
        (kind, f"{listed}, line {line}") for line, kind in enumerate(kinds, 3)
    ]
    assert "bob/7.jpg: No such file" in problems[0].reason
    assert "in line 2 too" in problems[3].reason
    assert "Is a directory" in problems[4].reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column 'path', the first line names none"),
        (b"path,who\na,b\n", "no column 'identity', the first line names path, who"),
        (b"path,identity\na\n", "line 2: 1 cells under 2"),
        (b"path,identity,group\na,b,1.5\n", "line 2: group 1.5"),
        (b"path,identity\n\xff\xff,a\n", "not a CSV file in UTF-8"),
        (b"path,identity,path\na,b,c\n", "two columns have one name"),
    ],
)
def test_unusable_csv(tmp_path, content, message):
    (tmp_path / "faces.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        csv_source(str(tmp_path / "faces.csv"))
    with pytest.raises(OSError, match="a pipe, device or socket"):
        csv_source(str(pipe(tmp_path / "faces.csv")))
