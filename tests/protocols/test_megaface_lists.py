import json

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.importers.problem_list import ProblemsError
from ddl_tf.protocols.megaface import feature_files, megaface_images, read_megaface

PROBES = ["Adam_Sandler/Adam_Sandler_538.png", "Adam_Sandler/Adam_Sandler_540.png", "Ben_Kingsley/Ben_Kingsley_1.png"]
DISTRACTORS = [f"534/53415754@N00/{number}_1.jpg" for number in range(25)]


def _write(folder, **contents):
    paths = {}
    for name, content in contents.items():
        paths[name] = str(folder / name)
        (folder / name).write_text(content if isinstance(content, str) else "\n".join(content) + "\n")
    return paths


@pytest.fixture
def lists(tmp_path):
    return _write(tmp_path, facescrub_list=PROBES, megaface_list=DISTRACTORS)


def test_lists(tmp_path, lists):
    deep = _write(tmp_path, probes=[f"images/x/{key}" for key in PROBES], others=[f"a/{key}" for key in DISTRACTORS])
    marked = _write(tmp_path, marked="\ufeff" + "\n".join(PROBES))["marked"]
    # The last parts of a path count, and UTF-8 may have its mark.
    for paths in (lists.values(), deep.values(), (marked, lists["megaface_list"])):
        megaface = read_megaface(*paths)
        assert (list(megaface.probes), list(megaface.distractors)) == (PROBES, DISTRACTORS)
        assert megaface.people.tolist() == ["Adam_Sandler", "Adam_Sandler", "Ben_Kingsley"]
    assert not megaface.noisy_probes.any()
    assert not megaface.noisy_distractors.any()
    assert megaface.sizes() == {10: 10, 25: 25}
    people = ["one", "one", "two"]
    content = {
        "probes": json.dumps({"id": people, "path": PROBES}),
        "others": json.dumps({"path": DISTRACTORS}, indent=4),
    }
    megaface = read_megaface(*_write(tmp_path, **content).values())
    assert (list(megaface.probes), list(megaface.distractors)) == (PROBES, DISTRACTORS)
    assert megaface.people.tolist() == people


def test_noises_of_names_without_a_kind_of_image_or_of_another(tmp_path):
    probes = ["Jr._Smith/Jr._Smith_1", "Jr._Smith/Jr._Smith_2", "Ben/Ben_1", "Ben/Ben_2.JPG", "Ben/Ben_3"]
    made = _write(
        tmp_path,
        facescrub_list=[*probes, "Adam Sandler/Adam Sandler_540.jpg", "Adam Sandler/Adam Sandler_54.jpg"],
        megaface_list=["a.b/c/1_0", "a.b/c/1_1", "a.b/c/2"],
        facescrub_noises=["Jr. Smith_2", "Zoe", "Ben_2.png", "Adam_Sandler_540.png"],
        megaface_noises=["a.b/c/1_1"],
    )
    megaface = read_megaface(**made)
    # One name marks one image, not all whose names have no dot, or one dot in the same place.
    assert np.flatnonzero(megaface.noisy_probes).tolist() == [1, 3, 5]
    assert np.flatnonzero(megaface.noisy_distractors).tolist() == [1]


def test_noises(tmp_path, lists):
    noises = _write(
        tmp_path,
        facescrub_noises=["#a comment: Adam_Sandler_538.png", "Adam_Sandler_540.png", "", "Zoe_7.png"],
        megaface_noises=["# a comment", f"12\t{DISTRACTORS[3]}", DISTRACTORS[20], "1/2@N00/3_0.jpg", "3_1.jpg"],
    )
    megaface = read_megaface(**lists, **noises)
    assert megaface.clean_probes().tolist() == [0, 2]
    assert megaface.clean_distractors().tolist() == [*range(3), *range(4, 20), *range(21, 25)]
    # Sizes count noisy ones too, as the devkit does.
    assert megaface.sizes() == {10: 9, 25: 23}
    counts = {"listed_probes": 3, "noisy_probes": 1, "listed_distractors": 25, "noisy_distractors": 2}
    assert megaface.counts() == counts


