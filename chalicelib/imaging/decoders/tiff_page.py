"""The samples of a TIFF's page, one strip or tile after the other, as libtiff unpacks them."""

from collections.abc import Iterator
from ctypes import create_string_buffer

from PIL import Image

from chalicelib.imaging.decoders import libtiff, samples
from chalicelib.imaging.headers import tiff_layout as meaning
from chalicelib.imaging.headers.tiff import TiffHeader
from chalicelib.imaging.headers.tiff_layout import Layout

_MOST_AT_ONCE = 1 << 20
"""Bytes of samples that are converted in one step."""
_LEAST_MEMORY = 1 << 24
"""Bytes that libtiff may allocate together for a page of small strips or tiles."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom edge, in pixels of the page."""
Planes = tuple[list[Image.Image], Image.Image | None]
"""Each colour of a page as a picture of mode L, and its alpha."""


class Page:
    """A page whose layout Pillow does not read."""

    def __init__(self, header: TiffHeader, layout: Layout, content: bytes) -> None:
        """Prepare for reading the page of a file that `header` and `layout` describe."""
        self.size = header.width, header.height
        self.layout = layout
        self._content = header.stripped(content)

    def blocks(self) -> Iterator[tuple[int, Box, bytes]]:
        """Yield the plane, the box and the stored bytes of some rows of a strip or tile, up to the last.

        Rows are whole rows of the strip or tile; the box ends at the edges of the page.

        Raises:
            ValueError: a strip or tile is damaged or truncated.

        """
        layout, (width, height) = self.layout, self.size
        row = layout.row_bytes
        buffer = create_string_buffer(layout.piece_bytes)
        view = memoryview(buffer)
        rows_at_once = max(1, _MOST_AT_ONCE // row)
        with self._open() as file:
            if file.piece_bytes(tiled=layout.tiled) != layout.piece_bytes:
                raise ValueError("libtiff finds strips or tiles of another size.")
            number = 0
            for plane in range(layout.samples if layout.separate else 1):
                for left, top in self._corners():
                    rows = min(layout.piece[1], height - top)
                    if self._is_used(plane):
                        size = layout.piece_bytes if layout.tiled else rows * row
                        file.read(number, buffer, size, tiled=layout.tiled)
                        right = min(left + layout.piece[0], width)
                        for start in range(0, rows, rows_at_once):
                            end = min(start + rows_at_once, rows)
                            yield (
                                plane,
                                (left, top + start, right, top + end),
                                view[start * row : end * row].tobytes(),
                            )
                    number += 1

    def rgb(self) -> Image.Image:
        """Return the page as libtiff converts it to RGB.

        Raises:
            ValueError: a strip or tile is damaged or truncated.

        """
        (across, down), (width, height) = self.layout.piece, self.size
        page = Image.new("RGB", self.size)
        buffer = create_string_buffer(across * down * 4)
        view = memoryview(buffer)
        row = across * 4
        rows_at_once = max(1, _MOST_AT_ONCE // row)
        with self._open() as file:
            for left, top in self._corners():
                file.read_rgba(left, top, buffer, tiled=self.layout.tiled)
                # The rows of a last, shorter strip are at the start; those of a tile are always all there.
                stored = down if self.layout.tiled else min(down, height - top)
                size = min(across, width - left), min(stored, height - top)
                for start in range(0, size[1], rows_at_once):
                    end = min(start + rows_at_once, size[1])
                    rows = view[(stored - end) * row : (stored - start) * row]
                    band = Image.frombytes("RGB", (across, end - start), rows, "raw", "RGBX", 0, -1)
                    page.paste(band.crop((0, 0, size[0], end - start)), (left, top + start))
        return page

    def used(self, plane: int) -> list[tuple[int, int]]:
        """List each sample of a plane that means something, and its place among those side by side."""
        layout = self.layout
        if layout.separate:
            return [(plane, 0)]
        alpha = [] if layout.alpha is None else [layout.alpha]
        return [(index, index) for index in [*range(layout.colours), *alpha]]

    def _is_used(self, plane: int) -> bool:
        return not self.layout.separate or plane < self.layout.colours or plane == self.layout.alpha

    def _corners(self) -> Iterator[tuple[int, int]]:
        for top in range(0, self.size[1], self.layout.piece[1]):
            for left in range(0, self.size[0], self.layout.piece[0]):
                yield left, top

    def _open(self) -> libtiff.File:
        (width, height) = self.layout.piece
        return libtiff.File(
            self._content, most=max(_LEAST_MEMORY, 2 * self.layout.piece_bytes, 4 * width * height)
        )


class Assembly:
    """Puts together the planes of a page from pieces of mode L."""

    def __init__(self, page: Page) -> None:
        """Start with no plane."""
        self._page = page
        self._planes: dict[int, Image.Image] = {}

    def add(self, index: int, box: Box, piece: Image.Image) -> None:
        """Put a piece of one sample in its place; what lies beyond the box is dropped."""
        if index not in self._planes:
            self._planes[index] = Image.new("L", self._page.size)
        self._planes[index].paste(piece.crop((0, 0, box[2] - box[0], box[3] - box[1])), box)

    def planes(self) -> Planes:
        """Return the finished planes."""
        layout = self._page.layout
        colours = [self._planes[index] for index in range(layout.colours)]
        return colours, None if layout.alpha is None else self._planes[layout.alpha]


def planes(page: Page) -> Planes:
    """Read a page and reduce its samples to 8 bits; the indices of a palette are left as they are.

    The second and third sample of CIE L*a*b* become unsigned: 128 stands for 0.
    """
    layout = page.layout
    natural = samples.scale(layout.bits)
    inverted = bytes(255 - value for value in natural)
    unsigned = bytes(value ^ 0x80 for value in range(256))
    assembly = Assembly(page)
    for plane, box, rows in page.blocks():
        reduced = samples.top_bytes(rows, layout.row_bytes, layout.bits, layout.piece[0] * layout.together)
        for index, place in page.used(plane):
            table = natural if layout.bits < 8 else None  # noqa: PLR2004 - bits
            if index != layout.alpha:
                if layout.photometric == meaning.PALETTE:
                    table = None
                elif layout.photometric == meaning.WHITE_IS_0 and not layout.premultiplied:
                    table = inverted
                elif layout.photometric == meaning.CIE_LAB and index > 0:
                    table = unsigned
            piece = samples.channel(reduced, place, layout.together, 1)
            if table is not None:
                piece = piece.translate(table)
            assembly.add(index, box, Image.frombytes("L", (layout.piece[0], box[3] - box[1]), piece))
    return assembly.planes()
