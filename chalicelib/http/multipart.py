"""Parse upload requests: `multipart/form-data` (RFC 7578) in, one named file out."""

import re

from multipart import MultipartError, ParserLimitReached, PushMultipartParser, parse_options_header

from chalicelib.errors import BadParameter, MalformedUpload, UploadTooLarge
from chalicelib.work.upload import Upload

FIELD = "image"
MAX_FILENAME = 255
# Ten megabytes of empty parts take seconds to parse.
MAX_PARTS = 100

_HOW = f"send multipart/form-data with the picture as a file in the field '{FIELD}'."


def parse_upload(content_type: str, body: bytes, *, max_bytes: int) -> Upload:
    """Find the one file in the field `image`; all other fields are ignored.

    Args:
        content_type: the request's Content-Type header, with the boundary.
        body: the whole request body.
        max_bytes: the largest file that is accepted, in bytes.

    Raises:
        MalformedUpload: not multipart, broken, no such file or several, an empty one, or too long a name.
        UploadTooLarge: the file is larger than `max_bytes`.

    """
    media_type, options = parse_options_header(content_type)
    if media_type != "multipart/form-data":
        raise MalformedUpload(f"The request is not a form upload; {_HOW}")
    try:
        files = _files(options.get("boundary", ""), body)
    except ParserLimitReached as error:
        raise MalformedUpload(f"The form has too many parts or too long a part header; {_HOW}") from error
    except (MultipartError, UnicodeEncodeError) as error:  # the latter: a boundary that no bytes can spell
        raise MalformedUpload(f"The multipart body is broken or incomplete; {_HOW}") from error
    if not files:
        raise MalformedUpload(f"There is no file in the field '{FIELD}'; {_HOW}")
    if len(files) > 1:
        raise MalformedUpload(f"There are {len(files)} files in the field '{FIELD}'; send one per request.")
    (upload,) = files
    if len(upload.filename) > MAX_FILENAME:
        raise MalformedUpload(
            f"The file name has {len(upload.filename)} characters; at most {MAX_FILENAME} are accepted."
        )
    if not upload.content:
        raise MalformedUpload("The file is empty; choose a picture and send it again.")
    if len(upload.content) > max_bytes:
        raise UploadTooLarge(
            f"The picture has {len(upload.content):,} bytes; at most {max_bytes:,} are accepted in a "
            "request; POST /api/v1/thumbnail/upload says where to send a larger one."
        )
    return upload


def parse_idempotency_key(header: str | None) -> str | None:
    """Read an Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header); None where there is none.

    The draft puts the key in quotes; many clients do not, and both mean the same.

    Raises:
        BadParameter: not 1 to 255 printable ASCII characters, or one of them is a quote or a backslash.

    """
    if header is None:
        return None
    found = re.fullmatch(r'(?P<quote>"?)(?P<key>[!#-\[\]-~]{1,255})(?P=quote)', header.strip())
    if found is None:
        raise BadParameter(
            "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces, quotes and "
            "backslashes, such as a new UUID for each upload."
        )
    return found["key"]


def _files(boundary: str, body: bytes) -> list[Upload]:
    files: list[Upload] = []
    filename: str | None = None
    content = b""
    with PushMultipartParser(boundary, header_charset="utf8", max_segment_count=MAX_PARTS) as parser:
        for event in parser.parse(body):
            if event is None:
                # A browser's form without a chosen file sends an empty part with an empty name.
                if filename is not None and (filename or content):
                    files.append(Upload(filename, content))
            elif isinstance(event, bytes | bytearray):
                # The whole body is parsed in one call, so that a part's content comes in one piece.
                content = bytes(event)
            else:
                filename = event.filename if event.name == FIELD else None
                content = b""
    return files
