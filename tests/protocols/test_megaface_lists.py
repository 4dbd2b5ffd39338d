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
    people, others = ["one", "one", "two"], json.dumps({"path": DISTRACTORS}, indent=4)
    content = _write(tmp_path, probes=json.dumps({"id": people, "path": PROBES}), others=others)
    megaface = read_megaface(*content.values(), distractors=10)
    assert (list(megaface.probes), list(megaface.distractors)) == (PROBES, DISTRACTORS[:10])
    assert megaface.people.tolist() == people
    probes, distractors = feature_files(megaface, str(tmp_path), "_net.bin")
    assert (len(distractors), distractors.name(2)) == (10, "534/53415754@N00/2_1.jpg_net.bin")
    with pytest.raises(InputError, match=rf"^{tmp_path}/facescrub/{PROBES[0]}_net.bin: of 3 such"):
        assert probes.dim


def test_noises(tmp_path, lists):
    of_probes = ["#a comment: Adam_Sandler_538.png", "Adam_Sandler_540.png", "", "Zoe_7.png"]
    others = ["# a comment", f"12\t{DISTRACTORS[3]}", DISTRACTORS[20], "1/2@N00/3_0.jpg", "3_1.jpg"]
    noises = _write(tmp_path, facescrub_noises=of_probes, megaface_noises=others)
    megaface = read_megaface(**lists, **noises)
    assert megaface.clean_probes().tolist() == [0, 2]
    assert megaface.clean_distractors().tolist() == [*range(3), *range(4, 20), *range(21, 25)]
    # Sizes count noisy ones too, as the devkit does.
    assert megaface.sizes() == {10: 9, 25: 23}
    assert list(megaface.counts().values()) == [3, 1, 25, 2]
    # Names without a kind of image, or of another: one name marks one image, not all whose names have no dot, or one
    # dot in the same place.
    probes = ["Jr._Smith/Jr._Smith_1", "Jr._Smith/Jr._Smith_2", "Ben/Ben_1", "Ben/Ben_2.JPG", "Ben/Ben_3"]
    made = _write(
        tmp_path,
        facescrub_list=[*probes, "Adam Sandler/Adam Sandler_540.jpg", "Adam Sandler/Adam Sandler_54.jpg"],
        megaface_list=["a.b/c/1_0", "a.b/c/1_1", "a.b/c/2"],
        facescrub_noises=["Jr. Smith_2", "Zoe", "Ben_2.png", "Adam_Sandler_540.png"],
        megaface_noises=["a.b/c/1_1"],
    )
    megaface = read_megaface(**made)
    noisy = megaface.noisy_probes, megaface.noisy_distractors
    assert [np.flatnonzero(part).tolist() for part in noisy] == [[1, 3, 5], [1]]


def test_no_list(tmp_path, lists):
    path = tmp_path / "facescrub_list"
    for number in (0, 26):
        with pytest.raises(InputError, match=rf"^{number} distractors, where .*megaface_list lists 25"):
            read_megaface(**lists, distractors=number)
    path.write_text("\n".join([*PROBES, "alone.png", PROBES[0]]))
    with pytest.raises(ProblemsError, match=r"^megaface: 1 bad path, 1 duplicate image \(") as raised:
        read_megaface(**lists)
    assert [problem.source for problem in raised.value.problems] == [f"{path}, image 4", f"{path}, {PROBES[0]}"]
    for content, message in (
        (b"", "there are no images in it"),
        (b'{"path": ["a/b.png"', "not a whole JSON file"),
        *((content, "not {") for content in (b'{"id": ["a"]}', b'{"path": ["a", 3]}', b'{"path": ["a"], "id": 4}')),
        (b'{"path": ["a/b.png", "a/c.png"], "id": ["a"]}', "1 ids for 2 paths"),
        (b"a/\xe9.png", "is not UTF-8; save the list as UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"^{path}(, line 1)?: .*{message}"):
            read_megaface(**lists)


def test_images(tmp_path, lists):
    noises = _write(tmp_path, facescrub_noises=["Adam_Sandler_540.png"], megaface_noises=[DISTRACTORS[3]])
    megaface = read_megaface(**lists, **noises)
    # Those of noisy ones are not there, and not needed.
    clean = [PROBES[0], PROBES[2]], DISTRACTORS[:3] + DISTRACTORS[4:]
    for folder, keys in zip(("fs", "mf"), clean):
        for path in (tmp_path / folder / key for key in keys):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(path.name.encode())
    folders = str(tmp_path / "fs"), str(tmp_path / "mf")
    parts = megaface_images(megaface, *folders)
    places = [0, 2], [*range(3), *range(4, 25)]
    for name, part, keys, positions in zip(("probes", "distractors"), parts, clean, places):
        assert (part.name, part.keys, part.positions.tolist()) == (f"megaface_{name}", keys, positions)
        assert [image.decode() for image in part.images] == [key.split("/")[-1] for key in keys]
    (tmp_path / "fs" / PROBES[0]).unlink()
    with pytest.raises(ProblemsError, match=r"^megaface: 1 missing image"):
        megaface_images(megaface, *folders)
    assert megaface_images(megaface, *folders, missing="count")[0].positions.tolist() == [2]
    (tmp_path / "mf" / DISTRACTORS[24]).unlink()
    with pytest.raises(ProblemsError, match=r"^megaface: 1 missing image .*24_1.jpg"):
        megaface_images(megaface, *folders, missing="count")
