"""What every decoder returns."""

from dataclasses import dataclass

from PIL import Image

from chalicelib.imaging.spaces import Space


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture in the size of each thumbnail, still in its own colours and turned as it was stored.

    `size` is that of the whole picture, in pixels. `orientation` is EXIF's 1 to 8 and still to be applied;
    `profile` is the embedded ICC profile, `space` what the samples mean without one. `alphas` are of mode L,
    one for each of `images`; there are none where the pictures' own mode holds alpha or there is none.
    """

    images: list[Image.Image]
    size: tuple[int, int]
    orientation: int
    profile: bytes | None
    alphas: list[Image.Image] | None = None
    space: Space | None = None
