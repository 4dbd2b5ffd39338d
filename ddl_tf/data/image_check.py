"""Every image is decoded before it is stored, by several threads."""

import dataclasses
from collections.abc import Generator, Iterator
from typing import Optional, Union

from ddl_tf.common.parallel import map_in_order
from ddl_tf.images.pillow_images import STORED_FORMATS, load_image, shrink_image, upright_bytes
from ddl_tf.importers.source import Problem, Sample


@dataclasses.dataclass(frozen=True)
class Checked:
    """A sample whose image was decoded.

    Attributes:
        sample: the sample.
        encoded: its image as it is to be stored: upright, whatever EXIF says of the one that was given.
        size: `(height, width)` of that, in pixels.
    """

    sample: Sample
    encoded: bytes
    size: tuple[int, int]


def check_sample(item: Union[Sample, Problem], image_size: Optional[int] = None) -> Union[Checked, Problem]:
    """Decode the image of a sample, and make it smaller if it is larger than wanted.

    Args:
        item: a sample; a problem stays one.
        image_size: the longest side that a stored image may have, in pixels; None stores every image as it is.

    Returns:
        The sample with what to store, or what is wrong with its image.
    """
    if isinstance(item, Problem):
        return item
    try:
        image = load_image(item.image)
    except ValueError as error:
        return Problem("corrupt image", item.source, str(error))
    encoded = upright_bytes(item.image)
    if image_size is not None and max(image.size) > image_size:
        image, encoded = shrink_image(image, image_size)
    elif image.format not in STORED_FORMATS:
        return Problem("image format", item.source, f"{image.format}, where only JPEG and PNG are stored; convert it")
    return Checked(item, encoded, (image.height, image.width))


def check_samples(
    items: Iterator[Union[Sample, Problem]], image_size: Optional[int] = None
) -> Generator[Union[Checked, Problem], None, None]:
    """Do `check_sample` for many, in parallel; the order stays.

    Args:
        items: samples and problems; they are drawn a little ahead of what was yielded.
        image_size: as for `check_sample`.

    Returns:
        What `check_sample` returns for each.
    """
    return map_in_order(lambda item: check_sample(item, image_size), items)
