"""How values of a record are written as text, for Redis and object metadata, and read again."""

import base64
import json
import re
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from chalicelib.records.record import EventKind, ImageFacts, OutboxEvent, Pixels, StoredSize
from chalicelib.spec import Focus

# As many digits as the index sorts by; they last until the year 2286.
_MILLISECONDS = re.compile(r"[0-9]{1,13}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SIZE = re.compile(r"([0-9]{1,9})\.([0-9]{1,4})\.([0-9]{1,4})\.([a-z]{3,4})")
_IMAGE = re.compile(r"([A-Z]{3,5})\.([0-9]{1,9})\.([0-9]{1,9})(?:\.([A-Za-z0-9+/=]{1,40}))?")
_RAW = -15
"""zlib's number for deflate without a header and a checksum."""
_MOST_TEXT = 4 * 255
"""Bytes of a file name of 255 characters."""


class Form(NamedTuple):
    """How a value is written as text, and read again; `read` raises ValueError."""

    write: Callable[[Any], str]
    read: Callable[[str], Any]


def _read_base64(text: str) -> str:
    return base64.b64decode(text, altchars=b"-_", validate=True).decode()


def _matching(pattern: re.Pattern[str], convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if not pattern.fullmatch(text):
            raise ValueError(f"{text!r} is not of the form {pattern.pattern}")
        return convert(text)

    return read


def _deflate(text: str) -> str:
    packed = zlib.compress(text.encode(), 9, wbits=_RAW)
    return base64.urlsafe_b64encode(packed).decode()


def _inflate(text: str) -> str:
    try:
        inflater = zlib.decompressobj(wbits=_RAW)
        return inflater.decompress(base64.b64decode(text, altchars=b"-_", validate=True), _MOST_TEXT).decode()
    except zlib.error as error:
        raise ValueError("it is not deflated") from error


def write_size(size: StoredSize) -> str:
    """Write a size without its name."""
    return f"{size.bytes}.{size.width}.{size.height}.{size.extension}"


def read_size(name: str, text: str) -> StoredSize:
    """Read what `write_size` wrote; raises ValueError for other text."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not of the form {_SIZE.pattern}")
    return StoredSize(name, int(found[1]), int(found[2]), int(found[3]), found[4])


def _read_sizes(text: str) -> tuple[StoredSize, ...]:
    return tuple(read_size(name, rest) for name, _, rest in (one.partition(".") for one in text.split(",")))


def _write_image(image: ImageFacts) -> str:
    known = (image.format, image.width, image.height, image.placeholder)
    return ".".join(str(one) for one in known if one is not None)


def _read_image(text: str) -> ImageFacts:
    found = _IMAGE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not of the form {_IMAGE.pattern}")
    return ImageFacts(found[1], int(found[2]), int(found[3]), found[4])


def _read_pixels(text: str) -> Pixels:
    width, _, height = text.partition("x")
    return Pixels(int(width), int(height))


TEXT = Form(str, str)
NUMBER = Form(str, int)


def _read_outbox(text: str) -> tuple[OutboxEvent, ...]:
    try:
        return tuple(OutboxEvent(EventKind(kind), *rest) for kind, *rest in json.loads(text))
    except TypeError as error:
        raise ValueError(text) from error


OUTBOX = Form(lambda events: json.dumps(events, separators=(",", ":")), _read_outbox)
NAMES = Form(" ".join, lambda text: tuple(text.split()))
# Object metadata: S3 allows 2 KB of US-ASCII; base64 keeps any name of 255 characters below 1.4 KB.
BASE64 = Form(lambda text: base64.urlsafe_b64encode(text.encode()).decode(), _read_base64)
DEFLATED = Form(_deflate, _inflate)
SIZES = Form(lambda sizes: ",".join(f"{one.name}.{write_size(one)}" for one in sizes), _read_sizes)
TIME = Form(str, _matching(_MILLISECONDS, int))
IMAGE_FACTS = Form(_write_image, _read_image)
PIXELS = Form(lambda pixels: f"{pixels.width}x{pixels.height}", _read_pixels)
DIGEST = Form(str, _matching(_SHA256, str))
FLAG = Form(lambda _: "yes", _matching(re.compile("yes"), lambda _: True))
FOCUS = Form(str, Focus.parse)
