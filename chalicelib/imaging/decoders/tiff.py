"""TIFF: by Pillow where it reads the layout rightly, else from the samples that libtiff unpacks."""

from collections.abc import Callable
from io import BytesIO

from PIL import Image, ImageChops
from PIL.TiffImagePlugin import TiffImageFile

from chalicelib.imaging.decoders import stretching, tiff_page
from chalicelib.imaging.decoders.decoded import Decoded
from chalicelib.imaging.decoders.tiff_page import Page
from chalicelib.imaging.geometry import Plans, plans
from chalicelib.imaging.headers import tiff_layout as meaning
from chalicelib.imaging.headers import tiff_tags as tag
from chalicelib.imaging.headers.tiff import TiffHeader
from chalicelib.imaging.headers.tiff_layout import Layout
from chalicelib.imaging.shrink import Reducer, shrink
from chalicelib.spec import Specs

_LAB = {meaning.CIE_LAB, meaning.ICC_LAB}
_MODES = {1: ("L", "LA", "La"), 3: ("RGB", "RGBA", "RGBa")}
"""By the number of colours: Pillow's mode without alpha, with it, and with colours multiplied by it."""


def decode(header: TiffHeader, content: bytes, specs: Specs) -> Decoded:
    """Decode the first page of a TIFF and shrink it."""
    wanted = plans(header.width, header.height, header.orientation, specs)
    layout = header.layout
    alphas = None
    if layout is None:
        images = _by_pillow(header, content, wanted)
    elif layout.photometric == meaning.YCBCR:
        images = shrink(Page(header, layout, content).rgb(), wanted)
    else:
        images, alphas = _by_samples(header, layout, content, wanted)
    return Decoded(images, wanted.size, header.orientation, header.profile, alphas)


def _by_pillow(header: TiffHeader, content: bytes, wanted: Plans) -> list[Image.Image]:
    with TiffImageFile(BytesIO(header.stripped(content))) as image:
        if image.size != (header.width, header.height):
            raise ValueError(f"The header says {header.width} x {header.height}, the decoder {image.size}.")
        # Pillow collects the bytes of a row in steps of this size, and copies what it has at each step.
        image.decodermaxblock = max(image.decodermaxblock, header.row_bytes)
        image.load()
        small = shrink(image, wanted)
    return [one.point(lambda sample: sample * -1 + 0xFFFF) for one in small] if header.inverted else small


def _by_samples(
    header: TiffHeader, layout: Layout, content: bytes, wanted: Plans
) -> tuple[list[Image.Image], list[Image.Image] | None]:
    """Return the pictures and, where no mode of Pillow's holds both, their alpha."""
    page = Page(header, layout, content)
    colours, alpha = stretching.planes(page) if layout.stretched else tiff_page.planes(page)
    multiplied = alpha is not None and layout.premultiplied
    if alpha is not None and multiplied:
        colours = [_as_multiplied(layout, index, colour, alpha) for index, colour in enumerate(colours)]
    if layout.photometric == meaning.PALETTE:
        palette = [value >> 8 for value in header.tags[tag.COLOUR_MAP]]
        return _paletted(colours[0], palette, alpha, wanted), None
    if layout.photometric not in _LAB and layout.photometric != meaning.CMYK:
        opaque, transparent, premultiplied = _MODES[layout.colours]
        mode = opaque if alpha is None else premultiplied if multiplied else transparent
        return _merged(mode, [*colours, *([alpha] if alpha else [])], wanted), None
    mode = "CMYK" if layout.photometric == meaning.CMYK else "LAB"
    if alpha is None:
        # Bands of CMYK and L*a*b* are averaged one by one, as they are.
        planes = [_merged("L", [colour], wanted) for colour in colours]
        return [Image.merge(mode, bands) for bands in zip(*planes, strict=True)], None
    weighed = [_merged("La" if multiplied else "LA", [colour, alpha], wanted) for colour in colours]
    straight = [[one.convert("LA") for one in of_a_size] for of_a_size in zip(*weighed, strict=True)]
    return (
        [Image.merge(mode, [one.getchannel("L") for one in bands]) for bands in straight],
        [bands[0].getchannel("A") for bands in straight],
    )


def _as_multiplied(layout: Layout, index: int, colour: Image.Image, alpha: Image.Image) -> Image.Image:
    """Correct a colour that was stored multiplied by alpha for what black, or 0, is to Pillow."""
    if layout.photometric == meaning.WHITE_IS_0:
        return ImageChops.subtract(alpha, colour)
    if layout.photometric in _LAB and index > 0:
        # 128 stands for 0, and it should have been multiplied, too.
        return ImageChops.add(colour, alpha.point([value * 128 // 255 for value in range(256)]), 1, -128)
    return colour


def _merged(mode: str, planes: list[Image.Image], wanted: Plans) -> list[Image.Image]:
    """Put planes together and shrink the picture, a band of rows at a time."""
    return _by_bands(planes, wanted, lambda bands: Image.merge(mode, bands) if len(bands) > 1 else bands[0])


def _paletted(
    indices: Image.Image, palette: list[int], alpha: Image.Image | None, wanted: Plans
) -> list[Image.Image]:
    """Look up colours and shrink the picture; a TIFF lists all reds, then all greens, then all blues."""
    count = len(palette) // 3
    tables = [(palette[start : start + count] + [0] * 256)[:256] for start in (0, count, 2 * count)]

    def coloured(bands: list[Image.Image]) -> Image.Image:
        colours = [bands[0].point(table) for table in tables]
        return Image.merge("RGBA" if len(bands) > 1 else "RGB", [*colours, *bands[1:]])

    return _by_bands([indices, *([alpha] if alpha else [])], wanted, coloured)


def _by_bands(
    planes: list[Image.Image], wanted: Plans, merge: Callable[[list[Image.Image]], Image.Image]
) -> list[Image.Image]:
    width, height = planes[0].size
    reducer = Reducer(wanted)
    for top in range(0, height, reducer.band_rows):
        box = (0, top, width, min(top + reducer.band_rows, height))
        reducer.add(merge([plane.crop(box) for plane in planes]))
    return reducer.finish()
