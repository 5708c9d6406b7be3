"""The download's file name, safe in a header whatever the original was called."""

import re
from urllib.parse import quote

from chalicelib.spec import ImageFormat

# Separators would make a path of the name, controls would break the header or the file system.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\]")
_NOT_PLAIN_ASCII = re.compile(r'[^ -~]|["%\\]')
# Of the last part alone: the dots of a folder begin no extension, nor does the first character of a name.
_EXTENSION = re.compile(r"(?<=[^/\\])\.[^./\\]*\Z")
# What RFC 8187 allows unencoded beside letters, digits and what `quote` always keeps.
_ATTR_CHAR = "!#$&+^`|"


def thumbnail_name(filename: str, size: str | None = None, form: ImageFormat = ImageFormat.JPEG) -> str:
    """Name a thumbnail after its original: `IMG_8932.png` -> `IMG_8932.thumbnail.jpg`."""
    stem = _UNSAFE.sub("_", _EXTENSION.sub("", filename))
    return f"{stem or 'picture'}.{size or 'thumbnail'}.{form.extension}"


def attachment(name: str) -> str:
    """Content-Disposition (RFC 6266) that saves a download as `name`.

    `filename*` carries the exact name; `filename` is what old clients fall back to: US-ASCII, without
    quotes, and without `%`, which some decode.
    """
    fallback = _NOT_PLAIN_ASCII.sub("_", name)
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHAR)}"
