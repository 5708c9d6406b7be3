"""JPEG inside TIFF, each sample in strips or tiles of its own."""

from typing import Any

import pytest
from PIL import Image

from chalicelib.imaging import headers, render
from chalicelib.imaging.headers.tiff import TiffHeader
from chalicelib.spec import ThumbnailSpec
from tests.pictures import encode
from tests.test_imaging_rare_limits import tags_of
from tests.tiffs import Written, assemble

SIZE = (64, 48)
PLANES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "grey": (1, (77, 128), (0,), (77,)),
    "grey and alpha": (1, (77, 128), (2,), (77, 128)),
    "grey and alpha of an opaque picture": (1, (77, 255), (2,), (77, 255)),
    "grey and alpha, 0 is white": (0, (178, 128), (2,), (77, 128)),
    "grey multiplied by alpha": (1, (77, 128), (1,), (153, 128)),
    "grey and alpha without ExtraSamples": (1, (77, 128), (), (77, 128)),
    "RGB": (2, (200, 60, 30), (), (200, 60, 30)),
    "RGB and alpha": (2, (200, 60, 30, 128), (2,), (200, 60, 30, 128)),
    "RGB and more": (2, (200, 60, 30, 10, 9), (0, 0), (200, 60, 30)),
    "CMYK": (5, (0, 200, 230, 20), (), (0, 200, 230, 20)),
}
"""PhotometricInterpretation, the samples, ExtraSamples, and the colour with its alpha."""


def written(photometric: int, samples: tuple[int, ...], extras: tuple[int, ...], **stored: Any) -> bytes:
    how = Written(photometric, extras=extras, separate=True, tags={259: ("H", (7,))}, **stored)
    side = (how.tile, how.tile) if how.tile else (SIZE[0], how.rows or SIZE[1])
    count = -(-SIZE[0] // side[0]) * -(-SIZE[1] // side[1])
    planes = [encode(Image.new("L", side, sample), "JPEG", quality=95) for sample in samples]
    pieces = [plane for plane in planes for _ in range(count)]
    return assemble(tags_of(how, SIZE, len(samples), how.rows or SIZE[1]), pieces, how)


@pytest.mark.parametrize("stored", [{}, {"rows": 16}, {"tile": 32}], ids=["a strip", "strips", "tiles"])
@pytest.mark.parametrize("kind", PLANES)
def test_planes_of_jpeg(kind: str, stored: dict[str, Any]) -> None:
    photometric, samples, extras, colour = PLANES[kind]
    content = written(photometric, samples, extras, **stored)
    source_format, header = headers.read(content)
    assert isinstance(header, TiffHeader)
    small = render.render(source_format, header, content, [ThumbnailSpec(*SIZE)]).images[0]
    found = small.convert("RGB").getpixel((40, 30))
    assert isinstance(found, tuple)
    if photometric == 5:
        wanted = Image.new("CMYK", (1, 1), colour).convert("RGB").getpixel((0, 0))
        assert isinstance(wanted, tuple)
    else:
        bands, alpha = (colour, 255) if len(colour) in {1, 3} else (colour[:-1], colour[-1])
        wanted = tuple((band * alpha + 255 * (255 - alpha)) // 255 for band in bands * (3 // len(bands)))
    assert all(abs(one - other) <= 3 for one, other in zip(found, wanted, strict=True)), (found, wanted)
