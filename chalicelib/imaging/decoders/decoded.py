"""What every decoder returns."""

from dataclasses import dataclass

from PIL import Image

from chalicelib.imaging.spaces import Space


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture of the thumbnail's size, still in its own colours and turned as it was stored.

    `orientation` is EXIF's 1 to 8 and still to be applied; `profile` is the embedded ICC profile,
    `space` what the samples mean without one. `alpha` is of mode L, and None where the picture's own mode
    holds it or there is none.
    """

    image: Image.Image
    orientation: int
    profile: bytes | None
    alpha: Image.Image | None = None
    space: Space | None = None
