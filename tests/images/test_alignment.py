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
    (
        [[30.0, 40.0], [33.0, 40.5], [45.0, 55.0], [31.0, 70.0], [34.0, 70.5]],
        [[1.2600393018, -0.0144624295, 13.2271262649], [0.0144624295, 1.2600393018, 1.846210483]],
    ),
]


def _apply(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize(("landmarks", "matrix"), GOLDEN)
def test_equals_scikit_image(landmarks, matrix):
    np.testing.assert_allclose(similarity_transform(np.array(landmarks), ARCFACE_TEMPLATE), matrix, atol=1e-9)


def test_never_mirrors_and_is_best():
    random = np.random.RandomState(0)
    mirrored = ARCFACE_TEMPLATE * [-1, 1] + random.normal(size=[5, 2])
    fitted = similarity_transform(mirrored, ARCFACE_TEMPLATE)
    assert np.linalg.det(fitted[:, :2]) > 0

    def error(matrix):
        return np.sum((_apply(matrix, mirrored) - ARCFACE_TEMPLATE) ** 2)

    # Least squares among a x - b y + c, b x + a y + d.
    x, y = mirrored.T
    ones, zeros = np.ones(5), np.zeros(5)
    system = np.r_[np.c_[x, -y, ones, zeros], np.c_[y, x, zeros, ones]]
    (a, b, c, d), *_ = np.linalg.lstsq(system, ARCFACE_TEMPLATE.T.ravel(), rcond=None)
    assert error(fitted) == pytest.approx(error(np.array([[a, -b, c], [b, a, d]])))


def test_landmarks_that_are_one_point():
    with pytest.raises(InputError, match="must be finite and not all one point"):
        similarity_transform(np.ones([5, 2]), ARCFACE_TEMPLATE)
    with pytest.raises(InputError, match="must be finite"):
        align_face(np.zeros([9, 9, 3], np.uint8), np.full([5, 2], np.nan))


def test_whole_steps_move_pixels_and_leave_black():
    image = np.random.RandomState(0).randint(1, 256, [120, 130, 3]).astype(np.uint8)
    moved = align_face(image, ARCFACE_TEMPLATE + [20, 10])
    np.testing.assert_array_equal(moved[:110, :110], image[10:, 20:])
    assert not moved[110:].any()
    assert not moved[:, 110:].any()


def _naive(image, landmarks, size):
    """Bilinear, a pixel at a time; black outside."""
    matrix = similarity_transform(landmarks, ARCFACE_TEMPLATE * size / 112)
    inverse = np.linalg.inv(matrix[:, :2])
    aligned = np.zeros([size, size, 3])
    for row in range(size):
        for column in range(size):
            x, y = inverse @ (np.array([column, row]) - matrix[:, 2])
            for dy in (0, 1):
                for dx in (0, 1):
                    across, down = int(np.floor(x)) + dx, int(np.floor(y)) + dy
                    if 0 <= across < image.shape[1] and 0 <= down < image.shape[0]:
                        aligned[row, column] += (1 - abs(x - across)) * (1 - abs(y - down)) * image[down, across]
    return aligned


@pytest.mark.parametrize("size", [112, 48])
def test_equals_naive_bilinear(size):
    random = np.random.RandomState(1)
    image = random.randint(0, 256, [100, 90, 3]).astype(np.uint8)
    landmarks = _apply(np.array([[0.76, -0.24, 20], [0.24, 0.76, -6]]), ARCFACE_TEMPLATE) + random.normal(size=[5, 2])
    aligned = align_face(image, landmarks, size)
    assert aligned.dtype == np.uint8
    # Rounded to whole grey levels, of positions in float32.
    assert np.abs(aligned - _naive(image, landmarks, size)).max() < 0.51


def test_pillow_images_of_any_mode():
    grey = Image.fromarray(np.random.RandomState(0).randint(0, 256, [112, 112]).astype(np.uint8))
    aligned = align_face(grey, ARCFACE_TEMPLATE)
    np.testing.assert_array_equal(aligned, np.asarray(grey)[..., np.newaxis].repeat(3, axis=2))
