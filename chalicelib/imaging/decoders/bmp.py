"""BMP: by Pillow where it reads the pixels, else a band of rows at a time by palette or by masks."""

from io import BytesIO

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile

from chalicelib.imaging.decoders import samples
from chalicelib.imaging.decoders.decoded import Decoded
from chalicelib.imaging.geometry import plans
from chalicelib.imaging.headers.bmp import BmpHeader, Pixels
from chalicelib.imaging.shrink import Reducer, shrink
from chalicelib.spec import Specs

_ALPHA = 3
"""The place of alpha among the masks."""


def decode(header: BmpHeader, content: bytes, specs: Specs) -> Decoded:
    """Decode a bitmap and shrink it.

    Raises:
        ValueError: there are not enough rows.

    """
    wanted = plans(header.width, header.height, header.orientation, specs)
    pixels = header.pixels_apart
    if pixels is None:
        with BmpImageFile(BytesIO(content)) as image:
            if image.size != (header.width, header.height):
                raise ValueError(
                    f"The header says {header.width} x {header.height}, the decoder {image.size}."
                )
            image.load()
            opaque = image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)
            small = shrink(image.convert("RGB") if opaque else image, wanted)
            return Decoded(small, wanted.size, header.orientation, header.profile, space=header.space)
    if len(content) < pixels.offset + pixels.stride * header.height:
        raise ValueError("There are not enough rows.")
    reducer = Reducer(wanted)
    bands = [
        (top, min(top + reducer.band_rows, header.height))
        for top in range(0, header.height, reducer.band_rows)
    ]
    # A writer that knows nothing of alpha leaves it 0: then the picture is opaque.
    transparent = pixels.masks[_ALPHA] != 0 and any(
        any(_field(header, pixels, _rows(header, pixels, content, *band), pixels.masks[_ALPHA]))
        for band in bands
    )
    for top, bottom in bands:
        rows = _rows(header, pixels, content, top, bottom)
        size = header.width, bottom - top
        band = (
            _by_masks(header, pixels, rows, size, pixels.masks if transparent else pixels.masks[:_ALPHA])
            if pixels.bits > 8  # noqa: PLR2004 - bits
            else _by_palette(pixels, rows, size)
        )
        reducer.add(band.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if pixels.upside_down else band)
    return Decoded(reducer.finish(), wanted.size, header.orientation, header.profile, space=header.space)


def _rows(header: BmpHeader, pixels: Pixels, content: bytes, top: int, bottom: int) -> bytes:
    """Return rows as they are stored: of a bitmap that is stored upside down, the last one first."""
    first, last = (header.height - bottom, header.height - top) if pixels.upside_down else (top, bottom)
    return content[pixels.offset + first * pixels.stride : pixels.offset + last * pixels.stride]


def _by_palette(pixels: Pixels, rows: bytes, size: tuple[int, int]) -> Image.Image:
    indices = samples.top_bytes(rows, pixels.stride, pixels.bits, pixels.stride * 8 // pixels.bits)
    stored = Image.frombytes("L", (pixels.stride * 8 // pixels.bits, size[1]), indices)
    band = stored.crop((0, 0, *size))
    tables = [list(pixels.palette[channel::4].ljust(256, b"\0")) for channel in (2, 1, 0)]
    return Image.merge("RGB", [band.point(table) for table in tables])


def _by_masks(
    header: BmpHeader, pixels: Pixels, rows: bytes, size: tuple[int, int], masks: tuple[int, ...]
) -> Image.Image:
    channels = []
    for index, mask in enumerate(masks):
        taken, bits = _field(header, pixels, rows, mask), mask.bit_count()
        if 0 < bits < 8:  # noqa: PLR2004 - bits
            taken = taken.translate(samples.scale(bits) if index == _ALPHA else samples.middle(bits))
        channels.append(Image.frombytes("L", size, taken))
    return Image.merge("RGB" if len(channels) == _ALPHA else "RGBA", channels)


def _field(header: BmpHeader, pixels: Pixels, rows: bytes, mask: int) -> bytes:
    """Return the number that a mask takes out of each pixel, or its upper 8 bits."""
    size, height = pixels.bits // 8, len(rows) // pixels.stride
    if pixels.stride != header.width * size:
        stored = Image.frombytes("L", (pixels.stride, height), rows)
        rows = stored.crop((0, 0, header.width * size, height)).tobytes()
    if not mask:
        return bytes(header.width * height)
    columns = [rows[index::size] for index in reversed(range(size))]  # the uppermost byte comes last
    return samples.field(columns, pixels.bits - mask.bit_length(), mask.bit_count())
