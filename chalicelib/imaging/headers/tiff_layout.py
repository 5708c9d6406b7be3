"""How the samples of a TIFF lie in the file, for the layouts that Pillow does not read, or reads wrongly.

Which those are was found by decoding constructed files of every kind; docs/imaging.md names them.
"""

from dataclasses import dataclass, replace

from chalicelib.errors import UnsupportedFormat
from chalicelib.imaging.headers import tiff_pieces
from chalicelib.imaging.headers import tiff_tags as tag
from chalicelib.imaging.headers.header import undecodable
from chalicelib.imaging.headers.tiff_pieces import Pieces, Tags

_PIECE = 1 << 20
"""Bytes of the strips that a page's only strip is divided into when it is not compressed."""
MAX_SAMPLES = 256
"""Samples a pixel; files of satellites have some tens."""

_PIECE_TAGS = {
    *(tag.STRIPS, tag.STRIP_ROWS, tag.STRIP_BYTES),
    *(tag.TILE_WIDTH, tag.TILE_HEIGHT, tag.TILES, tag.TILE_BYTES),
}

WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, CMYK, YCBCR, CIE_LAB, ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
"""Values of PhotometricInterpretation."""
UNSIGNED, SIGNED, FLOATING, _UNDEFINED = 1, 2, 3, 4
"""Values of SampleFormat."""
_NONE, _CCITT, _JPEG = 1, {2, 3, 4}, 7
"""Values of Compression."""
_PREMULTIPLIED, _ALPHA, _COREL_ALPHA = 1, 2, 999
"""Values of ExtraSamples; the last is Corel Draw's."""
_COLOURS = {WHITE_IS_0: 1, BLACK_IS_0: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, CIE_LAB: 3, ICC_LAB: 3}
_STRETCHED = {(SIGNED, 8), (SIGNED, 16), (SIGNED, 32), (UNSIGNED, 32)} | {(FLOATING, n) for n in (16, 32, 64)}
"""Sample formats and bits whose samples have no white and black of their own."""

