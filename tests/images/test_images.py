import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from false_sizes import chunk
from PIL import Image, ImageOps

from ddl_tf.data.shards import check_sample
from ddl_tf.images import decoding
from ddl_tf.images.pillow_images import decode_image, load_image, resize_image, shrink_image, upright_bytes
from ddl_tf.importers.source import Problem, Sample
from ddl_tf.mining.quality import measure_quality

RANDOM = np.random.RandomState(0)
PIXELS = np.asarray(Image.fromarray(RANDOM.randint(0, 256, [9, 7, 3]).astype(np.uint8)).resize((53, 61)))
PHOTO = Image.fromarray(PIXELS)


def encoded(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def raw_png(depth, colour, rows):
    """A PNG file of bits and colours that Pillow does not write."""
    width = rows.shape[1] * rows.itemsize * 8 // depth // {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0))
    content = b"".join(b"\0" + row.tobytes() for row in rows)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def without_adobe(file):
    place = file.index(b"\xff\xee")
    return file[:place] + file[place + 2 + struct.unpack(">H", file[place + 2 : place + 4])[0] :]


INK = Image.fromarray(RANDOM.randint(0, 256, [16, 24, 4]).astype(np.uint8), "CMYK")
TAKEN = {
    **{f"JPEG {sampling}": encoded(PHOTO, "JPEG", subsampling=sampling) for sampling in ("4:4:4", "4:2:2", "4:2:0")},
    "progressive JPEG": encoded(PHOTO, "JPEG", progressive=True),
    "grey JPEG": encoded(PHOTO.convert("L"), "JPEG"),
    "RGB JPEG": encoded(PHOTO, "JPEG", keep_rgb=True),
    "CMYK JPEG": encoded(INK, "JPEG", quality=98),
    "CMYK JPEG that is not Adobe's": without_adobe(encoded(INK, "JPEG", quality=98)),
    "MPO": encoded(PHOTO, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))]),
    **{f"{mode} PNG": encoded(PHOTO.convert(mode)) for mode in ("RGB", "L", "LA", "P", "RGBA", "1")},
    "transparent PNG": encoded(Image.fromarray(RANDOM.randint(0, 256, [9, 9, 4]).astype(np.uint8))),
    "transparent grey PNG": encoded(Image.fromarray(RANDOM.randint(0, 256, [9, 9, 2]).astype(np.uint8), "LA")),
    "PNG of a palette with alpha": encoded(PHOTO.quantize(200), transparency=bytes(range(200))),
    "PNG of 16 colours": encoded(PHOTO.quantize(12), bits=4),
    "PNG of 2 colours": encoded(PHOTO.quantize(2), bits=1),
    "PNG with a transparent colour": encoded(PHOTO, transparency=(1, 2, 3)),
    "animated PNG": encoded(PHOTO, save_all=True, append_images=[Image.new("RGB", PHOTO.size)]),
    **{f"PNG of {d} bits": raw_png(d, 0, RANDOM.randint(0, 256, [6, d]).astype(np.uint8)) for d in (1, 2, 4)},
    **{
        f"{mode} PNG of 16 bits": raw_png(16, colour, RANDOM.randint(0, 2**16, [6, 8 * channels]).astype(">u2"))
        for mode, colour, channels in (("grey", 0, 1), ("RGB", 2, 3), ("LA", 4, 2), ("RGBA", 6, 4))
    },
}


@pytest.mark.parametrize("kind", TAKEN)
def test_pillow_and_tensorflow_decode_to_the_same_pixels(kind):
    inside = decoding.decode_image(TAKEN[kind]).numpy()
    np.testing.assert_array_equal(decode_image(TAKEN[kind]), inside)
    assert inside.std() > 10
    # What a data set stores of it has these pixels too.
    stored = check_sample(Sample(TAKEN[kind], "a", "a.png"))
    np.testing.assert_array_equal(decode_image(stored.encoded), inside)
    # A phone's JPEG, which Pillow calls MPO, is stored as it is.
    assert kind != "MPO" or stored.encoded is TAKEN[kind]


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "TIFF"])
def test_other_formats_and_cut_files_are_refused_by_both_decoders(kind):
    file = encoded(PHOTO, kind)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoding.decode_image(file)
    with pytest.raises(ValueError, match=f"{kind}, where only JPEG and PNG are decoded; convert it"):
        decode_image(file)
    assert "only JPEG and PNG are decoded" in decoding.why_undecodable(file)
    assert isinstance(check_sample(Sample(file, "a", "a.png")), Problem)
    # Made smaller it is encoded anew.
    assert check_sample(Sample(file, "a", "a.png"), 32).size == (32, 28)
    for cut in (TAKEN["JPEG 4:2:0"][:-300], TAKEN["RGB PNG"][:-300]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decoding.decode_image(cut)
        with pytest.raises(ValueError, match="truncated"):
            decode_image(cut)


@pytest.mark.parametrize("size", [(112, 112), (48, 31), (300, 7), (57, 224), (230, 230)])
def test_pillow_and_tensorflow_resize_to_the_same_values(size):
    """Shrunk, enlarged and both; some values lie between two whole numbers, and none is rounded."""
    image = np.asarray(PHOTO.resize((230, 57)))
    resized = resize_image(image, size)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, decoding.resize_images(image, size), atol=2e-3)


def test_sixteen_bits_of_grey_are_the_high_eight_everywhere():
    pixels = (np.arange(112 * 112).reshape(112, 112) * 5).astype(np.uint16)
    file, as_eight = encoded(Image.fromarray(pixels)), encoded(Image.fromarray((pixels >> 8).astype(np.uint8)))
    np.testing.assert_array_equal(decode_image(file), decode_image(as_eight))
    assert measure_quality(file) == measure_quality(as_eight)
    assert shrink_image(load_image(file), 64)[1] == shrink_image(load_image(as_eight), 64)[1]


def turned(orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(PHOTO, form, exif=exif, **({"quality": 95} if form == "JPEG" else {}))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone_wherever_an_image_is_read(orientation, form):
    file = turned(orientation, form)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))))
    stored = check_sample(Sample(file, "a", "a.jpg"))
    for upright in (
        decode_image(file),
        np.asarray(load_image(file)),
        decoding.decode_image(upright_bytes(file)),
        decoding.decode_image(stored.encoded),
    ):
        np.testing.assert_array_equal(upright, expected)
    assert stored.size == expected.shape[:2]
    shrunk = check_sample(Sample(file, "a", "a.jpg"), 32)
    assert shrunk.size == ((32, 28) if orientation < 5 else (28, 32))
    np.testing.assert_array_equal(decode_image(shrunk.encoded), decoding.decode_image(shrunk.encoded))


def test_upright_images_and_those_of_damaged_exif_keep_their_bytes():
    for file in (turned(1, "JPEG"), turned(0, "JPEG"), turned(9, "PNG"), encoded(PHOTO), b"Exif\0\0 in no image", b""):
        assert upright_bytes(file) is file
    file = turned(6, "JPEG")
    assert upright_bytes(again := upright_bytes(file)) is again
    begins = b"Exif\0\0MM\0*\0\0\0\x08"
    for damage in (b"Exif\0\0*\0MM\0\0\0\x08", b"Exif\0\0MM\0*\xff\xff\xff\xff"):
        damaged = file.replace(begins, damage)
        assert upright_bytes(damaged) is damaged != file
        assert decode_image(damaged).shape == PIXELS.shape
