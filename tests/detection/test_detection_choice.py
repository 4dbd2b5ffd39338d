import dataclasses

import numpy as np
import pytest

from ddl_tf.detection import PhotoFace
from ddl_tf.detection.choice import agreed_faces, choose_face
from ddl_tf.images.template import ARCFACE_TEMPLATE

FACE = PhotoFace(np.array([0, 0, 50, 60]), ARCFACE_TEMPLATE, 1.0, np.zeros([112, 112, 3], np.uint8), "", 0.2)


def face(side, central, refused=""):
    return dataclasses.replace(FACE, box=np.array([5, 5, 5 + side, 5 + side + 9]), central=central, refused=refused)


def test_the_largest_and_the_most_central_usable_face():
    faces = [face(40, 0.3), face(90, 0.4), face(200, 0.0, "a poor fit"), face(60, 0.1)]
    assert (choose_face(faces, "largest"), choose_face(faces, "central")) == (1, 3)
    assert choose_face(faces[2:3], "largest") is choose_face([], "central") is None


def naive_choice(embeddings, photo):
    """By loops over faces and photos."""
    chosen = []
    for own in sorted(set(photo)):
        best = None
        for row in np.flatnonzero(photo == own):
            agreement = [
                max(embeddings[row] @ embeddings[other] for other in np.flatnonzero(photo == number))
                for number in set(photo) - {own}
            ]
            if best is None or np.mean(agreement) > best[0]:
                best = np.mean(agreement), row
        chosen.append(best[1])
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_the_agreed_faces_are_those_of_a_naive_search(seed):
    rng = np.random.default_rng(seed)
    photo = np.sort(rng.integers(0, 6, 20))
    embeddings = rng.normal(size=(20, 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert agreed_faces(embeddings, photo).tolist() == naive_choice(embeddings, photo)


def test_the_person_is_found_among_strangers():
    """Of ten photos with one to four faces the person's are found, wherever they stand."""
    rng = np.random.default_rng(1)
    person, rows, photo, truth = rng.normal(size=64), [], [], []
    for number in range(10):
        count = rng.integers(1, 5)
        place = rng.integers(count)
        truth.append(len(rows) + place)
        for face_number in range(count):
            rows.append(person + 0.6 * rng.normal(size=64) if face_number == place else rng.normal(size=64))
            photo.append(number)
    embeddings = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    assert agreed_faces(embeddings, np.array(photo)).tolist() == truth
