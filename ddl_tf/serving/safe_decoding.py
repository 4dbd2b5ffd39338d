"""Decoding inside of a served graph, where a bad image must neither fail its batch nor fill the memory."""

import tensorflow as tf

from ddl_tf.images.decoding import decode_image
from ddl_tf.serving.orientation import lies_on_its_side, orientations, upright

# The largest photographs that cameras and phones save by themselves have 50 to 61 million pixels. A file of a few
# hundred bytes can claim many more, and a decoder would take 3 bytes for each. At this limit one image takes 0.2 GB,
# some 0.6 GB where it is a progressive JPEG.
MAX_PIXELS = 64_000_000
# Images of a request that are decoded at a time, each in memory for itself.
_PARALLEL_CALLS = 4
# Of each file, to tell its format, a PNG's size and the orientation. EXIF starts within the first hundreds.
_HEAD_BYTES = 4096

_JPEG, _PNG, _IHDR = tuple(b"\xff\xd8\xff"), tuple(b"\x89PNG\r\n\x1a\n"), tuple(b"IHDR")


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


def decode_rows(image_bytes: tf.Tensor, size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode the images of a batch, `[batch]` string, to `size` (height, width), whatever their aspect ratio.

    JPEG (grey, colour, CMYK; baseline or progressive) and PNG (grey, colour, palette, with or without alpha, 1 to 16
    bits). Alpha is dropped: a transparent pixel has the colour that the file stores for it. Of 16 bits the high 8
    count. An image is turned upright where its EXIF says how.

    An image with more than `MAX_PIXELS` is not decoded. One that is cut off is not valid, even if it could be shown in
    part. A graph cannot catch an error, but tf.data can leave out the elements that have one.

    Returns:
        float32 `[batch, height, width, 3]`, values 0..255, zeros where a row is not valid, and bool `[batch]`, which
        rows are valid.
    """
    rows = tf.size(image_bytes, tf.int64)
    heads = tf.cast(tf.io.decode_raw(image_bytes, tf.uint8, fixed_length=_HEAD_BYTES), tf.int32)
    is_jpeg = _starts_with(heads, _JPEG)
    orientation = orientations(heads)
    elements = (
        tf.range(rows),
        tf.where(is_jpeg | _is_small_png(heads), image_bytes, b""),
        tf.where(is_jpeg, image_bytes, tf.io.encode_jpeg(tf.zeros([1, 1, 3], tf.uint8))),
        tf.where(lies_on_its_side(orientation)[:, tf.newaxis], size[::-1], size),
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
