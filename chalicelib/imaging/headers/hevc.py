"""HEVC (ITU-T H.265): the sizes that its sequence parameter sets declare."""

from collections.abc import Iterator
from dataclasses import dataclass

from chalicelib.imaging.headers.bits import Bits

_PARAMETERS = 33
"""nal_unit_type of a sequence parameter set (table 7-1)."""
_PARAMETER_BYTES = 256
"""What is read of a parameter set: the sizes come first."""
_SETS = 22
"""Bytes before the parameter sets in `hvcC` (ISO/IEC 14496-15, 8.3.3.1.2)."""
_PROFILE_BITS, _LEVEL_BITS = 88, 8
_SUBLAYERS = 8
_SUBSAMPLING = {1: (2, 2), 2: (2, 1)}
"""By chroma_format_idc: pixels to a sample of colour, across and down (table 6-1)."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a sequence parameter set says (7.3.2.2), in pixels.

    `width` and `height` are of the part that is shown, `coded` of all that is decoded.
    """

    width: int
    height: int
    coded: tuple[int, int]
    deep: bool


def configured_units(configuration: memoryview) -> Iterator[memoryview]:
    """Yield the units in the content of an `hvcC` box."""
    at = _SETS + 1
    for _ in range(configuration[_SETS]):
        count = int.from_bytes(configuration[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            if at + 2 > len(configuration):
                return
            size = int.from_bytes(configuration[at : at + 2], "big")
            yield configuration[at + 2 : at + 2 + size]
            at += 2 + size


def length_size(configuration: memoryview) -> int:
    """Return the bytes of the length before each unit of a picture, by the content of its `hvcC` box."""
    return (configuration[_SETS - 1] & 3) + 1


def units(data: memoryview, size: int) -> Iterator[memoryview]:
    """Yield the units of a picture's data, each behind its length of `size` bytes."""
    at = 0
    while at + size < len(data):
        length = int.from_bytes(data[at : at + size], "big")
        yield data[at + size : at + size + length]
        at += size + length


def is_parameters(unit: memoryview) -> bool:
    """Tell a sequence parameter set of the base layer, the only one that is decoded (7.3.1.2)."""
    return len(unit) > 2 and unit[0] >> 1 & 63 == _PARAMETERS and not unit[0] & 1 and not unit[1] >> 3  # noqa: PLR2004 - the unit's header


def read_parameters(unit: memoryview) -> Parameters:
    """Read a sequence parameter set.

    Raises:
        UndecodablePicture: it is cut off.

    """
    # 7.3.1.1: a 3 after two zeros keeps the data from looking like a start code.
    bits = Bits(bytes(unit[2:_PARAMETER_BYTES]).replace(b"\0\0\3", b"\0\0"))
    bits.take(4)
    sublayers = bits.take(3)
    bits.take(1 + _PROFILE_BITS + _LEVEL_BITS)
    present = [(bits.flag(), bits.flag()) for _ in range(sublayers)]
    if sublayers:
        bits.take(2 * (_SUBLAYERS - sublayers))
    for profile, level in present:
        bits.take(profile * _PROFILE_BITS + level * _LEVEL_BITS)
    bits.exponential()
    chroma = bits.exponential()
    if chroma == 3 and bits.flag():  # noqa: PLR2004 - 4:4:4, in planes
        chroma = 0
    width, height = bits.exponential(), bits.exponential()
    left = right = top = bottom = 0
    if bits.flag():  # conformance_window_flag
        left, right, top, bottom = (bits.exponential() for _ in range(4))
    across, down = _SUBSAMPLING.get(chroma, (1, 1))
    return Parameters(
        width=width - across * (left + right),
        height=height - down * (top + bottom),
        coded=(width, height),
        deep=bits.exponential() > 0,
    )
