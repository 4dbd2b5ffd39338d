"""Both names of the miniature, read; and everything that can be wrong with the files."""

import functools
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusals import problems_of

from ddl_tf.common.errors import InputError
from ddl_tf.miniatures import ijb as miniature_ijb
from ddl_tf.miniatures.ijb import SUBJECTS, write_ijb
from ddl_tf.protocols.ijb import read_ijb
from ddl_tf.synthetic.shots import render


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """All images show one face, for drawing takes long."""
    folder = tmp_path_factory.mktemp("ijb") / "IJBC"
    drawn = functools.lru_cache(render)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(miniature_ijb, "render", lambda subject, image, *rest, **named: drawn(1, 0, *rest, **named))
        write_ijb(folder)
    return folder


@pytest.fixture
def root(written, tmp_path):
    return shutil.copytree(written, tmp_path / "IJBC")


def _edit(path, change):
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in change(lines)))


def _problems(root, **options):
    return [(kind, Path(source).name, reason) for kind, source, reason in problems_of(read_ijb, root, **options)]


def test_the_miniature(written):
    ijb = read_ijb(str(written))
    assert (ijb.name, ijb.missing_images) == ("ijbc", [])
    assert len(ijb.images) == len(ijb.keys) == len(ijb.templates) == len(ijb.scores) == 10 * SUBJECTS
    assert [(gallery.name, len(gallery.templates)) for gallery in ijb.galleries] == [("G1", 20), ("G2", 20)]
    assert (len(ijb.probes.templates), len(ijb.pairs.same)) == (2 * SUBJECTS, 2 * SUBJECTS**2)
    subject = {t: s for part in [*ijb.galleries, ijb.probes] for t, s in zip(part.templates, part.subjects)}
    truth = [subject[first] == subject[second] for first, second in zip(ijb.pairs.first, ijb.pairs.second)]
    np.testing.assert_array_equal(ijb.pairs.same, truth)
    # Stills and videos.
    assert set(np.unique(ijb.medias, return_counts=True)[1]) == {1, 3}
    assert ijb.templates.dtype == ijb.medias.dtype == ijb.pairs.first.dtype == np.int32
    aligned = np.asarray(Image.open(io.BytesIO(ijb.images[0])))
    crop = np.asarray(Image.open(written / "loose_crop" / "1.jpg").crop((14, 24, 126, 136)))
    drawn = [render(1, 0, hard=hard)[0] for hard in (False, True)]
    inside = np.s_[20:-20, 20:-20]
    assert min(np.abs(aligned[inside].astype(int) - face[inside]).mean() for face in drawn) < 4
    assert np.abs(crop[inside].astype(int) - drawn[0][inside]).mean() > 8


def test_one_protocol_alone(root, capsys):
    pairs = root / "meta/ijbc_template_pair_label.txt"
    (root / "meta/ijbc_1N_gallery_G2.csv").rename(root / "G2")
    assert ("missing file", "ijbc_1N_gallery_G2.csv") in [problem[:2] for problem in _problems(root)]
    (root / "G2").rename(root / "meta/ijbc_1N_gallery_G2.csv")
    pairs.rename(root / "pairs")
    assert read_ijb(str(root), check_images=False).pairs is None
    assert "ijbc_template_pair_label.txt is not there: no verification" in capsys.readouterr().err
    (root / "pairs").rename(pairs)
    for path in root.glob("meta/*.csv"):
        path.unlink()
    ijb = read_ijb(str(root), check_images=False)
    assert (ijb.probes, ijb.galleries) == (None, [])
    assert "no identification" in capsys.readouterr().err
    pairs.unlink()
    with pytest.raises(InputError, match="neither pairs nor galleries and probes of ijbc are there"):
        read_ijb(str(root), check_images=False)
    shutil.copy(root / "meta/ijbc_face_tid_mid.txt", root / "meta/ijbb_face_tid_mid.txt")
    with pytest.raises(InputError, match="holds files of ijbb and ijbc"):
        read_ijb(str(root))
    with pytest.raises(InputError, match=r"neither meta/ijbb_face_tid_mid\.txt nor meta/ijbc_face_tid_mid\.txt is"):
        read_ijb(str(root.parent))


def test_missing_images(root):
    whole = read_ijb(str(root))
    for image in ("3.jpg", "40.jpg"):
        (root / "loose_crop" / image).unlink()
    assert [problem[:2] for problem in _problems(root)] == [("missing image", "3.jpg"), ("missing image", "40.jpg")]
    with pytest.raises(FileNotFoundError):
        read_ijb(str(root), check_images=False).images[2]
    counted = read_ijb(str(root), missing="count")
    assert counted.missing_images == ["3.jpg", "40.jpg"]
    for name in ("keys", "templates", "medias", "scores"):
        np.testing.assert_array_equal(getattr(counted, name), np.delete(getattr(whole, name), [2, 39]))
    assert (len(counted.images), counted.images[2]) == (398, whole.images[3])


def _left_out(lines):
    """The gallery template of subject 2, and the first probe of subject 1, which has one image."""
    return [line for n, line in enumerate(lines) if not (5 <= n < 10 or n == 200)]


