"""AV1 (AV1 Bitstream & Decoding Process Specification): the sizes of its frames, and their colours."""

from collections.abc import Iterator
from dataclasses import dataclass

from chalicelib.imaging.headers.bits import Bits
from chalicelib.imaging.headers.header import undecodable

_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6
_HEADER_BYTES = 128
"""A sequence header of 32 operating points takes less; of a frame's header, only the start is needed."""
_SELECT = 2
"""What a frame decides for itself, as the sequence does not (5.5.1)."""
_KEY, _SWITCH = 0, 3
_LONGEST_SIZE = 8
"""Bytes of a leb128 number (4.10.5)."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """What a sequence header says (5.5).

    `width` and `height` are the largest that its frames declare, in pixels; `most` is what a frame may reach
    that states its own size. `colour` are the primaries and the transfer by H.273, if they are given.
    """

    width: int
    height: int
    most: tuple[int, int]
    deep: bool
    colour: tuple[int, int] | None
    reduced: bool
    presentation_bits: int
    screen_content: int
    integer_vectors: int
    frame_id_bits: int


def units(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield type and content of each open bitstream unit (5.3).

    Raises:
        UndecodablePicture: a size that is no number.

    """
    at = 0
    while at < len(data):
        header = data[at]
        at += 2 if header & 4 else 1
        end = len(data)
        if header & 2:
            size = 0
            for index in range(_LONGEST_SIZE):
                byte = data[at]
                at += 1
                size |= (byte & 127) << 7 * index
                if byte < 128:  # noqa: PLR2004 - the last byte has no highest bit
                    break
            else:
                raise undecodable()
            end = at + size
        yield header >> 3 & 15, data[at:end]
        at = end


def is_sequence(kind: int) -> bool:
    """Tell a sequence header by its unit's type."""
    return kind == _SEQUENCE_HEADER


def is_frame(kind: int) -> bool:
    """Tell a unit that starts with a frame's header by its type."""
    return kind in {_FRAME_HEADER, _FRAME}


def read_sequence(unit: memoryview) -> Sequence:
    """Read a sequence header (5.5.1).

    Raises:
        UndecodablePicture: it is cut off.

    """
    bits = Bits(bytes(unit[:_HEADER_BYTES]))
    profile = bits.take(3)
    bits.take(1)  # still_picture
    reduced = bits.flag()
    presentation_bits = 0
    if reduced:
        bits.take(5)
    else:
        presentation_bits = _skip_operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    width, height = bits.take(width_bits) + 1, bits.take(height_bits) + 1
    frame_id_bits = 0
    if not reduced and bits.flag():
        frame_id_bits = bits.take(4) + bits.take(3) + 3
    bits.take(3)
    screen_content = integer_vectors = _SELECT
    if not reduced:
        bits.take(4)
        ordered = bits.flag()
        bits.take(2 if ordered else 0)
        screen_content = _SELECT if bits.flag() else bits.take(1)
        if screen_content:
            integer_vectors = _SELECT if bits.flag() else bits.take(1)
        bits.take(3 if ordered else 0)
    bits.take(3)
    deep = bits.flag()
    if profile == 2 and deep:  # noqa: PLR2004 - the professional profile
        bits.take(1)
    if profile != 1:
        bits.take(1)  # mono_chrome
    colour = (bits.take(8), bits.take(8)) if bits.flag() else None
    return Sequence(
        width=width,
        height=height,
        most=(1 << width_bits, 1 << height_bits),
        deep=deep,
        colour=colour,
        reduced=reduced,
        presentation_bits=presentation_bits,
        screen_content=screen_content,
        integer_vectors=integer_vectors,
        frame_id_bits=frame_id_bits,
    )


def states_its_size(sequence: Sequence, unit: memoryview) -> bool:
    """Whether a frame has a size of its own in place of its sequence's (5.9.2, frame_size_override_flag)."""
    if sequence.reduced:
        return False
    bits = Bits(bytes(unit[:_HEADER_BYTES]))
    if bits.flag():  # show_existing_frame
        return False
    kind, shown = bits.take(2), bits.flag()
    bits.take(sequence.presentation_bits if shown else 1)
    if kind != _SWITCH and not (kind == _KEY and shown):
        bits.take(1)  # error_resilient_mode
    bits.take(1)  # disable_cdf_update
    screen_content = bits.take(1) if sequence.screen_content == _SELECT else sequence.screen_content
    if screen_content and sequence.integer_vectors == _SELECT:
        bits.take(1)
    bits.take(sequence.frame_id_bits)
    return kind == _SWITCH or bits.flag()


def _skip_operating_points(bits: Bits) -> int:
    """Pass over timing and operating points; return the bits of a shown frame's presentation time."""
    delay_bits = presentation_bits = 0
    if bits.flag():  # timing_info_present_flag
        bits.take(64)
        equal = bits.flag()
        if equal:
            bits.exponential()
        if bits.flag():  # decoder_model_info_present_flag
            delay_bits = bits.take(5) + 1
            bits.take(37)
            presentation_bits = 0 if equal else bits.take(5) + 1
            if equal:
                bits.take(5)
    delayed = bits.flag()
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:  # noqa: PLR2004 - levels from 4.0 on have a tier
            bits.take(1)
        if delay_bits and bits.flag():
            bits.take(2 * delay_bits + 1)
        if delayed and bits.flag():
            bits.take(4)
    return presentation_bits
