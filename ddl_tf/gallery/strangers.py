"""What share of strangers a gallery takes for somebody, by the false accept rate of its threshold."""


def strangers_known(far: float, people: int, images: int, entries: str) -> tuple[float, str]:
    """Return the share of strangers that is taken for someone, and in words what it is.

    A false accept rate is that of two images. Where a stranger's image is compared with all images, each can accept it,
    and the sum of their rates is a bound, however dependent they are. A template of several images has similarities
    that nobody measured: the sum over people is an estimate, and no bound.

    Example:
        >>> strangers_known(1e-3, people=20, images=400, entries="images")[0]
        0.4
    """
    if entries == "images" or people == images:
        return min(1.0, far * images), f"at most, by {images:,} images like those of that set"
    return min(1.0, far * people), "by estimate, if templates are as similar as images"
