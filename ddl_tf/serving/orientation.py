"""The orientation that a camera writes into its files (EXIF), read and undone for the images of a batch."""

import tensorflow as tf

_EXIF = tuple(b"Exif\0\0")
_MARKER, _APP0, _APP1, _APP15, _COMMENT = 0xFF, 0xE0, 0xE1, 0xEF, 0xFE
_JPEG = tuple(b"\xff\xd8\xff")
_PNG, _PNG_EXIF = tuple(b"\x89PNG\r\n\x1a\n"), tuple(b"eXIf")
# After the eight bytes above come 25 of the chunk that tells the size; a chunk has 12 bytes besides its content.
_PNG_FIRST, _CHUNK_FRAME = 33, 12
_ORIENTATION = 0x0112
# EXIF comes first in a file; a few small segments may stand before it. Its directory has a few dozen entries.
_SEGMENTS_BEFORE, _ENTRIES, _ENTRY_BYTES = 3, 64, 12


def _read(heads: tf.Tensor, place: tf.Tensor, count: int) -> tf.Tensor:
    """`[batch]` -> `[batch, count]`; a place behind the end reads as the last byte, so that nothing can fail."""
    places = place[:, tf.newaxis] + tf.range(count)
    return tf.gather(heads, tf.clip_by_value(places, 0, tf.shape(heads)[1] - 1), batch_dims=1)


def _number(digits: tf.Tensor, little: tf.Tensor) -> tf.Tensor:
    """`[..., bytes]` -> `[...]` in the byte order of the file."""
    powers = 256 ** tf.range(digits.shape[-1])
    return tf.reduce_sum(digits * tf.where(little[..., tf.newaxis], powers, powers[::-1]), axis=-1)


def _is_exif(start: tf.Tensor) -> tf.Tensor:
    return tf.reduce_all(start[:, :2] == (_MARKER, _APP1), 1) & tf.reduce_all(start[:, 4:] == _EXIF, 1)


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
        place = place + tf.where(_is_png_exif(start), 0, _CHUNK_FRAME + length)
    return place


def _is_png_exif(start: tf.Tensor) -> tf.Tensor:
    return tf.reduce_all(start[:, 4:8] == _PNG_EXIF, 1)


def _in_exif(heads: tf.Tensor, tiff: tf.Tensor) -> tf.Tensor:
    little = tf.reduce_all(_read(heads, tiff, 2) == tuple(b"II"), 1)
    # Four bytes of a damaged file may give any number.
    directory = tiff + tf.clip_by_value(_number(_read(heads, tiff + 4, 4), little), 0, tf.shape(heads)[1])
    count = _number(_read(heads, directory, 2), little)
    entries = tf.reshape(_read(heads, directory + 2, _ENTRIES * _ENTRY_BYTES), [-1, _ENTRIES, _ENTRY_BYTES])
    each = little[:, tf.newaxis]
    says = (_number(entries[..., :2], each) == _ORIENTATION) & (tf.range(_ENTRIES) < count[:, tf.newaxis])
    value = tf.reduce_max(tf.where(says, _number(entries[..., 8:10], each), 0), axis=1)
    return tf.where((value >= 1) & (value <= 8), value, 1)


def orientations(heads: tf.Tensor) -> tf.Tensor:
    """Read the EXIF orientation of JPEG and PNG images from their first bytes, `[batch, bytes]` int32.

    Returns:
        `[batch]` int32, 1..8; 1, which is upright, where the first bytes have none, its EXIF is damaged, or it is of
        another format.

    References:
        CIPA DC-008, "Exchangeable image file format for digital still cameras: Exif", section 4.6.
        W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", section 11.3.4.5.
    """
    is_png = tf.reduce_all(heads[:, : len(_PNG)] == _PNG, axis=1)
    jpeg, png = _exif_place(heads), _png_exif_place(heads)
    is_jpeg = tf.reduce_all(heads[:, : len(_JPEG)] == _JPEG, axis=1)
    found = tf.where(is_png, _is_png_exif(_read(heads, png, 8)), is_jpeg & _is_exif(_read(heads, jpeg, 10)))
    # The directory begins behind the marker, the length and the name.
    tiff = tf.where(is_png, png + 8, jpeg + 10)
    upright = tf.ones_like(tiff)
    return tf.cond(tf.reduce_any(found), lambda: tf.where(found, _in_exif(heads, tiff), upright), lambda: upright)


def lies_on_its_side(orientation: tf.Tensor) -> tf.Tensor:
    """Return whether height and width of the stored image are those of the upright one exchanged."""
    return orientation >= 5


def upright(pixels: tf.Tensor, orientation: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Turn and mirror images to how the camera saw them: `[batch, height, width, 3]`.

    `pixels` are `[batch, height * width * 3]`, row by row as they are stored; those that lie on their side have `width`
    rows. `orientation` is `[batch]` of EXIF, `size` (height, width) of the upright images.
    """
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
