import io

import numpy as np
import pytest
from PIL import Image

from ddl_tf.images.pillow_images import load_image
from ddl_tf.miniatures import photos


@pytest.fixture
def two_people(monkeypatch):
    monkeypatch.setattr(photos, "PEOPLE", photos.PEOPLE[:2])
    monkeypatch.setattr(photos, "GROUPS", 1)
    # A group of two people that are known and two that are not.
    monkeypatch.setattr(photos, "_KNOWN", 2)
    # The sizes of faces stay in proportion: a sixteenth of the pixels.
    monkeypatch.setattr(photos, "_PIXELS", 0.25)


def test_a_folder_for_each_person_and_groups(two_people, tmp_path):
    photos.write_photos(tmp_path, seed=3)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg"))
    people = [f"people/Person_{person:03d}/photo_{photo}.jpg" for person in range(2) for photo in range(1, 7)]
    assert names == ["group/group_1.jpg", *people]
    first = tmp_path / "people/Person_000"
    # Turned by the camera, upright once it is read.
    stored, upright = Image.open(first / "photo_2.jpg"), load_image((first / "photo_2.jpg").read_bytes())
    assert stored.size == (180, 240)
    assert upright.size == (240, 180)
    assert Image.open(first / "photo_3.jpg").mode == "L"
    assert Image.open(first / "photo_1.jpg").mode == "RGB"


def test_the_turned_photo_is_upright_as_it_was_drawn(two_people, monkeypatch, tmp_path):
    turned = load_image(photos._photo(0, 1, 0))
    monkeypatch.setattr(photos, "_TURNED", -1)
    straight = Image.open(io.BytesIO(photos._photo(0, 1, 0)))
    assert np.abs(np.asarray(turned, int) - np.asarray(straight, int)).mean() < 3


def test_same_seed_same_files(two_people, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        photos.write_photos(tmp_path / name, seed)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.jpg")]
    a, b, c = ([(tmp_path / name / file).read_bytes() for file in files] for name in "abc")
    assert a == b
    assert not set(a) & set(c)
