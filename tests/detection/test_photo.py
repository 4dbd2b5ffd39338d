import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from dotted_photos import dotted_picture, encoded, oriented
from PIL import Image

from ddl_tf.detection import photo
from ddl_tf.detection.photo import Photo, decode_photo, shrink_photo

PICTURE, _ = dotted_picture((96, 64), (40, 30), 50)
GREY = PICTURE.convert("L")


def difference(image, expected):
    return np.abs(np.asarray(image, int) - np.asarray(expected, int)).mean()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_upright(orientation, kind):
    decoded = decode_photo(oriented(PICTURE, orientation, kind), 10**6)
    assert decoded.image.size == PICTURE.size
    assert decoded.scale == 1
    assert difference(decoded.image, PICTURE) < 1.5


def test_of_a_phones_mpo_the_first_picture_counts():
    other = Image.new("RGB", (200, 100), "white")
    file = encoded(PICTURE, "MPO", save_all=True, append_images=[other], quality=95)
    assert Image.open(io.BytesIO(file)).n_frames == 2
    assert difference(decode_photo(file, 10**6).image, PICTURE) < 4


def palette_with_alpha():
    picture = PICTURE.quantize(64)
    picture.info["transparency"] = bytes([0, 128] + [255] * 62)
    return encoded(picture, "PNG", transparency=picture.info["transparency"])


def sixteen_bits():
    # The low eight bits do not count.
    return encoded(Image.fromarray(np.asarray(GREY).astype(np.uint16) * 256 + 77), "PNG")


@pytest.mark.parametrize(
    ("file", "expected", "most"),
    [
        (encoded(GREY), GREY.convert("RGB"), 1),
        (encoded(GREY, "PNG"), GREY.convert("RGB"), 0),
        (sixteen_bits(), GREY.convert("RGB"), 0),
        (encoded(PICTURE.convert("CMYK")), PICTURE, 2),
        (palette_with_alpha(), PICTURE.quantize(64).convert("RGB"), 0),
        (encoded(PICTURE.convert("RGBA"), "PNG"), PICTURE, 0),
        (encoded(PICTURE, "WEBP", lossless=True), PICTURE, 0),
    ],
    ids=["grey JPEG", "grey PNG", "16 bits", "CMYK", "palette and alpha", "alpha", "WebP"],
)
def test_every_mode_becomes_rgb(file, expected, most):
    image = decode_photo(file, 10**6).image
    assert image.mode == "RGB"
    assert difference(image, expected) <= most


@pytest.mark.parametrize(
    ("least_side", "width", "scale"), [(1000, 1000, 1), (501, 1000, 1), (500, 500, 2), (126, 250, 4)]
)
def test_a_jpeg_is_decoded_at_the_size_that_is_needed(least_side, width, scale):
    picture, _ = dotted_picture((1000, 600), (500, 300), 400)
    decoded = decode_photo(encoded(picture), least_side)
    assert decoded.image.size == (width, 600 * width // 1000)
    assert decoded.scale == scale
    assert difference(decoded.image, picture.reduce(scale)) < 2
    # Other files have no smaller version.
    assert decode_photo(encoded(picture, "PNG"), least_side).scale == 1


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "it is empty"),
        (b"no picture at all", "it is no image"),
        (encoded(PICTURE)[:900], "truncated"),
        (encoded(PICTURE, "PNG")[:300], "truncated"),
        (encoded(PICTURE)[:3], "."),
        (b"\0\0\0\x18ftypheic" + bytes(50), "convert it to JPEG"),
    ],
    ids=["empty", "text", "half a JPEG", "half a PNG", "three bytes", "HEIC"],
)
def test_what_cannot_be_decoded_says_why(file, reason):
    with pytest.raises(ValueError, match=reason) as error:
        decode_photo(file, 1600)
    assert "\n" not in str(error.value)


def png_header(width, height):
    """A PNG file that claims its size, and has no pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = b"IDAT" + b""
    chunks = b"".join(
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) for body in (head, end)
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_too_many_pixels_are_refused_by_a_line(monkeypatch):
    # Pillow opens the first, and refuses the second itself.
    for side, line in (
        (8001, "64,016,001 pixels, where 64,000,000 are read of PNG"),
        (14_000, "far more than the 64,0"),
    ):
        with pytest.raises(ValueError, match=line) as error:
            decode_photo(png_header(side, side), 1600)
        assert "\n" not in str(error.value)
    monkeypatch.setattr(photo, "MOST_JPEG_PIXELS", 6000)
    with pytest.raises(ValueError, match="6,144 pixels, where 6,000 are read of JPEG; make it smaller"):
        decode_photo(encoded(PICTURE), 1600)


def test_a_photo_of_200_megapixels_takes_little_memory(tmp_path):
    file = tmp_path / "large.jpg"
    Image.new("L", (16_384, 12_288), 128).save(file)
    program = (
        "import sys, pathlib; from ddl_tf.detection.photo import decode_photo\n"
        "peak = lambda: next(int(line.split()[1]) / 1024 for line in open('/proc/self/status') if 'VmHWM' in line)\n"
        "before = peak(); photo = decode_photo(pathlib.Path(sys.argv[1]).read_bytes(), 1600)\n"
        "print(*photo.image.size, photo.scale, photo.image.getpixel((5, 5))[0], peak() - before)"
    )
    printed = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    width, height, scale, grey, mib = map(float, printed.stdout.split())
    assert (width, height, scale, grey) == (2048, 1536, 8, 128)
    # All pixels would be 600 MiB.
    assert mib < 100


def test_a_photo_is_averaged_to_fewer_pixels_which_stay_square():
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (75, 120, 3), dtype=np.uint8))
    shrunk = shrink_photo(Photo(picture, 2), 40)
    assert shrunk.image.size == (40, 25)
    assert shrunk.scale == 6
    assert np.abs(np.asarray(shrunk.image, int) - np.asarray(picture.reduce(3), int)).max() <= 1
    # 27.9 rows of the third size are 27 whole ones: as high as they are wide.
    shrunk = shrink_photo(Photo(picture.resize((103, 72)), 2), 40)
    assert shrunk.image.size == (40, 27)
    assert shrunk.scale == pytest.approx(2 * 103 / 40)
    assert shrink_photo(Photo(picture, 2), 120).image is picture
