"""What is refused before decoding: too many pixels, or more memory than the function has."""

from chalicelib.errors import TooManyPixels
from chalicelib.imaging.headers.header import Header

MAX_MEMORY = 1_000_000_000
"""Bytes that a decoder may take beside the file itself; docs/imaging.md tells how the function is sized by
it."""


def enforce(source_format: str, header: Header, *, max_pixels: int) -> None:
    """Refuse a picture that is too large.

    Args:
        source_format: the format's name, for the error's sentence.
        header: what the container declares.
        max_pixels: the most pixels (width x height) that are accepted, of any format.

    Raises:
        TooManyPixels: over `max_pixels`, or over what fits `MAX_MEMORY` in this format.

    """
    size = f"The picture has {header.width} x {header.height} pixels"
    if header.pixels > max_pixels:
        raise TooManyPixels(f"{size}; at most {max_pixels:,} are accepted.")
    if header.memory() > MAX_MEMORY:
        fitting = header.pixels * MAX_MEMORY // header.memory() // 1_000_000
        raise TooManyPixels(
            f"{size}; at most {fitting} million are accepted of this kind of {source_format}."
        )
