"""Where in a picture people look first: edges, colours that stand out, and skin.

The signs are those of `smartcrop`'s attention in libvips and sharp. Unlike there, colours count by how far
they are from the picture's usual one and not by their saturation, so that a grey animal stands out from
leaves; and what counts is the whole of the crop, more in its middle than at its rims, and not the one
strongest point. docs/imaging.md says what that gains.

Whole numbers alone: the same picture gives the same crop everywhere.
"""

from functools import cache

from PIL import Image, ImageChops, ImageFilter

_SIDE = 24
"""Pixels of the crop's shorter side, at least, on which is decided: fewer lose faces, more find texture."""
_SKIN_BLUE, _SKIN_RED = (70, 85, 122, 134), (128, 138, 168, 182)
"""Cb and Cr of skin of any tone: certain between the inner numbers, out of the question beyond the outer
ones. Around the ranges of Chai and Ngan, "Face segmentation using skin-color map in videophone applications"
(1999)."""
_SKIN_LIGHT = (20, 50, 240, 256)
"""The same of its brightness: what is nearly black or blown out has no colour that could be told."""
_SKIN = 25
"""Skin counts as much as a colour that is so many levels from the usual one; edges count twice."""
_SQUARES = [0] * 255 + [value**2 for value in range(256)]


def crop(image: Image.Image, size: tuple[int, int], background: tuple[int, int, int]) -> Image.Image:
    """Cut the part out of a picture to which eyes are drawn.

    Args:
        image: of mode RGB or RGBA, upright.
        size: of the part; one of its sides is as long as the picture's, the other one shorter or as long.
        background: the sRGB colour on which transparent parts are judged, also where they stay so.

    """
    left, top = place(image, size, background)
    return image.crop((left, top, left + size[0], top + size[1]))


def place(image: Image.Image, size: tuple[int, int], background: tuple[int, int, int]) -> tuple[int, int]:
    """Return how far from the left and from the top the part starts."""
    if image.size == size:
        return 0, 0
    step = max(1, min(size) // _SIDE)
    across = image.width > size[0]
    small = image.reduce(step)
    if small.mode == "RGBA":
        opaque = Image.new("RGB", small.size, background)
        opaque.paste(small, mask=small.getchannel("A"))
        small = opaque
    profile = _profile(small, across=across)
    length, most = (size[0], image.width - size[0]) if across else (size[1], image.height - size[1])
    start = min(_best(profile, max(1, round(length / step))) * step, most)
    return (start, 0) if across else (0, start)


def _best(profile: list[int], length: int) -> int:
    """Return where the window starts that holds most; of equal ones, the one nearest to the middle.

    Values count by a parabola that is 1 in the middle of the window and 0 at its ends.
    """
    weights = [(length + 1) ** 2 - (2 * index + 1 - length) ** 2 for index in range(length)]
    last = max(0, len(profile) - length)
    starts = sorted(range(last + 1), key=lambda start: abs(2 * start - last))
    return max(starts, key=lambda start: sum(map(int.__mul__, weights, profile[start : start + length])))


def _profile(small: Image.Image, *, across: bool) -> list[int]:
    """Sum up what draws attention in each column (`across`), or in each row; what is usual counts nothing."""
    drawing = _drawing(small)
    squares = _SQUARES[255 - _median(drawing) :]  # of how far a value is above the usual one
    data = drawing.tobytes()
    width = small.width
    lines = (
        (data[column::width] for column in range(width))
        if across
        else (data[start : start + width] for start in range(0, len(data), width))
    )
    return [sum(map(squares.__getitem__, line)) for line in lines]


def _drawing(small: Image.Image) -> Image.Image:
    """Return how much each pixel draws attention, 0 to 255."""
    light, blue, red = small.convert("YCbCr").split()
    edges = ImageChops.difference(light, light.filter(ImageFilter.BoxBlur(1)))
    skin = ImageChops.multiply(blue.point(_table(_SKIN_BLUE, 255)), red.point(_table(_SKIN_RED, 255)))
    skin = ImageChops.multiply(skin, light.point(_table(_SKIN_LIGHT, _SKIN)))
    colours = ImageChops.add(_distance(blue), _distance(red))
    return ImageChops.add(ImageChops.add(edges, edges), ImageChops.add(colours, skin))


def _distance(chroma: Image.Image) -> Image.Image:
    """Return how far each colour is from the usual one."""
    return ImageChops.difference(chroma, Image.new("L", chroma.size, _median(chroma)))


def _median(plane: Image.Image) -> int:
    left = plane.width * plane.height / 2
    for level, count in enumerate(plane.histogram()):
        left -= count
        if left <= 0:
            return level
    return 255


@cache
def _table(certain: tuple[int, int, int, int], most: int) -> list[int]:
    """Return `most` between the two inner levels, less on both sides, and 0 from the outer ones on."""
    none, low, high, beyond = certain
    return [
        int(most * max(0, min(1, (level - none) / (low - none), (beyond - level) / (beyond - high))))
        for level in range(256)
    ]
