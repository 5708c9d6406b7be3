"""GIF: the first frame, decoded by Pillow, on a canvas that is transparent where the frame does not lie."""

from io import BytesIO

from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from chalicelib.imaging.decoders.decoded import Decoded
from chalicelib.imaging.geometry import plans
from chalicelib.imaging.headers.gif import GifHeader
from chalicelib.imaging.shrink import Reducer, shrink
from chalicelib.spec import Specs


def decode(header: GifHeader, content: bytes, specs: Specs) -> Decoded:
    """Decode the first frame of a GIF and shrink it.

    Raises:
        ValueError: the frame has no pixels, or another size than its header says.

    """
    left, top, right, bottom = header.box
    if left == right or top == bottom:
        raise ValueError("The first frame has no pixels.")
    wanted = plans(header.width, header.height, header.orientation, specs)
    with GifImageFile(BytesIO(header.cut_out(content))) as frame:
        if frame.size != (right - left, bottom - top):
            raise ValueError(f"The header says {header.box}, the decoder {frame.size}.")
        frame.load()
        if header.covered:
            return Decoded(shrink(frame, wanted), wanted.size, header.orientation, header.profile)
        # The canvas is never whole in memory.
        reducer = Reducer(wanted)
        for first in range(0, header.height, reducer.band_rows):
            last = min(first + reducer.band_rows, header.height)
            band = Image.new("RGBA", (header.width, last - first))
            if first < bottom and last > top:
                rows = frame.crop((0, max(first - top, 0), frame.width, min(last, bottom) - top))
                band.paste(rows.convert("RGBA"), (left, max(top - first, 0)))
            reducer.add(band)
    return Decoded(reducer.finish(), wanted.size, header.orientation, header.profile)
