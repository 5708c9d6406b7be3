"""What the API's description says of query parameters, and of URLs that show thumbnails."""

from chalicelib.http.openapi_parts import (
    LIST_LIMIT,
    READY,
    SIZE,
    TOKEN,
    UNDECODABLE,
    UNKNOWN_SIZE,
    Part,
    error,
    get,
    json,
    ref,
    with_headers,
)
from chalicelib.http.parameters import DEFAULT_URL_SECONDS, MOST_KEY_BYTES, URL_SECONDS

_SECONDS: Part = {"type": "integer", "minimum": URL_SECONDS[0], "maximum": URL_SECONDS[1]}
_BOUNDS = f"must be a whole number from {URL_SECONDS[0]} to {URL_SECONDS[1]}."
_PRESIGNED = (
    "https://pictures.s3.eu-central-1.amazonaws.com/thumbnails/2301fc52-2c41-4a65-bde8-a1215771a3b9/"
    "0a1b-2c3d.jpg?X-Amz-Expires=900&X-Amz-Signature=4e5f"
)
WITH_URL: Part = READY | {"created": "2026-11-26T10:00:00Z", "url": _PRESIGNED}
PUT_INTO_BUCKET: Part = READY | {"key": "originals/team1/photo.jpg"}

URLS: Part = {
    "name": "urls",
    "in": "query",
    "description": "Give ready records a `url` of their thumbnail, valid for so many seconds (see "
    "`getThumbnailUrl`), and each record the time when it was `created`.",
    "schema": _SECONDS,
}
LIST: list[Part] = [
    {
        "name": "limit",
        "in": "query",
        "description": "The most records that the answer shall have. It may have fewer: `Link` tells "
        "whether more follow.",
        "schema": {"type": "integer", "minimum": 1, "maximum": LIST_LIMIT, "default": LIST_LIMIT},
        "example": 100,
    },
    {
        "name": "cursor",
        "in": "query",
        "description": "Where to go on. It is opaque: follow the `Link` of a former answer.",
        "schema": {"type": "string", "minLength": 1},
    },
    {
        "name": "key",
        "in": "query",
        "description": "An object key: the answer has the record of this original alone, or none. Not with "
        "`cursor`.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MOST_KEY_BYTES},
    },
    URLS,
]
BAD_LIST = error(
    "A parameter cannot be used.",
    limit=f"limit must be a whole number from 1 to {LIST_LIMIT}.",
    cursor="The cursor is not one that this service gave; start again without it.",
    urls=f"urls {_BOUNDS}",
    key=f"key must be an object key, of 1 to {MOST_KEY_BYTES} bytes.",
    both="key and cursor cannot be combined; a key has one record at most.",
)
BAD_URLS = error("`urls` cannot be used.", urls=f"urls {_BOUNDS}")
_EXPIRES = "Pictures expire after a download here, so that they have no URLs; use the download itself."
NO_URLS = error("URLs are asked for where pictures expire after a download.", expires=_EXPIRES)

PATH: Part = {"parameters": [ref("parameters", "record_id")]} | get(
    "ThumbnailUrl",
    "A URL that shows the thumbnail for a while",
    description="A presigned GET of the thumbnail in S3, for an `<img>`: it needs no header, works from "
    "every origin, and shows the picture to anyone who has it.",
    parameters=[
        {
            "name": "seconds",
            "in": "query",
            "description": "How long it shall be valid. It expires earlier with the record, and with the "
            "session of the service that has signed it; then ask for another one.",
            "schema": _SECONDS | {"default": DEFAULT_URL_SECONDS},
            "example": 300,
        },
        SIZE,
    ],
    **TOKEN,
    responses={
        "200": with_headers(
            json(
                "The URL, and when it expires.",
                ref("schemas", "ThumbnailUrl"),
                given={"url": _PRESIGNED, "expires": "2026-11-26T10:15:00Z"},
            ),
            "Cache-Control",
        ),
        "400": error("`seconds` cannot be used.", seconds=f"seconds {_BOUNDS}"),
        "404": UNKNOWN_SIZE,
        "409": error(
            "The thumbnail is not ready yet (then with `Retry-After`), or pictures expire after a download.",
            early="The thumbnail is not ready yet; try again in a second.",
            expires=_EXPIRES,
        )
        | {"headers": {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}},
        "422": error("The picture cannot be thumbnailed.", damaged=UNDECODABLE),
    },
)
