import shutil
from collections import Counter

import numpy as np
import pytest
from refusals import problems_of
from tiny_sets import picture, pipe

from ddl_tf import prepare
from ddl_tf.common.errors import InputError
from ddl_tf.data.store import Faces
from ddl_tf.importers.scface import View, find_views, mugshot, read_subjects, scface_source, split_subjects
from ddl_tf.importers.source import Problem


def write(root, name, number=0):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(number))
    return path


def write_subject(root, subject, flat=False):
    """All views of a subject, as official as it gets; the pictures tell subject, camera and distance."""
    write(root, f"{'' if flat else 'mugshot_frontal_cropped_all/'}{subject:03d}_frontal.JPG", subject * 100)
    for camera in range(1, 8):
        for distance in (1, 2, 3):
            folder = "" if flat else f"surveillance_cameras_distance_{distance}/cam_{camera}/"
            name = f"{folder}{subject:03d}_cam{camera}_{distance}.jpg"
            write(root, name, subject * 100 + camera * 10 + distance)


def test_the_split():
    training, test = split_subjects(seed=0)
    assert (len(training), len(test)) == (50, 80)
    assert sorted(training + test) == list(range(1, 131))
    # As documented, and the same in every version of NumPy.
    assert training == sorted(np.random.RandomState(0).permutation(130)[:50] + 1)
    assert training[:5] == [3, 4, 7, 8, 9]
    with pytest.raises(InputError, match="seed -1 of the split of SCface: must be at least 0"):
        split_subjects(-1)


def test_lists_of_subjects(tmp_path):
    path = tmp_path / "subjects.txt"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text("007\n\n12\n 1 \n", encoding=encoding)
        assert read_subjects(str(path)) == [7, 12, 1]
    path.write_text("7\nseven\n131\n0\n007\n\u00b2\n", encoding="utf-8")
    kinds = [*["unknown subject"] * 3, "duplicate line", "unknown subject"]
    problems = problems_of(read_subjects, path)
    assert [problem[:2] for problem in problems] == [(kind, f"line {line}") for line, kind in enumerate(kinds, 2)]
    assert problems[0][2] == "'seven' is not a number of 1 to 130"
    path.write_text("\n")
    with pytest.raises(InputError, match="no subject in it"):
        read_subjects(str(path))


@pytest.mark.parametrize("layout", ["official", "parent", "all", "flat"])
def test_layouts(tmp_path, layout):
    base = tmp_path / "SCface_database" if layout == "parent" else tmp_path
    write_subject(base, 1, flat=layout == "flat")
    if layout == "all":
        for distance in (1, 2, 3):
            name = f"surveillance_cameras_distance_{distance}"
            shutil.move(base / name, base / f"surveillance_cameras_all/{distance}")
    if layout == "flat":
        # Hidden, or of another kind.
        for name in ("._001_frontal.jpg", "001_cam8.jpg", "001_R4.jpg", "features.txt", "a/b/002_Cam5_3.Jpeg"):
            write(tmp_path, name, 253)
    views = find_views(str(tmp_path))
    more = [View(2, 5, 3)] if layout == "flat" else []
    assert set(views) == {mugshot(1), *more, *(View(1, camera, d) for camera in range(1, 8) for d in (1, 2, 3))}
    for view, path in views.items():
        assert path.read_bytes() == picture(view.subject * 100 + view.camera * 10 + view.distance)
    assert (mugshot(1).key, View(23, 4, 1).key) == ("001_frontal", "023_cam4_1")


def test_views_that_the_release_has_twice(tmp_path):
    """The official release has every view two or three times; it is taken from one place."""
    write_subject(tmp_path, 1)
    original = write(tmp_path, "mugshot_frontal_original_all/001_frontal.jpg", 7)
    rotated = ("mugshot_rotation_all/001_frontal", "mugshot_rotation_all/001_L1")
    for name in (*rotated, "surveillance_cameras_all/001_cam1_1"):
        write(tmp_path, f"{name}.jpg", 8)
    cropped, originals = find_views(str(tmp_path)), find_views(str(tmp_path), "original")
    assert cropped[mugshot(1)].read_bytes() == picture(100)
    assert {**cropped, mugshot(1): original} == originals
    assert cropped[View(1, 1, 1)].read_bytes() == picture(111)
    shutil.rmtree(tmp_path / "mugshot_frontal_cropped_all")
    with pytest.raises(InputError, match="there is mugshot_frontal_original_all, not mugshot_frontal_cropped_all"):
        find_views(str(tmp_path))


