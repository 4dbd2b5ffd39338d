"""Decoding inside of a served graph, where a bad image must neither fail its batch nor fill the memory."""

import tensorflow as tf

from ddl_tf.images.decoding import decode_image
from ddl_tf.images.pillow_images import MAX_PIXELS

# Images of a request that are decoded at a time, each in memory for itself.
_PARALLEL_CALLS = 4
# Of each file, to tell its format, a PNG's size and the orientation. EXIF starts within the first hundreds.
_HEAD_BYTES = 4096

_JPEG, _PNG, _IHDR = tuple(b"\xff\xd8\xff"), tuple(b"\x89PNG\r\n\x1a\n"), tuple(b"IHDR")
_JPEG_EXIF, _PNG_EXIF = tuple(b"Exif\0\0"), tuple(b"eXIf")
_MARKER, _APP0, _APP1, _APP15, _COMMENT = 0xFF, 0xE0, 0xE1, 0xEF, 0xFE
# After PNG's first eight bytes come 25 of the chunk of the size; a chunk has 12 bytes besides its content.
_PNG_FIRST, _CHUNK_FRAME = 33, 12
_ORIENTATION = 0x0112
# EXIF comes first in a file; a few small segments may stand before it. Its directory has a few dozen entries.
_SEGMENTS_BEFORE, _ENTRIES, _ENTRY_BYTES = 3, 64, 12


def _starts_with(heads: tf.Tensor, text: tuple[int, ...], place: int = 0) -> tf.Tensor:
    return tf.reduce_all(heads[:, place : place + len(text)] == text, axis=1)


def _few_pixels(size: tf.Tensor) -> tf.Tensor:
    """`[..., 2]` int64 -> `[...]` bool; each side is below 2^31, so that the product cannot overflow."""
    pixels = tf.reduce_prod(size, axis=-1)
    return (pixels > 0) & (pixels <= MAX_PIXELS)


def _is_small_png(heads: tf.Tensor) -> tf.Tensor:
    # The header comes first, width and height in four bytes each, and decoders refuse 2^31 and above.
    digits = tf.reshape(tf.cast(heads[:, 16:24], tf.int64), [-1, 2, 4])
    size = tf.reduce_sum(digits * tf.constant([256**3, 256**2, 256, 1], tf.int64), axis=-1)
    fits = _few_pixels(size) & tf.reduce_all(size < 2**31, axis=1)
    return _starts_with(heads, _PNG) & _starts_with(heads, _IHDR, place=12) & fits