_OPTIONAL_ALPHA = {(), (0,), (_PREMULTIPLIED,), (_ALPHA,)}
_PILLOW: dict[tuple[int, int], dict[int, set[tuple[int, ...]]]] = {
    **{(kind, bits): {1: {()}} for kind in (WHITE_IS_0, BLACK_IS_0) for bits in (1, 2, 4, 8, 16)},
    **{(PALETTE, bits): {1: {()}} for bits in (1, 2, 4, 8)},
    (BLACK_IS_0, 8): {1: {()}, 2: _OPTIONAL_ALPHA - {()}},
    (RGB, 8): {3: {()}, 4: _OPTIONAL_ALPHA | {(_COREL_ALPHA,)}, 5: {(0, 0), (1, 0), (2, 0)}},
    (RGB, 16): {3: {()}, 4: _OPTIONAL_ALPHA},
    (PALETTE, 8): {1: {()}, 2: {(0,), (_ALPHA,)}},
    (CMYK, 8): {4: {()}, 5: {(0,)}},
    (CMYK, 16): {4: {()}},
    (CIE_LAB, 8): {3: {()}},
}
"""What Pillow reads rightly when all samples of a pixel lie together: by PhotometricInterpretation and
bits, and by samples a pixel, the ExtraSamples."""
_PILLOW_SEPARATE: set[tuple[int, int, tuple[int, ...]]] = {(RGB, 3, ()), (CMYK, 4, ())}
"""Likewise of 8 bits a sample when each sample has strips or tiles of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The samples of a page whose strips or tiles the service reads one by one.

    `samples` lie in a pixel, each of `bits` and `sample_format`; the first `colours` of them are what
    `photometric` says, the one at `alpha` (None: there is none) says how opaque the pixel is, the others
    mean nothing. `separate` says that each sample has pieces of its own, `piece` is the width and height of
    a strip or tile in pixels. `no_data` is the value of samples that were not measured.
    """

    photometric: int
    bits: int
    sample_format: int
    samples: int
    alpha: int | None
    premultiplied: bool
    separate: bool
    tiled: bool
    piece: tuple[int, int]
    no_data: float | None

    @property
    def colours(self) -> int:
        """Samples a pixel that are colours."""
        return _COLOURS[self.photometric]

    @property
    def stretched(self) -> bool:
        """Whether black and white follow from the samples themselves."""
        return (self.sample_format, self.bits) in _STRETCHED

    @property
    def together(self) -> int:
        """Samples of a pixel that lie side by side."""
        return 1 if self.separate else self.samples

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a strip or tile; rows start at whole bytes."""
        return (self.piece[0] * self.together * self.bits + 7) // 8

    @property
    def piece_bytes(self) -> int:
        """Bytes of a strip or tile."""
        return self.row_bytes * self.piece[1]

    def memory(self, pixels: int) -> int:
        """Count a byte for each sample that is used and two for palettes and masks, and one strip or tile."""
        if self.photometric == YCBCR:
            # Pillow's picture, a piece as RGBA, and what libtiff unpacks it from.
            return pixels * 4 + self.piece[0] * self.piece[1] * 8
        return pixels * (self.colours + 3) + self.piece_bytes + 8 * max(_PIECE, self.row_bytes)


def read(tags: Tags, size: tuple[int, int], no_data: float | None, length: int) -> tuple[Layout | None, Tags]:
    """Find out how a page is to be read.

    Args:
        tags: of the page.
        size: its width and height.
        no_data: the value of samples that were not measured.
        length: of the file, in bytes.

    Returns:
        None when Pillow reads the page rightly, or its layout; and the tags for the decoder.

    Raises:
        UnsupportedFormat: samples of a kind that is not read.
        TooComplex: more strips or tiles than a real picture has.
        TooManyPixels: more bytes of samples than are unpacked in a reasonable time.
        UndecodablePicture: strips or tiles that do not fit the picture.

    """
    tags = _corrected(tags)

    def value(number: int, default: int) -> int:
        return tags.get(number, (default,))[0]

    formats = set(tags.get(tag.FORMAT, ())) or {UNSIGNED}
    photometric, bits = value(tag.PHOTOMETRIC, -1), tags.get(tag.BITS, (1,))
    # Pillow reads JPEG where the samples lie together or libtiff makes RGB of them. Planes it takes for those
    # of the usual layouts, and of grey with alpha it makes white.
    jpeg = value(tag.COMPRESSION, _NONE) == _JPEG and (value(tag.PLANES, 1) == 1 or photometric == YCBCR)
    if (
        jpeg
        or value(tag.COMPRESSION, _NONE) in _CCITT
        or (formats == {UNSIGNED} and _is_for_pillow(tags, value(tag.COMPRESSION, _NONE)))
    ):
        return None, tags
    if (
        photometric not in _COLOURS
        or len(set(bits)) > 1
        or len(formats) > 1
        or not _is_read(photometric, bits[0], *formats)
    ):
        raise UnsupportedFormat(
            "This TIFF stores its colours in a way that is not accepted; save it with 8 or 16 bits a sample."
        )
    samples, colours = value(tag.SAMPLES, 1), _COLOURS[photometric]
    if samples < colours:
        raise undecodable()
    extras = tags.get(tag.EXTRAS) or ((_ALPHA,) if samples == colours + 1 and photometric != CMYK else ())
    alpha = next(
        (
            index
            for index, kind in enumerate(extras[: samples - colours])
            if kind in {_PREMULTIPLIED, _ALPHA, _COREL_ALPHA}
        ),
        None,
    )
    pieces = tiff_pieces.divided(tags, size)
    layout = Layout(
        photometric=photometric,
        bits=bits[0],
        sample_format=formats.pop(),
        samples=samples,
        alpha=None if alpha is None else colours + alpha,
        premultiplied=alpha is not None and extras[alpha] == _PREMULTIPLIED,
        separate=value(tag.PLANES, 1) == 2,  # noqa: PLR2004 - TIFF's number
        tiled=pieces.tiled,
        piece=pieces.size,
        no_data=no_data,
    )
    return _in_pieces(layout, tags, size, length)


def _corrected(tags: Tags) -> Tags:
    """Put right what careless writers leave out, or write in their own way."""
    corrected = dict(tags)
    bits = tags.get(tag.BITS, (1,))
    if tag.SAMPLES not in tags and len(bits) > 1:
        corrected[tag.SAMPLES] = (len(bits),)
    samples = corrected.get(tag.SAMPLES, (1,))[0]
    corrected[tag.BITS] = bits[:samples] if len(bits) != 1 else tuple(bits) * min(samples, MAX_SAMPLES)
    if samples > MAX_SAMPLES or len(corrected[tag.BITS]) != samples:
        raise undecodable()
    if samples == 1:
        corrected.pop(tag.PLANES, None)
    formats = tags.get(tag.FORMAT, ())
    if set(formats) == {_UNDEFINED}:
        del corrected[tag.FORMAT]
    colour_map = tags.get(tag.COLOUR_MAP, ())
    if colour_map and max(colour_map) < 256:  # noqa: PLR2004 - libtiff's rule: then they are of 8 bits
        corrected[tag.COLOUR_MAP] = [entry * 257 for entry in colour_map]
    if tag.PHOTOMETRIC not in tags and tags.get(tag.COMPRESSION, (_NONE,))[0] not in _CCITT:
        corrected[tag.PHOTOMETRIC] = (RGB if samples >= 3 else BLACK_IS_0,)  # noqa: PLR2004 - red, green and blue
    return corrected


def _is_for_pillow(tags: Tags, compression: int) -> bool:
    samples, photometric, bits = tags.get(tag.SAMPLES, (1,))[0], tags[tag.PHOTOMETRIC][0], tags[tag.BITS]
    extras, fill_order = tuple(tags.get(tag.EXTRAS, ())), tags.get(tag.FILL_ORDER, (1,))[0]
    if tags.get(tag.PLANES, (1,))[0] != 1:
        return bits[0] == 8 and fill_order == 1 and (photometric, samples, extras) in _PILLOW_SEPARATE  # noqa: PLR2004
    if photometric == YCBCR:
        whole = tuple(tags.get(tag.YCBCR_SUBSAMPLING, (2, 2))) == (1, 1)
        return bits[0] == 8 and samples == 3 and not extras and (compression != _NONE or whole)  # noqa: PLR2004
    if fill_order != 1 and (bits[0] > 8 or samples > 1 or photometric == PALETTE):  # noqa: PLR2004 - bits
        return False
    return len(set(bits)) == 1 and extras in _PILLOW.get((photometric, bits[0]), {}).get(samples, set())


def _is_read(photometric: int, bits: int, sample_format: int) -> bool:
    if photometric == YCBCR:
        return (sample_format, bits) == (UNSIGNED, 8)
    if photometric in {CIE_LAB, ICC_LAB}:
        # The second and third sample of CIE L*a*b* are signed, whatever SampleFormat says.
        return bits in {8, 16} and sample_format in {UNSIGNED, SIGNED}
    if photometric == PALETTE:
        return bits <= 8 and sample_format == UNSIGNED  # noqa: PLR2004
    if sample_format == UNSIGNED and bits <= 16:  # noqa: PLR2004
        return bits > 0
    return photometric != CMYK and (sample_format, bits) in _STRETCHED


def _in_pieces(layout: Layout, tags: Tags, size: tuple[int, int], length: int) -> tuple[Layout, Tags]:
    """Check the strips or tiles and put them into the tags, those that are not compressed in small pieces.

    Their byte counts are written anew: of samples that are not compressed they follow from the layout, and
    those of the file are often wrong.
    """
    width, height = layout.piece
    planes = layout.samples if layout.separate else 1
    count = tiff_pieces.counted(Pieces(layout.tiled, layout.piece), size, planes, layout.piece_bytes)
    starts = (tags.get(tag.TILES) if layout.tiled else None) or tags.get(tag.STRIPS, ())
    lengths = (tags.get(tag.TILE_BYTES) if layout.tiled else None) or tags.get(tag.STRIP_BYTES, ())
    if len(starts) < count:
        raise undecodable()
    starts, lengths = list(starts[:count]), list(lengths[:count])
    tiff_pieces.refuse_sparse(starts)
    if tags.get(tag.COMPRESSION, (_NONE,))[0] == _NONE:
        if not layout.tiled and count == planes and layout.photometric != YCBCR:
            rows = max(1, _PIECE // layout.row_bytes)
            starts = [start + top * layout.row_bytes for start in starts for top in range(0, height, rows)]
            layout = replace(layout, piece=(width, min(rows, height)))
        lengths = _stored_lengths(layout, tags, size[1], len(starts))
    rest = [max(0, length - start) for start in starts]
    lengths = [min(*pair) for pair in zip(lengths + rest[len(lengths) :], rest, strict=True)]
    kept = {number: values for number, values in tags.items() if number not in _PIECE_TAGS}
    if layout.tiled:
        return layout, kept | {
            tag.TILE_WIDTH: (width,),
            tag.TILE_HEIGHT: (height,),
            tag.TILES: starts,
            tag.TILE_BYTES: lengths,
        }
    return layout, kept | {tag.STRIP_ROWS: (layout.piece[1],), tag.STRIPS: starts, tag.STRIP_BYTES: lengths}


def _stored_lengths(layout: Layout, tags: Tags, height: int, count: int) -> list[int]:
    """Return the bytes of each strip or tile that is not compressed; a plane's last strip may be shorter."""
    across, down = layout.piece
    heights = [down] if layout.tiled else [min(down, height - top) for top in range(0, height, down)]
    if layout.photometric == YCBCR and not layout.separate:
        # Blocks of as many luma samples as share a pair of chroma samples (TIFF 6.0, section 21).
        wide, tall = tags.get(tag.YCBCR_SUBSAMPLING, (2, 2))
        if wide < 1 or tall < 1:
            raise undecodable()
        row = -(-across // wide) * (wide * tall + 2)
        sizes = [-(-rows // tall) * row for rows in heights]
    else:
        sizes = [rows * layout.row_bytes for rows in heights]
    return (sizes * -(-count // len(sizes)))[:count]
