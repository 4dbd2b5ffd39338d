"""What share of strangers a gallery takes for somebody, by the false accept rate of its threshold."""


def strangers_known(far: float, people: int, images: int, entries: str) -> tuple[float, str]:
    """Tell what share of strangers is taken for someone.

    A false accept rate is that of two images. Where a stranger's image is compared with all images, each can accept it,
    and the sum of their rates is a bound, however dependent they are. A template of several images has similarities
    that nobody measured: the sum over people is an estimate, and neither a bound.

    Args:
        far: the false accept rate of the threshold, of pairs of images like those of the gallery.
        people: in the gallery.
        images: in the gallery.
        entries: `templates` or `images`.

    Returns:
        The share, and what it is in words.

    Example:
        >>> strangers_known(1e-3, people=20, images=400, entries="images")[0]
        0.4
    """
    if entries == "images" or people == images:
        return min(1.0, far * images), f"at most, by {images:,} images like those of that set"
    return min(1.0, far * people), "by estimate, if templates are as similar as images"
