import pytest
from tiny_sets import picture

from ddl_tf.data.folders import csv_source, folder_source
from ddl_tf.data.writer import StoreSettings, write_set
from ddl_tf.errors import InputError


def write(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(number))
    return path


@pytest.fixture
def people(tmp_path):
    """bob has three images, one of them further down; ann has one; a hidden file is none."""
    for number, name in enumerate(["bob/2.jpg", "bob/1.jpg", "bob/old/0.png", "ann/9.jpeg", "bob/.DS_Store"]):
        write(tmp_path / "people" / name, number)
    return tmp_path / "people"


def test_folder_per_identity(people):
    source = folder_source(str(people))
    items = list(source.read(0))
    assert [item.source for item in items] == [
        str(people / name) for name in ("ann/9.jpeg", "bob/1.jpg", "bob/2.jpg", "bob/old/0.png")
    ]
    assert [item.identity for item in items] == ["ann", "bob", "bob", "bob"]
    assert [item.image for item in items] == [picture(n) for n in (3, 1, 0, 2)]
    assert source.count == 4
    assert list(source.read(2)) == items[2:]


def test_what_is_wrong_in_a_folder(people, tmp_path):
    (people / "empty").mkdir()
    (people / "bob/notes.txt").write_text("no image")
    (people / "list.txt").write_text("stray")
    described = write_set(folder_source(str(people)), StoreSettings(output=str(tmp_path / "faces")), "skip")
    assert described["problems"] == {"corrupt image": 1, "empty identity": 1, "stray file": 1}
    assert (described["images"], described["identities"]) == (4, 2)
    problems = (tmp_path / "faces/problems.csv").read_text().splitlines()
    assert problems[1].startswith(f"corrupt image,{people}/bob/notes.txt,it is no image")
    assert problems[2].startswith(f"stray file,{people}/list.txt")
    assert problems[3].startswith(f'empty identity,"{people}, identity empty"')


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
        "NA,ann/9.jpeg,-1,3,day,3",
    )
    source = csv_source(listed)
    items = list(source.read(0))
    assert [item.identity for item in items] == ["007", "Bob, jr", "NA"]
    assert [item.image for item in items] == [picture(1), picture(0), picture(3)]
    assert [item.group for item in items] == [0, 1, -1]
    assert [item.columns["light"] for item in items] == ["day", "night", "day"]
    assert [item.columns["007"] for item in items] == [1, 2, 3]
    assert [str(item.columns["yaw"]) for item in items] == ["0.5", "nan", "3.0"]
    assert items[2].source == f"{listed}, line 5 (ann/9.jpeg)"
    assert [item.identity for item in source.read(1)] == ["Bob, jr", "NA"]
    assert list(source.identities) == ["007", "Bob, jr", "NA"]


def test_csv_with_another_root(people, tmp_path):
    listed = write_csv(tmp_path / "faces.csv", "path,identity", "1.jpg,bob")
    (item,) = csv_source(listed, str(people / "bob")).read(0)
    assert item.image == picture(1)
    assert (item.group, dict(item.columns)) == (-1, {})


def test_problems_of_a_csv(people):
    listed = write_csv(
        people / "faces.csv",
        "path,identity",
        "bob/1.jpg,bob",
        "bob/7.jpg,bob",
        ",bob",
        "x,",
        "bob/1.jpg,ann",
        "ann,ann",
    )
    problems = list(csv_source(listed).read(0))[1:]
    assert [(one.kind, one.source) for one in problems] == [
        ("missing file", f"{listed}, line 3"),
        ("missing value", f"{listed}, line 4"),
        ("missing value", f"{listed}, line 5"),
        ("duplicate", f"{listed}, line 6"),
        ("missing file", f"{listed}, line 7"),
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
        (b"path,identity,group\na,b,\n", "line 2: group nan"),
        (b"path,identity\n\xff\xff,a\n", "not a CSV file in UTF-8"),
        (b"path,identity,path\na,b,c\n", "two columns have one name"),
    ],
)
def test_unusable_csv(tmp_path, content, message):
    (tmp_path / "faces.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        csv_source(str(tmp_path / "faces.csv"))
