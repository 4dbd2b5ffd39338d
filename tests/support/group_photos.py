"""Photos with drawn faces at places that a detector knows: exact, and without MTCNN."""

import numpy as np
from PIL import Image

from ddl_tf.detection import FoundFaces
from ddl_tf.images.template import ARCFACE_TEMPLATE
from ddl_tf.synthetic.shots import render

SIDE = 112


def face_of(identity, image=0):
    """The aligned face that `GroupPhotos` puts into photos."""
    return render(identity, image, size=SIDE)[0]


class GroupPhotos:
    """Writes photos, each of another size, and finds the faces in them; those of `scores` less surely."""

    name = "group photos"

    def __init__(self, folder):
        self.folder, self._places = folder, {}

    def write(self, name, *places, scores=(), **options):
        """Write a photo of faces at (identity, image, left, top), and return its path."""
        size = 400 + len(self._places), 300
        photo = Image.new("RGB", size, "slategrey")
        for identity, image, left, top in places:
            photo.paste(Image.fromarray(face_of(identity, image)), (left, top))
        corners = np.array([place[2:] for place in places], float).reshape(-1, 2)
        surely = [*scores, *[0.99] * (len(places) - len(scores))]
        boxes = np.column_stack([corners + 20, corners + SIDE - 10])
        self._places[size] = FoundFaces(boxes, corners[:, None] + ARCFACE_TEMPLATE, np.array(surely))
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photo.save(path, **options)
        return str(path)

    def find(self, image):
        return self._places[image.shape[1::-1]]
