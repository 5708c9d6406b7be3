"""What all headers have in common, and the two errors their readers raise."""

from dataclasses import dataclass

from chalicelib.errors import TooComplex, UndecodablePicture
from chalicelib.imaging.spaces import Space

MAX_PROFILE = 4 << 20
"""Bytes of an ICC profile, of any format; the largest real ones, of CMYK printers, take 3 MB."""
SIDEWAYS = 5
"""EXIF orientations from here on swap width and height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A picture as its container describes it.

    `width` and `height` are in pixels, as stored: before the orientation is applied.
    `orientation` is EXIF's 1 to 8. `profile` is the embedded ICC profile, unchecked, of at most `MAX_PROFILE`
    bytes; `space` says what the samples mean where there is no profile, or one that cannot be used. With
    neither they are sRGB.
    """

    width: int
    height: int
    orientation: int = 1
    profile: bytes | None = None
    space: Space | None = None

    @property
    def pixels(self) -> int:
        """The area that is decoded."""
        return self.width * self.height

    @property
    def upright(self) -> tuple[int, int] | None:
        """Width and height of the picture as it is shown; None where the decoder has to tell."""
        return (self.height, self.width) if self.orientation >= SIDEWAYS else (self.width, self.height)

    def memory(self) -> int:
        """Bytes that decoding takes at its peak, beside the file: an upper bound, see docs/imaging.md."""
        return self.pixels * 9


def undecodable() -> UndecodablePicture:
    """Return the error of a picture whose bytes cannot be made sense of."""
    return UndecodablePicture(
        "The picture cannot be decoded: it is truncated, damaged or of a rare kind; "
        "save it as JPEG or PNG and upload that."
    )


def too_complex(what: str) -> TooComplex:
    """Return the error of a picture that has too many `what` (a plural)."""
    return TooComplex(f"The picture has too many {what} to be decoded in a reasonable time; save it anew.")
