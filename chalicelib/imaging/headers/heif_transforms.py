"""What the properties `clap`, `irot` and `imir` do to a picture: a crop, and an EXIF orientation after it."""

import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

from chalicelib.imaging.headers.isobmff import Property

Crop = tuple[int, int, int, int]
"""Left and top edge, width and height, in pixels."""
Turn = tuple[bool, bool, bool]
"""How to get from a turned picture's pixels to the stored ones: whether to exchange across and down, and then
whether to count from the right, and from the bottom."""

CLAP, IROT, IMIR = b"clap", b"irot", b"imir"
TRANSFORMS = (CLAP, IROT, IMIR)
"""In the order in which they apply (MIAF, ISO/IEC 23000-22, 7.3.6.7), each once, however a file lists them:
libavif and browsers follow that, too."""

_ORIENTATIONS: dict[Turn, int] = {
    (False, False, False): 1,
    (False, True, False): 2,
    (False, True, True): 3,
    (False, False, True): 4,
    (True, False, False): 5,
    (True, False, True): 6,
    (True, True, True): 7,
    (True, True, False): 8,
}
_TURNS: tuple[Turn, ...] = (
    (False, False, False),
    (True, True, False),
    (False, True, True),
    (True, False, True),
)
"""By quarter turns counter-clockwise (23008-12, 6.5.10)."""
_MIRRORINGS: tuple[Turn, ...] = ((False, False, True), (False, True, False))
"""By axis: top and bottom exchanged, or left and right (23008-12, 6.5.12)."""


@dataclass(frozen=True, slots=True)
class Transformed:
    """A picture of which `crop` is left, turned."""

    crop: Crop
    turn: Turn = (False, False, False)

    @property
    def orientation(self) -> int:
        """EXIF's orientation, 1 to 8, that turns the crop likewise."""
        return _ORIENTATIONS[self.turn]

    def after(self, step: Property) -> "Transformed":
        """Return the picture after a further transform.

        A clean aperture that makes no sense or leaves nothing is ignored, as browsers do.

        Raises:
            struct.error: the property is cut off.

        """
        if step.kind == CLAP:
            return self._cropped(step.content)
        turn = (_TURNS if step.kind == IROT else _MIRRORINGS)[
            step.content[0] & (3 if step.kind == IROT else 1)
        ]
        exchanged, right, bottom = turn
        if self.turn[0]:
            right, bottom = bottom, right
        return replace(self, turn=(self.turn[0] ^ exchanged, self.turn[1] ^ right, self.turn[2] ^ bottom))

    def _cropped(self, clap: memoryview) -> "Transformed":
        """Crop the picture as it is turned by now (14496-12, 12.1.4.1), to the nearest pixels."""
        numbers = struct.unpack(">4IiIiI", clap[:32])
        if 0 in numbers[1::2]:
            return self
        exchanged, from_right, from_bottom = self.turn
        left, top, *sides = self.crop
        spans = []
        for whole, at in zip(reversed(sides) if exchanged else sides, (0, 2), strict=True):
            length, offset = Fraction(*numbers[at : at + 2]), Fraction(*numbers[at + 4 : at + 6])
            start = floor((whole - length) / 2 + offset + Fraction(1, 2))
            spans.append((max(0, start), min(whole, start + round(length))))
        (x, right), (y, bottom) = reversed(spans) if exchanged else spans
        if x >= right or y >= bottom:
            return self
        across = left + (sides[0] - right if from_right else x)
        down = top + (sides[1] - bottom if from_bottom else y)
        return replace(self, crop=(across, down, right - x, bottom - y))
