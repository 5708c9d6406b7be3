"""Which part of the original becomes the thumbnail, and how large that is."""

from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.imaging.headers.header import SIDEWAYS
from chalicelib.spec import Crop, Fit, Focus, ThumbnailSpec

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels, with fractions."""

_MIRRORED, _UPSIDE_DOWN = {2, 3, 7, 8}, {3, 4, 6, 7}
"""EXIF orientations in whose stored pictures left and right, or top and bottom, are exchanged; of those that
swap width and height, after that."""
_ROUNDING = 1e-6
_MOST_CROPS = 4
"""The crops side by side, at most, among which attention decides: of a longer picture, those in the middle.
What the reduction keeps of them, 150 MB for a box of 1024 x 1024, fits beside any decoder."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Cut `box` out of a picture and scale it to `size`; both before the picture is turned upright."""

    box: Box
    size: tuple[int, int]

    @property
    def factors(self) -> tuple[float, float]:
        """Pixels of the original per pixel of the thumbnail, across and down."""
        left, top, right, bottom = self.box
        return (right - left) / self.size[0], (bottom - top) / self.size[1]

    def scaled(self, across: float, down: float) -> "Plan":
        """Return the plan for the same picture after it was scaled down by these factors."""
        left, top, right, bottom = self.box
        return Plan((left / across, top / down, right / across, bottom / down), self.size)

    def moved(self, across: float, down: float) -> "Plan":
        """Return the plan for the same picture after these many pixels were added at its left and top."""
        left, top, right, bottom = self.box
        return Plan((left + across, top + down, right + across, bottom + down), self.size)


@dataclass(frozen=True, slots=True)
class Plans:
    """Cut several thumbnails out of one picture of `size` pixels; `each` has one plan or more."""

    size: tuple[int, int]
    each: tuple[Plan, ...]

    @property
    def factors(self) -> tuple[float, float]:
        """Of all plans, the fewest pixels of the original per pixel of a thumbnail, across and down."""
        across, down = zip(*(one.factors for one in self.each), strict=True)
        return min(across), min(down)

    def scaled(self, across: float, down: float, size: tuple[int, int]) -> "Plans":
        """Return the plans for the same picture after these factors have scaled it down to `size`."""
        return Plans(size, tuple(one.scaled(across, down) for one in self.each))

    def cropped(self, left: int, top: int, size: tuple[int, int]) -> "Plans":
        """Return the plans for what is left of the picture when it is cropped to `size` at this corner."""
        return Plans(size, tuple(one.moved(-left, -top) for one in self.each))


def plans(width: int, height: int, orientation: int, specs: Sequence[ThumbnailSpec]) -> Plans:
    """Fit a picture into the box of each spec; see `plan`."""
    return Plans((width, height), tuple(plan(width, height, orientation, spec) for spec in specs))


def plan(width: int, height: int, orientation: int, spec: ThumbnailSpec) -> Plan:
    """Fit a picture into a spec's box, never enlarging it.

    Args:
        width: of the stored picture, in pixels.
        height: likewise.
        orientation: EXIF's 1 to 8.
        spec: box, fit and crop.

    Returns:
        Where attention decides on the crop, the plan of all that the crop may be cut out of: that is as large
        as the box in one direction, and larger in the other.

    """
    box_width, box_height = spec.width, spec.height
    if orientation >= SIDEWAYS:
        box_width, box_height = box_height, box_width
    if spec.fit is Fit.CONTAIN:
        scale = min(box_width / width, box_height / height, 1)
        return Plan((0, 0, width, height), (max(1, round(width * scale)), max(1, round(height * scale))))
    target_width, target_height = min(box_width, width), min(box_height, height)
    crop_width = min(width, height * target_width / target_height)
    crop_height = min(height, width * target_height / target_width)
    if spec.crop is Crop.ATTENTION:
        across, down = target_width / crop_width, target_height / crop_height
        crop_width, crop_height = min(width, crop_width * _MOST_CROPS), min(height, crop_height * _MOST_CROPS)
        # No larger a scale than the middle's: the decoders' choices by it shall be the same.
        target_width, target_height = (
            int(crop_width * across + _ROUNDING),
            int(crop_height * down + _ROUNDING),
        )
    x, y = _stored(spec.crop, orientation) if isinstance(spec.crop, Focus) else (0.5, 0.5)
    left = min(max(0, x * width - crop_width / 2), width - crop_width)
    top = min(max(0, y * height - crop_height / 2), height - crop_height)
    return Plan((left, top, left + crop_width, top + crop_height), (target_width, target_height))


def _stored(focus: Focus, orientation: int) -> tuple[float, float]:
    """Return a point of the upright picture as fractions of the stored picture's width and height."""
    x, y = (focus.y, focus.x) if orientation >= SIDEWAYS else (focus.x, focus.y)
    return 1 - x if orientation in _MIRRORED else x, 1 - y if orientation in _UPSIDE_DOWN else y
