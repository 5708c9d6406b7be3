"""PNG's filters undone by the Rust crate `png`, which has SIMD for Paeth's, where kornia-rs brings it.

Lambda does not get it: with NumPy, which it calls, kornia-rs is 88 MB. Where it is importable, a PNG takes
about three quarters of the time, and comes out the same. It is handed PNGs that are made here, one for each
band of rows, so that of a file it sees filters and filtered bytes alone, never a chunk.
"""

import struct
from collections.abc import Callable
from typing import Any

try:
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

_decode: Callable[[bytes, tuple[int, int], str], Any] | None = None
try:
    from kornia_rs.io import decode_image_png_u8  # isort: skip - NumPy is imported for it alone
    import numpy  # noqa: F401 - it panics where that is missing
except ImportError:
    pass
else:
    _decode = decode_image_png_u8

_MODES = {1: ("mono", 0), 3: ("rgb", 2), 4: ("rgba", 6)}
"""By the bytes of a pixel, which are all that a filter knows of it: kornia-rs's mode, PNG's colour type."""
_MOST_BYTES = 1 << 24
"""Of a band: it is held three times meanwhile, and from 64 MiB on the crate refuses it."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LAST_BLOCK = b"\x01\x00\x00\xff\xff"
"""Of a deflate stream: not compressed, and empty."""


def undone(stream: bytes, row_bytes: int, height: int, pixel_bytes: int) -> memoryview | None:
    """Undo the filters of rows.

    Args:
        stream: a zlib stream of blocks that are not compressed, without an end: the rows, each after the byte
            that names its filter.
        row_bytes: bytes of a row without that byte.
        height: how many rows.
        pixel_bytes: bytes from a sample to the same one of the next pixel; 1 where a byte has several pixels.

    Returns:
        The rows without the filters' bytes. None where kornia-rs is missing, cannot do it, or finds something
        wrong: Pillow's decoder, which can do it as well, has the last word.

    """
    if _decode is None or pixel_bytes not in _MODES or len(stream) > _MOST_BYTES:
        return None
    mode, colour_type = _MODES[pixel_bytes]
    width = row_bytes // pixel_bytes
    header = struct.pack(">II5B", width, height, 8, colour_type, 0, 0, 0)
    parts = [*_chunk(b"IHDR", header), *_chunk(b"IDAT", stream, _LAST_BLOCK), *_chunk(b"IEND")]
    try:
        rows = _decode(b"".join([_SIGNATURE, *parts]), (height, width), mode)
    except Exception:  # noqa: BLE001 - it has no class of its own
        return None
    except BaseException as error:
        # A panic of Rust's; pyo3 gives no class that could be named.
        if type(error).__name__ != "PanicException":
            raise
        return None
    return memoryview(rows).cast("B")


def _chunk(kind: bytes, *contents: bytes) -> list[bytes]:
    checksum = crc32(kind)
    for content in contents:
        checksum = crc32(content, checksum)
    return [struct.pack(">I4s", sum(map(len, contents)), kind), *contents, struct.pack(">I", checksum)]
