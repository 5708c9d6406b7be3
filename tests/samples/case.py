"""One case of the scorecard: a picture, and what its thumbnail must be."""

from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.spec import Fit, ThumbnailSpec
from tests.samples import chart
from tests.samples.colour import Triple

WHOLE = ThumbnailSpec(width=96, height=96, fit=Fit.CONTAIN)
"""Shows the whole chart: 96 x 64 pixels."""
FILLED = ThumbnailSpec()
"""The default: 100 x 100, cropped to fill."""

NOTICED = 3.0
"""CIEDE2000 that a patch may be off: more is seen without comparing side by side."""
NEGATIVE = 40.0
"""CIEDE2000 that tells a negative from ink whose colour is anyone's guess, as no profile says it."""
COARSE = 4.0
"""CIEDE2000 that a patch may be off in high dynamic range, where one step of PQ's 8 bits is 4 % of the light,
and where colours have 4 bits."""
HAIR = 0.05
"""Pixels of the thumbnail that a mark may be off the centre."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a thumbnail is right, and the figure to show for it."""

    right: bool
    figure: str


@dataclass(frozen=True, slots=True)
class Case:
    """One picture and what its thumbnail must be.

    `size` is the thumbnail's in pixels, `colours` are those of the chart's patches or the one of a flat
    picture, `limit` is the CIEDE2000 that the worst patch may be off, `centred` says that a mark lies in the
    centre.
    """

    name: str
    expected: str
    make: Callable[[], bytes]
    size: tuple[int, int] = (96, 64)
    spec: ThumbnailSpec = WHOLE
    colours: tuple[Triple, ...] = ()
    limit: float = NOTICED
    centred: bool = False

    def judge(self, thumbnail: bytes) -> Verdict:
        """Measure a thumbnail as a colour-managed viewer shows it."""
        image = chart.displayed(thumbnail)
        if image.size != self.size:
            return Verdict(False, f"{image.width} x {image.height} pixels")
        if self.centred:
            off = max(abs(distance) for distance in chart.off_centre(image))
            return Verdict(off <= HAIR, f"{off:.2f} px")
        error = (
            chart.flat_error(image, self.colours[0])
            if len(self.colours) == 1
            else chart.colour_error(image, list(self.colours))
        )
        return Verdict(error.worst <= self.limit, f"{error.mean:.1f} / {error.worst:.1f}")


SRGB = tuple(chart.PATCHES)
GREY = tuple((float(grey), float(grey), float(grey)) for grey in chart.GREYS)
