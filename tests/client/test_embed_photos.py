"""Photos sent by the client: their faces are found here, and embedded there."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from group_photos import GroupPhotos, face_of
from PIL import Image
from served_faces import DIM, exported_faces
from stand_in_server import StandIn

from ddl_tf.client import Client, ServingError
from ddl_tf.common.errors import InputError
from ddl_tf.detection import FaceRules
from ddl_tf.synthetic.scenes import render_scene


@pytest.fixture(scope="module")
def server():
    with StandIn({1: exported_faces() / "1"}) as running:
        yield running


@pytest.fixture
def group(tmp_path):
    return GroupPhotos(tmp_path)


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_faces_of_photos_are_those_of_aligned_images(server, group, tmp_path, kind):
    both = group.write("both.png", (1, 0, 250, 20), (2, 0, 10, 150))
    one, empty = Path(group.write("one.png", (3, 0, 100, 100))), group.write("empty.png")
    server.requests.clear()
    with Client(server.urls[kind], batch=2, timeout=20) as client:
        # Contents and paths; a photo that cannot be used takes nothing from the others.
        photos = [both, one, empty, one.read_bytes(), b"no photo", tmp_path / "none.jpg", "\0"]
        found = client.embed_photos(photos, group)
        assert server.requests == [("serving_bytes", 2, 1)] * 2
        expected = client.embed(np.stack([face_of(2), face_of(1), face_of(3), face_of(3)]))
    assert [len(photo.faces) for photo in found] == [2, 1, 0, 1, 0, 0, 0]
    assert [face.box[0] for face in found[0].faces] == [30, 270]
    assert {photo.embedding.shape[1] for photo in found} == {DIM}
    assert [len(photo.embedding) for photo in found] == [len(photo.faces) for photo in found]
    np.testing.assert_allclose(np.concatenate([photo.embedding for photo in found]), expected, atol=1e-5)
    problems = [photo.problem for photo in found]
    assert problems[:4] == ["", "", "no face: no face was found in it", ""]
    assert problems[4] == "corrupt image: it is no image"
    assert problems[5] == "missing file: No such file or directory"
    assert problems[6].startswith("missing file: embedded null")


def test_rules_and_the_side_of_a_face(server, group):
    path = group.write("a.png", (1, 0, 0, 0), (2, 0, 200, 0), scores=[0.5])
    with Client(server.urls["grpc"], timeout=20) as client:
        ((faces, embedding, problem),) = client.embed_photos([path], group, size=150)
        assert (faces[0].crop.shape, embedding.shape, problem) == ((150, 150, 3), (1, DIM), "")
        assert len(client.embed_photos([path], group, FaceRules(least_score=0.4))[0].faces) == 2
        ((faces, embedding, problem),) = client.embed_photos([path], group, FaceRules(least_side=200))
        assert (faces, embedding.shape) == ([], (0, DIM))
        assert problem == "no usable face: the surest is too small: 82 px, where 200 are needed"
        assert client.embed_photos([], group) == []
        for photos, options, message in (
            (path, {}, "put it into a list"),
            ([path, 5], {}, "photos, row 1: int, not bytes or a path"),
            ([path], {"size": 0}, "size 0: the side of an aligned face"),
        ):
            with pytest.raises(InputError, match=message):
                client.embed_photos(photos, group, **options)


def test_a_server_that_does_not_decode_the_faces(server, group, monkeypatch):
    with Client(server.urls["grpc"], timeout=20) as client:
        answer = client.embed_bytes([b"no image"])
        monkeypatch.setattr(client, "embed_bytes", lambda images: answer)
        with pytest.raises(ServingError, match="BAD_ANSWER: 1 of 1 aligned faces were not decoded"):
            client.embed_photos([group.write("a.png", (1, 0, 0, 0))], group)


def test_mtcnn_finds_faces_where_no_detector_is_given(server, tmp_path):
    pytest.importorskip("mtcnn", reason="the extra [photos] is not installed")
    scene = render_scene([2, 3], 0, size=(640, 480), sides=(110, 130), yaws=(-5, 5))
    Image.fromarray(scene.image).save(tmp_path / "group.png")
    with Client(server.urls["grpc"], timeout=20) as client:
        (photo,) = client.embed_photos([tmp_path / "group.png"])
    truth = scene.faces.sort_values("box_left")[["box_left", "box_top", "box_right", "box_bottom"]]
    assert np.abs([face.box for face in photo.faces] - truth.to_numpy()).max() < 30
    np.testing.assert_allclose(np.linalg.norm(photo.embedding, axis=1), 1, atol=1e-5)


def test_a_detector_of_the_user_needs_no_tensorflow(server, group):
    path = group.write("a.png", (1, 0, 0, 0))
    lines = [
        "import sys, numpy as np",
        "from ddl_tf.client import Client",
        "from ddl_tf.detection import FoundFaces",
        "from ddl_tf.images.template import ARCFACE_TEMPLATE",
        "class Corner:",
        "    name = 'corner'",
        "    def find(self, image):",
        "        return FoundFaces(np.array([[0, 0, 112, 112.0]]), ARCFACE_TEMPLATE[None], np.ones(1))",
        f"photo, = Client({server.urls['rest']!r}, timeout=20).embed_photos([{path!r}], Corner())",
        "assert photo.embedding.shape[0] == 1",
        "print({'tensorflow', 'absl', 'pandas', 'scipy'} & set(sys.modules))",
    ]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], check=True, capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "set()"
