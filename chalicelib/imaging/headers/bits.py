"""Numbers that are not aligned to bytes, as AV1 and HEVC write them in their headers."""

from chalicelib.imaging.headers.header import undecodable

_LONGEST = 32
"""Bits of the largest number in Exp-Golomb code."""


class Bits:
    """Bits of a few hundred bytes, from the first byte's highest on."""

    def __init__(self, data: bytes) -> None:
        """Read from `data`; what is taken beyond it raises UndecodablePicture."""
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next `count` bits as an unsigned number."""
        self._left -= count
        if self._left < 0:
            raise undecodable()
        return self._value >> self._left & ((1 << count) - 1)

    def flag(self) -> bool:
        """Return the next bit."""
        return self.take(1) == 1

    def exponential(self) -> int:
        """Return a number in Exp-Golomb code: HEVC's ue(v) (H.265, 9.2), AV1's uvlc() (4.10.3)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros == _LONGEST:
                raise undecodable()
        return (1 << zeros) - 1 + self.take(zeros)
