"""Parse upload requests: `multipart/form-data` (RFC 7578) in, one named file out."""

import re
from dataclasses import replace
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from urllib.parse import unquote_to_bytes

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from chalicelib.errors import BadParameter, MalformedUpload, UploadTooLarge
from chalicelib.spec import Focus
from chalicelib.work.upload import Upload

FIELD = "image"
FOCUS_FIELD = "focus"
MAX_FILENAME = 255
# Ten megabytes of empty parts take seconds to parse.
MAX_PARTS = 100

_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
_EXTENDED = re.compile(r";\s*filename\*\s*=\s*([^;\s]*)", re.IGNORECASE)
_ENCODED_WORDS = re.compile(r"(=\?[\w-]+\?[bq]\?[^?]*\?=\s*)+", re.IGNORECASE)
_ESCAPED_UTF8 = re.compile(r"%[c-f][0-9a-f]%[89ab][0-9a-f]", re.IGNORECASE)

_HOW = f"send multipart/form-data with the picture as a file in the field '{FIELD}'."


def parse_upload(content_type: str, body: bytes, *, max_bytes: int) -> Upload:
    """Find the one file in the field `image`, and its focal point in `focus`; other fields are ignored.

    Args:
        content_type: the request's Content-Type header, with the boundary.
        body: the whole request body.
        max_bytes: the largest file that is accepted, in bytes.

    Raises:
        MalformedUpload: not multipart, broken, no such file or several, an empty one, too long a name, or a
            focal point that is none.
        UploadTooLarge: the file is larger than `max_bytes`.

    """
    media_type, options = parse_options_header(content_type)
    if media_type != "multipart/form-data":
        raise MalformedUpload(f"The request is not a form upload; {_HOW}")
    try:
        files, focuses = _parts(options.get("boundary", ""), body)
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
    if len(focuses) > 1:
        raise MalformedUpload(f"There are {len(focuses)} fields '{FOCUS_FIELD}'; send one per request.")
    return replace(upload, focus=parse_focus(focuses[0])) if focuses else upload


def parse_focus(given: object) -> Focus:
    """Read a focal point, as a form and JSON write it.

    Raises:
        MalformedUpload: not two fractions of 0 to 1 with a comma between them.

    """
    try:
        return Focus.parse(given if isinstance(given, str) else "")
    except ValueError as error:
        raise MalformedUpload(
            "The focus must be two numbers from 0 to 1 with a comma between them, such as 0.5,0.2: fractions "
            "of the upright picture's width and height."
        ) from error


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


def _parts(boundary: str, body: bytes) -> tuple[list[Upload], list[str]]:
    """Return the files in the field `image` and the texts in the fields `focus`."""
    files: list[Upload] = []
    focuses: list[str] = []
    name = filename = None
    content = b""
    with PushMultipartParser(boundary, header_charset="latin-1", max_segment_count=MAX_PARTS) as parser:
        for event in parser.parse(body):
            if event is None:
                # A browser's form without a chosen file sends an empty part with an empty name.
                if filename is not None and (filename or content):
                    files.append(Upload(filename, content))
                if name == FOCUS_FIELD:
                    focuses.append(content.decode("latin-1"))
            elif isinstance(event, bytes | bytearray):
                # The whole body is parsed in one call, so that a part's content comes in one piece.
                content = bytes(event)
            else:
                name = event.name
                filename = _file_name(event) if name == FIELD else None
                content = b""
    return files, focuses


def _file_name(part: MultipartSegment) -> str | None:
    """Read the name of a part's file; None if the part is no file.

    RFC 7578, 4.2 wants UTF-8 bytes in `filename`, which browsers send. Other clients send RFC 8187's
    `filename*` instead or beside it (then it counts), encoded words (RFC 2047), UTF-8 in percent escapes, or
    bytes of Windows' code page 1252.

    Raises:
        MalformedUpload: the name is in none of these forms.

    """
    # What stands in quotes cannot be a parameter.
    header = _QUOTED.sub('""', part.header("Content-Disposition") or "")
    if extended := _EXTENDED.search(header):
        return _extended_name(extended[1])
    if part.filename is None:
        return None
    sent: bytes = part.filename.encode("latin-1")
    try:
        name = sent.decode()
    except UnicodeDecodeError:
        try:
            name = sent.decode("cp1252")
        except UnicodeDecodeError as error:
            raise _unreadable("its bytes are not UTF-8") from error
    if _ENCODED_WORDS.fullmatch(name):
        try:
            decoded = str(make_header(decode_header(name)))
            decoded.encode()  # UTF-7 and others can spell halves of characters
        except (HeaderParseError, LookupError, ValueError) as error:
            raise _unreadable("it is a broken encoded word (RFC 2047)") from error
        return decoded
    if name.isascii() and _ESCAPED_UTF8.search(name):
        try:
            return unquote_to_bytes(name).decode()
        except UnicodeDecodeError:
            return name  # it only looked like it
    return name


def _extended_name(value: str) -> str:
    """Decode `charset'language'percent-encoded` (RFC 8187, 3.2)."""
    parts = value.strip('"').split("'")
    wanted = "filename* must be UTF-8''name with percent escapes (RFC 8187)"
    if len(parts) != 3 or parts[0].lower() not in {"utf-8", "iso-8859-1"}:  # noqa: PLR2004 - as named above
        raise _unreadable(wanted)
    try:
        return unquote_to_bytes(parts[2]).decode(parts[0])
    except UnicodeDecodeError as error:
        raise _unreadable(wanted) from error


def _unreadable(why: str) -> MalformedUpload:
    return MalformedUpload(f"The file name cannot be read: {why}; send it as UTF-8 in filename.")
