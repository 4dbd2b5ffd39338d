"""Malformed inputs through each signature: no crash, bounded memory, and the good rows are answered."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from false_sizes import chunk, jpeg, png
from PIL import Image

BATCH = 400
# Of the bombs each takes more than 1 GB when it is decoded.
MAX_GROWTH = 0.7e9


def _encoded(form, **options):
    pixels = np.random.RandomState(0).randint(0, 256, [6, 6, 3]).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((40, 40)).save(out, form, **options)
    return out.getvalue()


BASES = [_encoded("JPEG"), _encoded("JPEG", progressive=True), _encoded("PNG")]
GOOD = BASES[0]


def _bombs():
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(5_000_000)))
    sides = (30_000, 65_535)
    whole = io.BytesIO()
    # It can be decoded, to 1.2 GB; TensorFlow itself refuses PNGs of more than 2^29 pixels.
    Image.new("1", (20_000, 20_000)).save(whole, "PNG")
    jpegs = [jpeg(side, side, base) for side in sides for base in BASES[:2]]
    pngs = [png(30_000, 30_000), png(2**31 - 1, 1), png(2**31 - 1, 2**31 - 1), png(9000, 9000, text)]
    return [whole.getvalue(), *pngs, *jpegs]


def _malformed(random):
    """Endlessly: kinds in turn, and whether it can still be an image."""
    bombs = _bombs()
    while True:
        base = BASES[random.randint(len(BASES))]
        yield base[: random.randint(1, len(base) - 20)], False
        yield random.bytes(random.randint(0, 400)), False
        yield base[:3] + random.bytes(random.randint(0, 400)), False
        yield bytes(random.randint(0, 400)), False
        yield bombs[random.randint(len(bombs))], False
        yield b"", False
        flipped = bytearray(base)
        for place in random.randint(0, len(base), size=random.randint(1, 12)):
            flipped[place] = random.randint(256)
        yield bytes(flipped), True
        cut = random.randint(len(base))
        yield base[:cut] + random.bytes(8) + base[cut:], True


@pytest.fixture(scope="module")
def batch():
    """Malformed inputs, and whether each may be valid, with a good one in the middle."""
    source = _malformed(np.random.RandomState(0))
    rows = [next(source) for _ in range(BATCH)]
    return [*rows[: BATCH // 2], (GOOD, True), *rows[BATCH // 2 :]]


def _peak_bytes():
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


@pytest.fixture(scope="module", autouse=True)
def bounded_memory(served, batch):
    # What the first request sets up is there before.
    served.signatures["serving_bytes"](image_bytes=tf.constant([GOOD] * BATCH))
    # The peak is this test's from here on: that of the tests before it may be far above what is in memory now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_bytes()
    yield
    assert _peak_bytes() - before < MAX_GROWTH


def test_malformed_images(served, batch):
    rows, middle = tf.constant([row for row, _ in batch]), BATCH // 2
    good = served.signatures["serving_bytes"](image_bytes=tf.constant([GOOD]))["embedding"].numpy()
    gallery = np.random.RandomState(0).normal(size=[50, 16]).astype(np.float32)
    gallery[7] = good[0]
    for name, inputs in (
        ("serving_bytes", {"image_bytes": rows}),
        ("verify", {"first": rows, "second": tf.constant([GOOD] * len(batch))}),
        ("search", {"image_bytes": rows, "gallery": tf.constant(gallery), "k": tf.constant(2)}),
    ):
        answer = {key: value.numpy() for key, value in served.signatures[name](**inputs).items()}
        valid = answer["valid"]
        assert valid.shape == (len(batch),)
        assert valid[middle]
        wrong = np.flatnonzero(valid & ~np.array([may_be for _, may_be in batch]))
        assert wrong.size == 0, [batch[row][0][:60] for row in wrong[:3]]
        if name == "serving_bytes":
            np.testing.assert_allclose(answer["embedding"][middle], good[0], atol=1e-5)
            np.testing.assert_allclose(np.linalg.norm(answer["embedding"], axis=1), valid, atol=1e-5)
        elif name == "verify":
            assert abs(float(answer["similarity"][middle]) - 1) < 1e-5
            assert not np.any(answer["same"] & ~valid)
        else:
            assert answer["index"][middle, 0] == 7
            np.testing.assert_array_equal(answer["index"][:, 0] >= 0, valid)


def test_wrong_values_are_named(served):
    """Rows of the gallery that are not finite, k out of range, sides of different lengths."""
    probe, search, refused = tf.constant([GOOD]), served.signatures["search"], tf.errors.InvalidArgumentError
    for row, value in ((0, np.nan), (49, np.inf), (7, -np.inf)):
        gallery = np.random.RandomState(0).normal(size=[50, 16]).astype(np.float32)
        gallery[row, 3] = value
        with pytest.raises(refused, match=rf"not finite in row\] \[{row}\]"):
            search(image_bytes=probe, gallery=tf.constant(gallery), k=tf.constant(1))
    for k in (0, -1, 51, 2**31 - 1):
        with pytest.raises(refused, match=rf"k is\] \[{k}\].*rows of the gallery:\] \[50\]"):
            search(image_bytes=probe, gallery=tf.zeros([50, 16]), k=tf.constant(k))
    with pytest.raises(refused, match=r"first and second differ in rows:\] \[2\] \[1\]"):
        served.signatures["verify"](first=tf.constant([GOOD, GOOD]), second=probe)


def test_images_of_wrong_types_and_shapes(served):
    signature = served.signatures["serving_default"]
    shapes = ([1, 9, 5, 1], [1, 9, 5, 4], [9, 5, 3], [], [2, 0, 5, 3], [2, 5, 0, 3])
    for image in (np.zeros([1, 9, 5, 3], np.float32), *(np.zeros(shape, np.uint8) for shape in shapes)):
        with pytest.raises((TypeError, ValueError, tf.errors.InvalidArgumentError)):
            signature(image=tf.constant(image))
    assert signature(image=tf.zeros([2, 9, 5, 3], tf.uint8))["embedding"].shape == (2, 16)