def test_unusable_folders(tmp_path):
    for arguments, message in (
        ((str(tmp_path / "nothing"),), "no such folder"),
        ((str(tmp_path),), "no image of SCface in it"),
        ((str(tmp_path), "best"), "mugshots 'best' of SCface: use cropped or original"),
    ):
        with pytest.raises(InputError, match=message):
            find_views(*arguments)
    for name, missing in (
        ("surveillance_cameras_all/001_cam1_1.jpg", "mugshot_frontal_cropped_all"),
        ("mugshot_frontal_cropped_all/001_frontal.jpg", "surveillance_cameras_all"),
    ):
        path = write(tmp_path, name)
        with pytest.raises(InputError, match=f"the folder {missing} is missing"):
            find_views(str(tmp_path))
        shutil.rmtree(path.parent)
    wrong = {"b/001_frontal.png": "duplicate image", "001_cam9_1.jpg": "stray image"}
    wrong["131_frontal.jpg"] = "unknown subject"
    for name in ("a/001_frontal.jpg", *wrong):
        write(tmp_path, name)
    problems = {problem[:2] for problem in problems_of(find_views, tmp_path)}
    assert problems == {(kind, str(tmp_path / name)) for name, kind in wrong.items()}


def test_training_set(tmp_path):
    for subject in (3, 2, 9):
        write_subject(tmp_path, subject)
    source = scface_source(str(tmp_path), [3, 2])
    items = list(source.read(0))
    assert source.count == 2 * 16
    assert [item.identity for item in items] == ["003"] * 16 + ["002"] * 16
    assert source.identities == ["003", "002"]
    assert [item.group for item in items[:7]] == [0, 1, 1, 0, 1, 1, 0]
    assert [tuple(item.columns.values()) for item in items[:5]] == [(0, 0), (1, 1), (1, 2), (1, 3), (2, 1)]
    for item in items:
        camera, distance = item.columns["camera"], item.columns["distance"]
        assert item.image == picture(int(item.identity) * 100 + camera * 10 + distance)
    assert list(source.read(20)) == items[20:]
    groups = Counter((i.columns["distance"], i.group) for i in scface_source(str(tmp_path), [2], [1, 7], []).read(0))
    assert groups == {(0, 0): 1, (1, 1): 2, (2, 1): 2, (3, 1): 2}


def test_problems_of_a_training_set(tmp_path):
    write_subject(tmp_path, 1)
    path = tmp_path / "surveillance_cameras_distance_2/cam_1/001_cam1_2.jpg"
    path.unlink()
    for expected in (("missing file", f"{tmp_path}, 001_cam1_2"), ("no file", str(path))):
        items = list(scface_source(str(tmp_path), [1]).read(0))
        assert [n for n, item in enumerate(items) if isinstance(item, Problem)] == [2]
        assert (items[2].kind, items[2].source) == expected
        pipe(path)
    for arguments, message in (
        (([],), "no subject of SCface is chosen"),
        (([0],), "SCface has no subject 0: give some of 1 to 130"),
        (([1, 2, 1],), "subject 1 of SCface is given twice"),
        (([1], []), "no camera of SCface is chosen"),
        (([1], [8]), "SCface has no camera 8: give some of 1 to 7"),
        (([1], [1], [4]), "SCface has no distance 4: give some of 1 to 3"),
    ):
        with pytest.raises(InputError, match=message):
            scface_source(str(tmp_path), *arguments)


def test_the_command(tmp_path, capsys):
    training, _ = split_subjects(seed=3)
    for subject in [*training[:2], 130]:
        write_subject(tmp_path / "scface", subject)
    (tmp_path / "subjects.txt").write_text("130\n")
    root, listed = str(tmp_path / "scface"), str(tmp_path / "subjects.txt")
    prepare.scface(prepare.SCfaceSettings(output=str(tmp_path / "own"), root=root, training_subjects=listed))
    index = Faces([str(tmp_path / "own")]).index
    assert index["identity_key"].unique().tolist() == ["130"]
    assert index.groupby("group").size().tolist() == [6, 10]
    assert index["distance"].tolist() == [0, *[1, 2, 3] * 5]
    prepare.scface(prepare.SCfaceSettings(output=str(tmp_path / "drawn"), root=root, split_seed=3, on_error="skip"))
    assert "stored 32 images of 2 identities" in capsys.readouterr().out
