"""Images whose headers claim a size that their pixels do not have."""

import struct
import zlib


def chunk(kind, content):
    """Of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, extra=b""):
    """A header, further chunks, and a start of black pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(100_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + pixels + chunk(b"IEND", b"")


def jpeg(width, height, base):
    """A JPEG with another size in its frame header, baseline or progressive."""
    place = next(base.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in base)
    return base[: place + 5] + struct.pack(">HH", height, width) + base[place + 9 :]
