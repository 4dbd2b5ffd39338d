import numpy as np
import pytest
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.images.alignment import align_face
from ddl_tf.images.template import ARCFACE_TEMPLATE, similarity_transform

# Landmarks (the first are InsightFace's of image 1.jpg of IJB-B), and the matrices of scikit-image 0.26,
# SimilarityTransform().estimate(landmarks, template).
GOLDEN = [
    (
        [[46.06, 62.026], [87.785, 60.323], [68.851, 77.656], [52.162, 99.875], [86.45, 98.648]],
        [[0.9533717545, -0.0442435687, -5.526061167], [0.0442435687, 0.9533717545, -7.1084245091]],
    ),
    (
        [[120.5, 80.25], [151.0, 110.75], [118.0, 125.5], [93.25, 130.0], [121.75, 155.5]],
        [[0.6046551735, 0.4380360369, -69.8161893208], [-0.4380360369, 0.6046551735, 52.0588539634]],
    ),
]


def test_equals_scikit_image():
    for landmarks, matrix in GOLDEN:
        np.testing.assert_allclose(similarity_transform(np.array(landmarks), ARCFACE_TEMPLATE), matrix, atol=1e-9)
    for landmarks in (np.ones([5, 2]), np.full([5, 2], np.nan)):
        with pytest.raises(InputError, match="must be finite and not all one point"):
            align_face(np.zeros([9, 9, 3], np.uint8), landmarks)


def test_never_mirrors_and_is_best():
    mirrored = ARCFACE_TEMPLATE * [-1, 1] + np.random.RandomState(0).normal(size=[5, 2])
    fitted = similarity_transform(mirrored, ARCFACE_TEMPLATE)
    assert np.linalg.det(fitted[:, :2]) > 0
    # Least squares among a x - b y + c, b x + a y + d.
    x, y = mirrored.T
    ones, zeros = np.ones(5), np.zeros(5)
    system = np.r_[np.c_[x, -y, ones, zeros], np.c_[y, x, zeros, ones]]
    (a, b, c, d), *_ = np.linalg.lstsq(system, ARCFACE_TEMPLATE.T.ravel(), rcond=None)
    np.testing.assert_allclose(fitted, [[a, -b, c], [b, a, d]], atol=1e-9)


@pytest.mark.parametrize("size", [112, 48])
def test_equals_naive_bilinear(size):
    """A pixel at a time; black outside."""
    random = np.random.RandomState(1)
    image = random.randint(0, 256, [100, 90, 3]).astype(np.uint8)
    landmarks = ARCFACE_TEMPLATE @ [[0.76, 0.24], [-0.24, 0.76]] + [20, -6] + random.normal(size=[5, 2])
    matrix, naive = similarity_transform(landmarks, ARCFACE_TEMPLATE * size / 112), np.zeros([size, size, 3])
    for row, column in np.ndindex(size, size):
        x, y = np.linalg.solve(matrix[:, :2], [column, row] - matrix[:, 2])
        for dx, dy in np.ndindex(2, 2):
            across, down = int(np.floor(x)) + dx, int(np.floor(y)) + dy
            if 0 <= across < image.shape[1] and 0 <= down < image.shape[0]:
                naive[row, column] += (1 - abs(x - across)) * (1 - abs(y - down)) * image[down, across]
    aligned = align_face(image, landmarks, size)
    assert aligned.dtype == np.uint8
    # Rounded to whole grey levels, of positions in float32.
    assert np.abs(aligned - naive).max() < 0.51
    # Of an image of any mode.
    grey = Image.fromarray(image[..., 0])
    np.testing.assert_array_equal(align_face(grey, landmarks), align_face(grey.convert("RGB"), landmarks))