def _decode(encoded: tf.Tensor, jpeg: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Decode and resize one image: `[height * width * 3]` float32. Every request sets this up, so it is short."""
    stored = tf.cast(tf.io.extract_jpeg_shape(jpeg)[:2], tf.int64)
    # What is empty is an error, which takes no branch as an assertion would.
    image = decode_image(tf.where(_few_pixels(stored), encoded, b""))
    # As `resize_images`, whose size is the same for all.
    resized = tf.cond(
        tf.reduce_all(tf.shape(image)[:2] == size),
        lambda: tf.cast(image, tf.float32),
        lambda: tf.image.resize(image, size, antialias=True),
    )
    return tf.reshape(resized, [-1])


def _read(heads: tf.Tensor, place: tf.Tensor, count: int) -> tf.Tensor:
    """`[batch]` -> `[batch, count]`; a place behind the end reads as the last byte, so that nothing can fail."""
    places = place[:, tf.newaxis] + tf.range(count)
    return tf.gather(heads, tf.clip_by_value(places, 0, tf.shape(heads)[1] - 1), batch_dims=1)


def _number(digits: tf.Tensor, little: tf.Tensor) -> tf.Tensor:
    """`[..., bytes]` -> `[...]` in the byte order of the file."""
    powers = 256 ** tf.range(digits.shape[-1])
    return tf.reduce_sum(digits * tf.where(little[..., tf.newaxis], powers, powers[::-1]), axis=-1)


def _is_exif(start: tf.Tensor) -> tf.Tensor:
    return _starts_with(start, (_MARKER, _APP1)) & _starts_with(start, _JPEG_EXIF, place=4)


def _exif_place(heads: tf.Tensor) -> tf.Tensor:
    """Step over the segments before EXIF; `[batch]` int32."""
    place = tf.fill([tf.shape(heads)[0]], 2)
    for _ in range(_SEGMENTS_BEFORE):
        start = _read(heads, place, 10)
        kind = start[:, 1]
        is_note = (start[:, 0] == _MARKER) & (((kind >= _APP0) & (kind <= _APP15)) | (kind == _COMMENT))
        length = 256 * start[:, 2] + start[:, 3]
        place = place + tf.where(is_note & ~_is_exif(start), 2 + length, 0)
    return place


def _png_exif_place(heads: tf.Tensor) -> tf.Tensor:
    """Step over the chunks before EXIF; `[batch]` int32."""
    place = tf.fill([tf.shape(heads)[0]], _PNG_FIRST)
    for _ in range(_SEGMENTS_BEFORE):
        start = _read(heads, place, 8)
        # Of a longer chunk there is nothing behind it in the head.
        length = tf.where(tf.reduce_all(start[:, :2] == 0, 1), 256 * start[:, 2] + start[:, 3], tf.shape(heads)[1])
        place = place + tf.where(_starts_with(start, _PNG_EXIF, place=4), 0, _CHUNK_FRAME + length)
    return place


def _in_exif(heads: tf.Tensor, tiff: tf.Tensor) -> tf.Tensor:
    little = tf.reduce_all(_read(heads, tiff, 2) == tuple(b"II"), 1)
    # Four bytes of a damaged file may give any number.
    directory = tiff + tf.clip_by_value(_number(_read(heads, tiff + 4, 4), little), 0, tf.shape(heads)[1])
    count = _number(_read(heads, directory, 2), little)
    entries = tf.reshape(_read(heads, directory + 2, _ENTRIES * _ENTRY_BYTES), [-1, _ENTRIES, _ENTRY_BYTES])
    each = little[:, tf.newaxis]
    matches = (_number(entries[..., :2], each) == _ORIENTATION) & (tf.range(_ENTRIES) < count[:, tf.newaxis])
    value = tf.reduce_max(tf.where(matches, _number(entries[..., 8:10], each), 0), axis=1)
    return tf.where((value >= 1) & (value <= 8), value, 1)


def orientations(heads: tf.Tensor) -> tf.Tensor:
    """Read the EXIF orientation of images, 1..8, `[batch]`, from their first bytes, `[batch, bytes]` int32.

    References:
        CIPA DC-008, "Exchangeable image file format for digital still cameras: Exif", section 4.6.
        W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", section 11.3.4.5.
    """
    is_png, is_jpeg = _starts_with(heads, _PNG), _starts_with(heads, _JPEG)
    jpeg, png = _exif_place(heads), _png_exif_place(heads)
    png_has_exif = _starts_with(_read(heads, png, 8), _PNG_EXIF, place=4)
    has_exif = tf.where(is_png, png_has_exif, is_jpeg & _is_exif(_read(heads, jpeg, 10)))
    # The directory begins behind the marker, the length and the name.
    tiff = tf.where(is_png, png + 8, jpeg + 10)
    ones = tf.ones_like(tiff)
    return tf.cond(tf.reduce_any(has_exif), lambda: tf.where(has_exif, _in_exif(heads, tiff), ones), lambda: ones)


def upright(pixels: tf.Tensor, orientation: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Turn stored `pixels` `[batch, height * width * 3]` to how the camera saw them: `[batch, height, width, 3]`."""
    height, width = size
    images = tf.reshape(pixels, [-1, height, width, 3])

    def turned() -> tf.Tensor:
        def among(*values: int) -> tf.Tensor:
            return tf.reduce_any(orientation[:, tf.newaxis] == values, axis=1)[:, tf.newaxis, tf.newaxis, tf.newaxis]

        # 5 is the transposed image; the others are flips of it or of the image itself.
        transposed = tf.transpose(tf.reshape(pixels, [-1, width, height, 3]), [0, 2, 1, 3])
        turned = tf.where(among(5, 6, 7, 8), transposed, images)
        turned = tf.where(among(3, 4, 7, 8), turned[:, ::-1], turned)
        return tf.where(among(2, 3, 6, 7), turned[:, :, ::-1], turned)

    return tf.cond(tf.reduce_any(orientation > 1), turned, lambda: images)


def decode_rows(image_bytes: tf.Tensor, size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode and resize `[batch]` JPEG or PNG strings to `size` (height, width), whatever their aspect ratio.

    Alpha is dropped, of 16 bits the high 8 count, EXIF's turn is made. What is cut off, or has more than `MAX_PIXELS`,
    is not valid: a graph cannot catch an error, but tf.data can leave out the elements that have one.

    Returns float32 `[batch, height, width, 3]`, values 0..255, zeros where a row is not valid, and `valid` `[batch]`.
    """
    rows = tf.size(image_bytes, tf.int64)
    heads = tf.cast(tf.io.decode_raw(image_bytes, tf.uint8, fixed_length=_HEAD_BYTES), tf.int32)
    is_jpeg = _starts_with(heads, _JPEG)
    orientation = orientations(heads)
    elements = (
        tf.range(rows),
        tf.where(is_jpeg | _is_small_png(heads), image_bytes, b""),
        tf.where(is_jpeg, image_bytes, tf.io.encode_jpeg(tf.zeros([1, 1, 3], tf.uint8))),
        # From 5 on height and width of the stored image are exchanged.
        tf.where(orientation[:, tf.newaxis] >= 5, size[::-1], size),
    )
    options = tf.data.Options()
    # The data set lives for one request: tuning it would cost more than it could gain.
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    values = size[0] * size[1] * 3
    # A data set is read at once if it is sure to have an element; `reduce` would set up one more function, which takes
    # ten times as long as all of the rest.
    end = tf.data.Dataset.from_tensors((rows, tf.zeros([values])))
    positions, pixels = (
        tf.data.Dataset.from_tensor_slices(elements)
        .map(lambda row, *image: (row, _decode(*image)), num_parallel_calls=_PARALLEL_CALLS, deterministic=True)
        .ignore_errors()
        .concatenate(end)
        .batch(rows + 1)
        .with_options(options)
        .get_single_element()
    )
    pixels = tf.scatter_nd(positions[:, tf.newaxis], pixels, tf.stack([rows + 1, values]))[:rows]
    valid = tf.scatter_nd(positions[:, tf.newaxis], tf.ones_like(positions), [rows + 1])[:rows] > 0
    return upright(pixels, orientation, size), valid
