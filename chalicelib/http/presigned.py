"""Parse a request for a presigned upload, by which a picture is sent straight to S3."""

import json
from typing import Any

from chalicelib.errors import MalformedUpload, UnsupportedFormat
from chalicelib.http.multipart import MAX_FILENAME, parse_focus
from chalicelib.work.upload import OPAQUE, PresignedUploadRequest

CONTENT_TYPES = frozenset(
    f"image/{name}" for name in ("jpeg", "png", "gif", "webp", "bmp", "tiff", "avif", "heic", "heif")
)

_HOW = "send a JSON object with the name of the file as 'filename'"


def parse_presigned_upload(body: bytes) -> PresignedUploadRequest:
    """Read a JSON request for a presigned upload.

    Raises:
        MalformedUpload: not JSON, no object, no file name or too long a one, a type that is no text, or a
            focal point that is none.
        UnsupportedFormat: a type that is none of the accepted ones.

    """
    try:
        given: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedUpload(f"The body is not JSON; {_HOW}.") from error
    if not isinstance(given, dict):
        raise MalformedUpload(f"The body is not a JSON object; {_HOW}.")
    filename, content_type = given.get("filename"), given.get("content_type", OPAQUE)
    if not isinstance(filename, str) or not 1 <= len(filename) <= MAX_FILENAME or not _is_text(filename):
        raise MalformedUpload(f"The filename must be a text of 1 to {MAX_FILENAME} characters; {_HOW}.")
    if not isinstance(content_type, str):
        raise MalformedUpload("The content_type must be a text such as image/jpeg, or be left out.")
    if content_type not in CONTENT_TYPES | {OPAQUE}:
        accepted = ", ".join(sorted(CONTENT_TYPES))
        raise UnsupportedFormat(f"The content_type must be one of {accepted}, or be left out.")
    focus = parse_focus(given["focus"]) if "focus" in given else None
    return PresignedUploadRequest(filename, content_type, focus)


def _is_text(text: str) -> bool:
    """Tell whether it can be written as UTF-8: JSON can spell halves of characters that cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
