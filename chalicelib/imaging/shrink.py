"""From a decoded picture to those of the thumbnails' sizes: in one call, or band by band.

Several thumbnails share the averaging that the largest scale among them allows; what is left of it is less
than four times their size, so that each more costs little.

Modes whose pixels cannot be averaged as they are (palettes, alpha that is not premultiplied, single bits,
16-bit samples) are converted to one whose pixels can, a band of rows at a time: that costs no second picture
in memory, and a band fits the processor's cache.
"""

from collections.abc import Callable

from PIL import Image

from chalicelib.imaging.geometry import Plan, Plans

_REDUCING_GAP = 1.5
"""Boxes of whole pixels are averaged until this many are left per pixel of the thumbnail. On photos of all
formats: SSIM to resampling all pixels is .9965 at least, against .997 for 2.5, which takes
4 % longer for a JPEG of 12 MP and a quarter longer for small files."""
_SHARED_GAP = 2.0
"""The same for several thumbnails, whose factors no single step suits: SSIM .996 at least, against .9947."""
_BAND_PIXELS = 1 << 16
"""Few enough for the processor's second cache; measured: 2**18 takes a fifth longer."""
_SUPPORT = 3
"""Pixels of the result that the Lanczos filter reaches to each side."""
PIXEL_BYTES = {"L": 1, "I;16": 2, "LA": 2, "RGB": 3, "RGBA": 4, "RGBa": 4}
"""Of a mode of which `raw_by_bands` takes pixels: the bytes of one."""
_AVERAGEABLE = {"L", "RGB", "CMYK", "RGBa", "La", "LAB", "I", "F"}

Convert = Callable[[Image.Image], Image.Image]
"""From a picture as it was stored to one of a mode whose pixels can be averaged."""


def shrink(image: Image.Image, wanted: Plans) -> list[Image.Image]:
    """Cut thumbnails out of a decoded picture and scale them down.

    Returns:
        For each plan a picture of its size, of mode L, RGB, RGBa, La, CMYK, LAB, I or F.

    """
    if _is_averageable(image) and (len(wanted.each) == 1 or _steps(wanted) == (1, 1)):
        return [_resized(image, plan, _gap(wanted)) for plan in wanted.each]
    return by_bands(image, wanted, to_resizable)


def by_bands(image: Image.Image, wanted: Plans, convert: Convert) -> list[Image.Image]:
    """As `shrink`; each band of rows is converted to a resizable mode."""
    reducer = Reducer(wanted, convert)
    for top in range(0, image.height, reducer.band_rows):
        bottom = min(top + reducer.band_rows, image.height)
        reducer.add(image.crop((0, top, image.width, bottom)))
    return reducer.finish()


def raw_by_bands(mode: str, data: memoryview, stride: int, wanted: Plans) -> list[Image.Image]:
    """As `shrink`, of pixels in a buffer, as decoders other than Pillow's return them.

    Buys a fifth of the time of a whole AVIF: Pillow's copy of the picture, which is written to fresh memory.

    Args:
        mode: Pillow's name of the pixels' layout.
        data: the rows, without gaps within a pixel.
        stride: bytes from one row to the next.
        wanted: boxes and sizes of the results.

    Raises:
        ValueError: there are not enough bytes.

    """
    (left, right), (first, last) = _window(wanted)
    width, pixel = right - left, PIXEL_BYTES[mode]
    reducer = Reducer(wanted.cropped(left, first, (width, last - first)))
    for top in range(first, last, reducer.band_rows):
        rows = min(reducer.band_rows, last - top)
        band = data[top * stride + left * pixel : (top + rows) * stride]
        reducer.add(Image.frombytes(mode, (width, rows), band, "raw", mode, stride, 1))
    return reducer.finish()


def to_resizable(image: Image.Image) -> Image.Image:
    """Convert a picture to a mode whose pixels can be averaged, alpha premultiplied."""
    if _is_averageable(image):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I;16"):
        return image.convert("I")
    if image.mode == "LA":
        return image.convert("La")
    if image.mode in {"RGBA", "PA"} or "transparency" in image.info:
        return image.convert("RGBA").convert("RGBa")
    return image.convert("RGB")


def _is_averageable(image: Image.Image) -> bool:
    """Tell whether pixels can be averaged as they are; not where one colour or level is transparent."""
    return image.mode in _AVERAGEABLE and "transparency" not in image.info


class Reducer:
    """Takes a picture in bands of rows, from the top, averages each, and keeps no band."""

    def __init__(self, wanted: Plans, convert: Convert = to_resizable) -> None:
        """Prepare for a picture; `convert` turns each band into a mode that can be resized."""
        self._wanted = wanted
        self._convert = convert
        self._factors = _steps(wanted)
        self._spans = _window(wanted)
        step = self._factors[1]
        self.band_rows = step * max(1, _BAND_PIXELS // (wanted.size[0] * step))
        """Rows of every band but the last."""
        self._rows = 0
        self._reduced: Image.Image | None = None

    def add(self, band: Image.Image, skip: int = 0) -> None:
        """Average one band, without its first `skip` rows."""
        (left, right), (top, bottom) = self._spans
        rows = band.height - skip
        start, self._rows = self._rows, self._rows + rows
        if self._rows <= top or start >= bottom:
            return
        across, down = self._factors
        piece = self._convert(band.crop((left, skip, right, band.height))).reduce((across, down))
        if self._reduced is None:
            size = (-(-(right - left) // across), -(-(bottom - top) // down))
            self._reduced = Image.new(piece.mode, size)
        self._reduced.paste(piece, (0, (start - top) // down))

    def finish(self) -> list[Image.Image]:
        """Return for each plan the picture of its size."""
        if self._reduced is None:
            raise ValueError("There is no band.")
        (left, _), (top, _) = self._spans
        return [
            _resized(self._reduced, plan.moved(-left, -top).scaled(*self._factors), _gap(self._wanted))
            for plan in self._wanted.each
        ]


def averaged_pixels(wanted: Plans) -> int:
    """How many pixels are kept, of all that are averaged, until the thumbnails are cut out of them."""
    ((left, right), (top, bottom)), (across, down) = _window(wanted), _steps(wanted)
    return (right - left) * (bottom - top) // (across * down)


def _resized(image: Image.Image, plan: Plan, gap: float) -> Image.Image:
    return image.resize(plan.size, Image.Resampling.LANCZOS, plan.box, gap)


def _gap(wanted: Plans) -> float:
    return _REDUCING_GAP if len(wanted.each) == 1 else _SHARED_GAP


def _steps(wanted: Plans) -> tuple[int, int]:
    """Return how many pixels across and down are averaged to one before the resampling."""
    (across, down), gap = wanted.factors, _gap(wanted)
    return max(1, int(across / gap)), max(1, int(down / gap))


def _window(wanted: Plans) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the columns and the rows, each first and last, that the resampling reaches, in whole steps."""
    (width, height), (step_across, step_down) = wanted.size, _steps(wanted)
    columns, rows = [], []
    for plan in wanted.each:
        (left, top, right, bottom), (across, down) = plan.box, plan.factors
        columns.append(_span(left, right, across, step_across, width))
        rows.append(_span(top, bottom, down, step_down, height))
    return _hull(columns), _hull(rows)


def _hull(spans: list[tuple[int, int]]) -> tuple[int, int]:
    starts, ends = zip(*spans, strict=True)
    return min(starts), max(ends)


def _span(start: float, end: float, factor: float, step: int, most: int) -> tuple[int, int]:
    reach = _SUPPORT * max(factor, 1)
    return max(0, int(start - reach)) // step * step, min(most, -int(-(end + reach) // step) * step)
