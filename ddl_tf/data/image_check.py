"""Every image is decoded before it is stored, by several threads."""

import dataclasses
from collections.abc import Generator, Iterator
from typing import Optional, Union

from ddl_tf.common.parallel import map_in_order
from ddl_tf.images.pillow_images import STORED_FORMATS, load_image, shrink_image, upright_bytes
from ddl_tf.importers.source import Problem, Sample


@dataclasses.dataclass(frozen=True)
class Checked:
    """A sample whose image was decoded: the upright encoded image to store, and its `(height, width)`."""

    sample: Sample
    encoded: bytes
    size: tuple[int, int]


def check_sample(item: Union[Sample, Problem], image_size: Optional[int] = None) -> Union[Checked, Problem]:
    """Decode the image of a sample, and shrink it if its longer side has more than `image_size` pixels."""
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
    """Apply `check_sample` to many, in parallel and in order."""
    return map_in_order(lambda item: check_sample(item, image_size), items)
