"""`make screenshots`: docs/one-upload.png, what the service makes of docs/photo.jpg."""

from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from chalicelib.imaging import make_thumbnail
from chalicelib.spec import ThumbnailSpec, parse_sizes
from deploy import ROOT
from tests.thumbhashes import decoded

SIZES = "2x=200x200 card=300x200:contain:webp banner=420x100:png"
_GAP, _LABEL = 24, 40
_INK, _PALE, _PAPER = (36, 41, 47), (101, 109, 118), (255, 255, 255)


def draw() -> Image.Image:
    """Lay the pictures out in a row, each with its name, size and bytes below."""
    content = (ROOT / "docs" / "photo.jpg").read_bytes()
    sizes = parse_sizes(SIZES, ThumbnailSpec())
    made = make_thumbnail(content, ThumbnailSpec(), max_pixels=10**8, sizes=sizes)
    placeholder = decoded(made.placeholder).resize((100, 100), Image.Resampling.BICUBIC)
    shown = [(placeholder, "image.placeholder", f"{len(made.placeholder)} characters")]
    for name, one in (("the thumbnail", made), *made.sizes.items()):
        with Image.open(BytesIO(one.content)) as image:
            form = image.format
            shown.append(
                (image.convert("RGB"), name, f"{one.width} x {one.height} {form}, {len(one.content):,} B")
            )
    widths = [max(image.width, 150) for image, _, _ in shown]
    height = max(image.height for image, _, _ in shown)
    canvas = Image.new("RGB", (sum(widths) + _GAP * (len(shown) + 1), height + _LABEL + 2 * _GAP), _PAPER)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    left = _GAP
    for (picture, name, facts), width in zip(shown, widths, strict=True):
        canvas.paste(picture, (left, _GAP + height - picture.height))
        pen.text((left, _GAP + height + 6), name, _INK, font)
        pen.text((left, _GAP + height + 24), facts, _PALE, font)
        left += width + _GAP
    return canvas


if __name__ == "__main__":
    draw().quantize(128).save(ROOT / "docs" / "one-upload.png", optimize=True)
