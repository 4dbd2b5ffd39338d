"""Encoded images through a runtime, beside the same runtime as a layer of Keras."""

import io

import numpy as np
import pytest
from PIL import Image

from ddl_tf.common.progress import Progress
from ddl_tf.evaluation.embed import predict_embeddings
from ddl_tf.evaluation.model import as_embedding_model
from ddl_tf.runtimes.embedders import Embedder
from ddl_tf.runtimes.encoded import embed_encoded
from ddl_tf.runtimes.views import UndecodableError


class Projection(Embedder):
    """A fixed random projection of the pixels."""

    image_size, dim, batch_size, runtime = (24, 20), 5, 3, "NumPy"

    def __init__(self):
        super().__init__(None, None, "rgb", (127.5, 127.5, "for the test"))
        self.matrix = np.random.default_rng(0).normal(size=[24 * 20 * 3, 5]).astype(np.float32) / 38

    def _run(self, images):
        return images.reshape(len(images), -1) @ self.matrix


def encoded(side, form, **options):
    pixels = np.random.default_rng(side).integers(0, 256, [side // 4, side // 3, 3]).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((side, side + 5), Image.Resampling.BICUBIC).save(file, form, **options)
    return file.getvalue()


def images():
    turned = Image.Exif()
    turned[0x0112] = 6
    return [
        *(encoded(side, form) for form in ("JPEG", "PNG") for side in (18, 20, 64, 201)),
        encoded(40, "JPEG", exif=turned),
    ]


@pytest.mark.parametrize("flip", [False, True])
def test_embeddings_are_those_of_the_layer(flip):
    embedder, files = Projection(), images()
    expected = predict_embeddings(as_embedding_model(embedder, "projection"), files, flip, 4)
    with Progress("images", len(files)) as progress:
        views = embed_encoded(embedder, files, flip, 4, progress)
    assert views.shape == (9, 1 + flip, 5)
    np.testing.assert_allclose(views, expected, atol=2e-4)
    assert np.abs(views).min(axis=(1, 2)).max() > 0.01
    assert embed_encoded(embedder, [], flip, 4).shape == (0, 1 + flip, 5)


def test_the_first_image_that_cannot_be_decoded():
    files = images()
    files[3], files[5] = files[3][:-200], b""
    with pytest.raises(UndecodableError, match=rf"image 3 \({len(files[3])} bytes\).*truncated") as error:
        embed_encoded(Projection(), files, False, 2)
    assert error.value.position == 3