def _second(line):
    return lambda lines: [lines[0], line, *lines[2:]]


def _more(line=None):
    return lambda lines: [*lines, line or lines[0]]


FACES, POINTS, PAIRS = "face_tid_mid.txt", "name_5pts_score.txt", "template_pair_label.txt"
G2, PROBES = "1N_gallery_G2.csv", "1N_probe_mixed.csv"


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        (
            {FACES: _left_out, POINTS: _left_out},
            """template 2: template without images: used by the G1
            template 2: template without images: used by the pairs
            template 41: template without images: used by the pairs
            template 41: template without images: used by the probes""",
        ),
        ({POINTS: lambda lines: lines[:-1]}, "ijbc_name_5pts_score.txt: wrong count: 399 faces, but 400 in ijbc_face"),
        ({POINTS: _second("9.jpg" + " 1" * 11)}, "ijbc_name_5pts_score.txt, face 2: wrong image: 1 images are others"),
        (
            {FACES: _second("1.jpg 1"), POINTS: _second("1.jpg"), PAIRS: _second("1 2 same"), PROBES: _second("1,x")},
            """ijbc_1N_probe_mixed.csv, line 2: malformed line
            ijbc_face_tid_mid.txt, line 2: malformed line
            ijbc_name_5pts_score.txt, line 2: malformed line
            ijbc_template_pair_label.txt, line 2: malformed line""",
        ),
        (
            {FACES: _more(), POINTS: _more(), G2: _more("3,25,img/3.jpg"), PROBES: _more("50,9,img/3.jpg")},
            """1.jpg: duplicate face: it is listed more than once in template 1
            ijbc_1N_probe_mixed.csv, template 50: template of two subjects: it is listed with several
            subject 25: duplicate gallery subject: both template 3 of gallery G2 and template 25 of gallery G2""",
        ),
        (
            {PROBES: lambda lines: [line.replace(",7,", ",77,") for line in lines], PAIRS: _second("1 41 2")},
            """ijbc_template_pair_label.txt, pair 2: wrong label: 1 labels are neither 0 nor 1, the first is 2
            template 53: probe without mate: its subject 77 is in no gallery
            template 54: probe without mate: its subject 77 is in no gallery""",
        ),
    ],
)
def test_problems_of_the_lists(root, changes, problems):
    for name, change in changes.items():
        _edit(root / "meta" / f"ijbc_{name}", change)
    reported = sorted(f"{source}: {kind}: {reason}" for kind, source, reason in _problems(root))
    expected = [line.strip() for line in problems.splitlines()]
    assert [line[: len(start)] for line, start in zip(reported, expected)] == expected
    assert len(reported) == len(expected)


def test_the_other_name_and_what_may_be_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(miniature_ijb, "SUBJECTS", 4)
    write_ijb(tmp_path, seed=1, name="ijbb")
    ijb = read_ijb(str(tmp_path))
    assert ijb.name == "ijbb"
    assert [gallery.name for gallery in ijb.galleries] == ["S1", "S2"]
    with pytest.raises(InputError, match="'ijba': is no set of IJB; use one of ijbb, ijbc"):
        write_ijb(tmp_path, name="ijba")
    for name in (FACES, POINTS):
        _edit(tmp_path / "meta" / f"ijbb_{name}", lambda lines: [*lines[:5], *lines[10:]])
    assert len(read_ijb(str(tmp_path), missing="count").images) == len(ijb.images) - 5
    _edit(tmp_path / "meta/ijbb_1N_gallery_S1.csv", _more("1"))
    assert [problem[0] for problem in _problems(tmp_path, missing="count")] == ["malformed line"]


def test_bad_images_and_landmarks(root):
    def exchange(lines):
        for line in lines:
            name, x1, y1, x2, y2, x3, y3, x4, y4, x5, y5, score = line.split()
            yield " ".join([name, x2, y2, x1, y1, x3, y3, x5, y5, x4, y4, score])

    path = root / "loose_crop/1.jpg"
    path.write_bytes(b"\xff\xd8\xff nothing")
    ijb = read_ijb(str(root))
    with pytest.raises(InputError, match=r"1\.jpg: cannot be aligned"):
        ijb.images[0]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="a pipe, device or socket; give a regular file"):
        ijb.images[0]
    path.unlink()
    path.write_bytes((root / "loose_crop/2.jpg").read_bytes())
    prints = [read_ijb(str(root), check_images=False).images.fingerprint() for _ in range(2)]
    _edit(root / "meta" / "ijbc_name_5pts_score.txt", exchange)
    # Without images there is nothing to align.
    prints.append(read_ijb(str(root), check_images=False).images.fingerprint())
    path.write_bytes((root / "loose_crop/8.jpg").read_bytes())
    prints.append(read_ijb(str(root), check_images=False).images.fingerprint())
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    with pytest.raises(InputError, match=r"the landmarks of [0-9]+ of [0-9]+ faces .* are bad: .* the first: mirrored"):
        read_ijb(str(root))