def test_first_distractors(lists):
    assert list(read_megaface(**lists, distractors=10).distractors) == DISTRACTORS[:10]
    for number in (0, 26):
        with pytest.raises(InputError, match=rf"^{number} distractors, where .*megaface_list lists 25"):
            read_megaface(**lists, distractors=number)


def test_all_wrong_lines_are_named(tmp_path, lists):
    made = _write(tmp_path, facescrub_list=[*PROBES, "alone.png", PROBES[0]], megaface_list=[*DISTRACTORS, "a//b.jpg"])
    with pytest.raises(ProblemsError, match=r"^megaface: 2 bad path, 1 duplicate image \(") as raised:
        read_megaface(**made)
    assert [problem.source for problem in raised.value.problems] == [
        f"{made['facescrub_list']}, image 4",
        f"{made['facescrub_list']}, {PROBES[0]}",
        f"{made['megaface_list']}, image 26",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "there are no images in it"),
        ('{"path": []}', "there are no images in it"),
        ('{"path": ["a/b.png"', "not a whole JSON file"),
        ('{"id": ["a"]}', "not {"),
        ('{"path": ["a/b.png", 3]}', "not {"),
        ('{"path": ["a/b.png"], "id": 4}', "not {"),
        ('{"path": ["a/b.png", "a/c.png"], "id": ["a"]}', "1 ids for 2 paths"),
        (b"\xff\xfe/b.png", "UTF-16, or no text; save the list as UTF-8"),
        (b"a/\xe9.png", "is not UTF-8; save the list as UTF-8"),
    ],
)
def test_no_list(tmp_path, lists, content, message):
    path = tmp_path / "facescrub_list"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=f"^{path}(, line 1)?: .*{message}"):
        read_megaface(**lists)


def test_names_of_feature_files(tmp_path, lists):
    probes, distractors = feature_files(read_megaface(**lists), str(tmp_path), "_net.bin")
    assert (len(probes), len(distractors)) == (3, 25)
    assert distractors.name(2) == "534/53415754@N00/2_1.jpg_net.bin"
    with pytest.raises(InputError, match=rf"^{tmp_path}/facescrub/{PROBES[0]}_net.bin: of 3 such"):
        assert probes.dim


def test_images(tmp_path, lists):
    noises = _write(tmp_path, facescrub_noises=["Adam_Sandler_540.png"], megaface_noises=[DISTRACTORS[3]])
    megaface = read_megaface(**lists, **noises)
    # Those of noisy ones are not there, and not needed.
    for folder, keys in (("fs", [PROBES[0], PROBES[2]]), ("mf", DISTRACTORS[:3] + DISTRACTORS[4:])):
        for key in keys:
            path = tmp_path / folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(key.encode())
    folders = str(tmp_path / "fs"), str(tmp_path / "mf")
    probes, distractors = megaface_images(megaface, *folders)
    assert (probes.name, distractors.name) == ("megaface_probes", "megaface_distractors")
    assert list(probes.images) == [PROBES[0].encode(), PROBES[2].encode()]
    assert (probes.keys, probes.positions.tolist()) == ([PROBES[0], PROBES[2]], [0, 2])
    assert distractors.positions.tolist() == [*range(3), *range(4, 25)]
    assert [image.decode() for image in distractors.images] == distractors.keys
    (tmp_path / "fs" / PROBES[0]).unlink()
    with pytest.raises(ProblemsError, match=r"^megaface: 1 missing image"):
        megaface_images(megaface, *folders)
    probes, _ = megaface_images(megaface, *folders, missing="count")
    assert probes.positions.tolist() == [2]
    (tmp_path / "mf" / DISTRACTORS[24]).unlink()
    with pytest.raises(ProblemsError, match=r"^megaface: 1 missing image .*24_1.jpg"):
        megaface_images(megaface, *folders, missing="count")
