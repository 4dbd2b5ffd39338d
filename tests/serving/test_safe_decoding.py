"""Every kind of image that is served, against Pillow or a naive way, and bad ones among good ones."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from false_sizes import chunk, jpeg, png
from PIL import Image, ImageOps

from ddl_tf.images.decoding import decode_image, resize_images
from ddl_tf.images.pillow_images import upright_bytes
from ddl_tf.serving.safe_decoding import MAX_PIXELS, decode_rows

SIZE = (24, 20)


def encoded(image, form="PNG", **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def photo(height=40, width=60, seed=0):
    """A smooth picture, on which two JPEG decoders agree, with no symmetry."""
    random = np.random.RandomState(seed)
    small = Image.fromarray(random.randint(0, 256, [4, 6, 3]).astype(np.uint8))
    return small.resize((width, height), Image.BICUBIC)


@pytest.fixture(scope="module")
def decode():
    function = tf.function(lambda rows: decode_rows(rows, SIZE), input_signature=[tf.TensorSpec([None], tf.string)])

    def call(rows):
        images, valid = function(tf.constant(rows, tf.string, [len(rows)]))
        return images.numpy(), valid.numpy()

    return call


def _expected(pixels):
    return tf.image.resize(np.asarray(pixels), SIZE, antialias=True).numpy()


def test_is_what_evaluation_sees(decode):
    files = [encoded(photo(*size), form) for form in ("PNG", "JPEG") for size in (SIZE, (40, 60), (7, 300), (1, 1))]
    images, valid = decode(files)
    assert valid.all()
    for file, image in zip(files, images):
        np.testing.assert_array_equal(image, resize_images(decode_image(tf.constant(file)), SIZE))


def _kinds():
    """Of each kind: the file, its colours by Pillow or a naive way, and how far decoders may differ."""
    for name, image, form, options in (
        ("grey PNG", photo().convert("L"), "PNG", {}),
        ("black and white PNG", photo().convert("1"), "PNG", {}),
        ("palette PNG", photo().quantize(16), "PNG", {}),
        ("palette PNG with a transparent colour", photo().quantize(16), "PNG", {"transparency": 3}),
        ("grey JPEG", photo().convert("L"), "JPEG", {}),
        ("progressive JPEG", photo(), "JPEG", {"progressive": True}),
    ):
        file = encoded(image, form, **options)
        yield name, file, np.asarray(Image.open(io.BytesIO(file)).convert("RGB")), 1e-3
    random = np.random.RandomState(0)
    alpha = random.randint(0, 256, [30, 30, 4]).astype(np.uint8)
    yield "RGBA, alpha is dropped", encoded(Image.fromarray(alpha, "RGBA")), alpha[..., :3], 1e-3
    grey = np.repeat(alpha[..., :1], 3, axis=2)
    yield "LA, alpha is dropped", encoded(Image.fromarray(alpha[..., :2].copy(), "LA")), grey, 1e-3
    deep = random.randint(0, 2**16, [30, 30]).astype(np.uint16)
    high = np.repeat((deep >> 8).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    yield "16 bits are cut to 8", encoded(Image.fromarray(deep)), high, 1e-3
    file = encoded(photo().convert("CMYK"), "JPEG", quality=100, subsampling=0)
    ink = np.asarray(Image.open(io.BytesIO(file)), np.float32)
    yield "CMYK", file, (255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255, 1


def test_kinds(decode):
    names, files, pixels, distances = zip(*_kinds())
    images, valid = decode(list(files))
    assert valid.all()
    for name, image, colours, distance in zip(names, images, pixels, distances):
        np.testing.assert_allclose(image, _expected(colours), atol=distance, err_msg=name)


def _with_exif(orientation, little=False, before=b""):
    """A JPEG with a hand-made EXIF segment, in either byte order, after the segments `before`."""
    order = "<" if little else ">"
    entries = [(0x010F, 3, 1, 7), (0x0112, 3, 1, orientation), (0x0128, 3, 1, 2)]
    tiff = struct.pack(f"{order}2sHIH", b"II" if little else b"MM", 42, 8, len(entries))
    tiff += b"".join(struct.pack(f"{order}HHIHxx", *entry) for entry in entries) + bytes(4)
    segment = b"Exif\0\0" + tiff
    file = encoded(photo(), "JPEG", quality=95, subsampling=0)
    assert file[2:4] == b"\xff\xe0"
    return file[:2] + before + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + file[2:]


def test_orientation(decode):
    """In either byte order, behind other segments, written by Pillow, and damaged."""
    files = [_with_exif(orientation, little) for little in (False, True) for orientation in range(1, 9)]
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x010F], exif[0x0112] = "A maker", orientation
        # A profile and the resolution come before EXIF in a PNG.
        files += [encoded(photo(), "JPEG", exif=exif), encoded(photo(), "PNG", exif=exif, icc_profile=bytes(99))]
    comment, jfif = b"\xff\xfe" + struct.pack(">H", 12) + b"a comment.", encoded(photo(), "JPEG")[2:20]
    files += [_with_exif(6, before=jfif + comment)]
    images, valid = decode(files)
    assert valid.all()
    for file, image in zip(files, images):
        stored = Image.fromarray(decode_image(tf.constant(file)).numpy())
        stored.getexif()[0x0112] = Image.open(io.BytesIO(file)).getexif()[0x0112]
        np.testing.assert_allclose(image, _expected(ImageOps.exif_transpose(stored)), atol=1e-3)
        # Evaluation turns before it resizes, and the graph after: the last bits differ.
        evaluated = resize_images(decode_image(tf.constant(upright_bytes(file))), SIZE)
        np.testing.assert_allclose(image, evaluated, atol=1e-3)
    # The test must be able to tell them apart.
    assert min(np.abs(a - b).max() for n, a in enumerate(images[:8]) for b in images[:n]) > 20
    file = _with_exif(6)
    damaged = [file.replace(b"MM\0*", b"MM\0*"[::-1]), file.replace(b"\0\0\0\x08", b"\xff" * 4)]
    assert file not in damaged
    _, valid = decode([*damaged, _with_exif(0), _with_exif(9), _with_exif(60000)])
    assert valid.all()


GOOD = encoded(photo(), "JPEG")
BAD = {
    "nothing": b"",
    "text": b"not an image",
    "a JPEG's first bytes": GOOD[:3],
    "a JPEG cut in its header": GOOD[:100],
    "a JPEG cut in its pixels": GOOD[: len(GOOD) // 2],
    "a PNG's first bytes": encoded(photo())[:8],
    "a PNG cut in its header": encoded(photo())[:20],
    "a PNG cut in its pixels": encoded(photo())[:-30],
    "a PNG with a broken checksum": encoded(photo())[:29] + b"abcd" + encoded(photo())[33:],
    "zeros": bytes(1000),
    "GIF": encoded(photo(), "GIF"),
    "BMP": encoded(photo(), "BMP"),
    # Of the bombs some take more than 1 GB when they are decoded; TensorFlow itself refuses PNGs of 2^29 pixels.
    "a PNG bomb": png(30000, 30000),
    "a bomb of text": png(9000, 9000, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(5_000_000)))),
    "a progressive JPEG bomb": jpeg(65_535, 65_535, encoded(photo(), "JPEG", progressive=True)),
    "a JPEG bomb": jpeg(30000, 30000, GOOD),
    "a PNG whose area overflows": png(2**31 - 1, 2**31 - 1),
    "a PNG of negative size": png(2**32 - 1, 2**32 - 1),
    "a PNG without pixels": png(0, 5),
    "a JPEG without pixels": jpeg(5, 0, GOOD),
    # Both are whole, and only just too large.
    "a large PNG": encoded(Image.new("1", (MAX_PIXELS // 1000 + 1, 1000))),
    "a large JPEG": encoded(Image.new("L", (MAX_PIXELS // 1000 + 1, 1000)), "JPEG"),
}


def _peak_bytes():
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def test_bad_rows_do_not_fail_the_good_ones_nor_fill_the_memory(decode):
    bad_images = {**BAD, "a whole PNG bomb": encoded(Image.new("1", (20_000, 20_000)))}
    rows = [row for bad in bad_images.values() for row in (bad, GOOD)]
    # What the first request sets up is there before, and the peak of other tests is forgotten.
    decode([GOOD] * len(rows))
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_bytes()
    images, valid = decode(rows)
    assert _peak_bytes() - before < 0.7e9
    names = [name for bad in bad_images for name in (bad, "good")]
    assert [name for name, ok in zip(names, valid) if ok] == ["good"] * len(bad_images)
    expected, _ = decode([GOOD])
    np.testing.assert_array_equal(images[valid], np.repeat(expected, len(bad_images), axis=0))
    assert not images[~valid].any()
    for rows in ([b"", b"x"], []):
        images, valid = decode(rows)
        assert images.shape == (len(rows), *SIZE, 3)
        assert not images.any()
        assert valid.tolist() == [False] * len(rows)
    # An image of the largest size is good.
    images, valid = decode([encoded(Image.new("L", (MAX_PIXELS // 1000, 1000), 77))])
    assert valid.all()
    np.testing.assert_allclose(images[0], 77, atol=1e-3)


def test_random_bytes(decode):
    random, bases = np.random.RandomState(0), [GOOD, encoded(photo()), encoded(photo(), "JPEG", progressive=True)]
    broken, flipped = [], []
    for number in range(150):
        base = bases[number % 3]
        broken += [base[: random.randint(1, len(base) - 20)], random.bytes(random.randint(0, 400))]
        broken.append(base[:3] + random.bytes(random.randint(0, 400)))
        changed = bytearray(base)
        for place in random.randint(0, len(base), size=random.randint(1, 12)):
            changed[place] = random.randint(256)
        flipped.append(bytes(changed))
    images, valid = decode([*broken, *flipped, GOOD])
    assert not valid[: len(broken)].any()
    assert valid[-1]
    assert images[~valid].max(initial=0) == 0
    np.testing.assert_array_equal(images[-1], decode([GOOD])[0][0])
