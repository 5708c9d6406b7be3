"""Examples, schemas and shorthand of which the API's description is made."""

from typing import Any

from chalicelib.http.multipart import MAX_FILENAME
from chalicelib.http.polling import POLL_SECONDS
from chalicelib.http.presigned import CONTENT_TYPES
from chalicelib.spec import FOCUS_PATTERN, SIZE_NAME, ImageFormat
from chalicelib.work.upload import OPAQUE, PRESIGNED_SECONDS

Part = dict[str, Any]

V1 = "/api/v1"
LIST_LIMIT = 1000
ID = "2301fc52-2c41-4a65-bde8-a1215771a3b9"
TOO_LARGE = (
    "The request is too large; at most 4,500,000 bytes of picture are accepted in a request; "
    "POST /api/v1/thumbnail/upload says where to send a larger one."
)
TYPES = ", ".join(sorted(CONTENT_TYPES))
RECORD_URL = f"{V1}/thumbnail/{ID}"
UNDECODABLE = (
    "The picture cannot be decoded: it is truncated, damaged or of a rare kind; save it as JPEG or PNG and "
    "upload that."
)
FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIF"]
_WAITING: Part = {"id": ID, "filename": "photo.jpg", "ready": False, "size": {"original": 112525}}
PENDING: Part = _WAITING | {"image": {"format": "JPEG", "width": 800, "height": 600}}
READY: Part = _WAITING | {
    "ready": True,
    "size": {"original": 112525, "thumbnail": 2766},
    "image": PENDING["image"] | {"placeholder": "H9cNJwSHd3h/iIeFh0h4h4h4aAgnh3oA"},
    "thumbnail": {"width": 100, "height": 100},
}
FAILED: Part = _WAITING | {"error": UNDECODABLE}
PRESIGNED_UPLOAD: Part = {
    "id": ID,
    "record": RECORD_URL,
    "url": "https://pictures.s3.eu-central-1.amazonaws.com/",
    "fields": {"Content-Type": "image/jpeg", "key": f"originals/{ID}", "policy": "eyJjb25kaXRpb25zIjpbXX0="},
    "expires": "2026-11-25T10:15:00Z",
}


def ref(kind: str, name: str | int) -> Part:
    """Refer to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def record(description: str, *, headers: tuple[str, ...] = (), **examples: Part) -> Part:
    """A response whose body is a record."""
    return json(description, ref("schemas", "Record"), headers, **examples)


def error(description: str, *headers: str, **sentences: str) -> Part:
    """A response whose body is an error, with the sentences that it may have."""
    examples = {name: {"error": sentence} for name, sentence in sentences.items()}
    return json(description, ref("schemas", "Error"), headers, **examples)


def json(description: str, schema: Part, headers: tuple[str, ...] = (), **examples: Any) -> Part:
    """A response whose body is JSON of this schema, with named examples."""
    content = {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}
    return with_headers({"description": description, "content": {"application/json": content}}, *headers)


def with_headers(response: Part, *names: str) -> Part:
    """A response with headers that are described among the components, as `<name>` or `<name>.<when>`."""
    headers = {name.partition(".")[0]: ref("headers", name) for name in names}
    return response | ({"headers": headers} if headers else {})


def operation(name: str, summary: str, *, shared: tuple[int, ...] = (), **more: Any) -> Part:
    """Describe an operation; `shared` are statuses that mean the same wherever they come."""
    responses = {str(status): ref("responses", status) for status in (*shared, 429, 500, 503)}
    responses |= more.pop("responses")
    return {"operationId": name, "summary": summary} | more | {"responses": dict(sorted(responses.items()))}


def get(name: str, summary: str, **more: Any) -> Part:
    """Describe GET, and HEAD, which answers likewise and without a body."""
    get = operation(f"get{name}", summary, **more)
    return {"get": get, "head": get | {"operationId": f"head{name}", "summary": f"{summary}: headers alone"}}


# Where a deployment knows owners, its clients send a token; where it limits each client, a key.
TOKEN: Part = {
    "shared": (401, 403),
    "security": [{}, {"bearer": []}, {"key": []}, {"bearer": [], "key": []}],
}
NEW_RECORD = {
    name: {"operationId": name, "parameters": {"record_id": "$response.body#/id"}}
    for name in ("getRecord", "getThumbnail", "deleteRecord")
}
IMAGES: Part = {
    one.media_type: {"schema": {"type": "string", "contentMediaType": one.media_type, "format": "binary"}}
    for one in ImageFormat
}
SIZE: Part = {
    "name": "size",
    "in": "query",
    "description": "The name of one of the record's `sizes`; without it, the default thumbnail.",
    "schema": {"type": "string"},
}
IF_NONE_MATCH: Part = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The `ETag` of a thumbnail that the client has.",
    "schema": {"type": "string"},
    "example": '"none"',
}
UNKNOWN_SIZE = error(
    "There is no such record (any more), or it has no thumbnail of this size.",
    unknown="There is no thumbnail with this id.",
    size="There is no size of this name: the sizes are card, 2x; leave size out for the default thumbnail.",
)
UNKNOWN = error("There is no such record (any more).", unknown="There is no thumbnail with this id.")

FOCUS: Part = {
    "description": "The point that a crop keeps: fractions of the upright picture's width and height.",
    "type": "string",
    "pattern": f"^{FOCUS_PATTERN}$",
    "example": "0.5,0.2",
}
UP_OR_DOWN: Part = {"enum": ["up", "down"]}
SIZE_FACTS = ("bytes", "width", "height")
SCHEMAS: Part = {
    "Record": {
        "description": "One picture. It ends `ready` or with an `error`.",
        "type": "object",
        "required": ["id", "filename", "ready", "size"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "filename": {"description": "As the client gave it; any characters.", "type": "string"},
            "ready": {"description": "Whether the thumbnail was made and stored.", "type": "boolean"},
            "size": {
                "description": "In bytes.",
                "type": "object",
                "required": ["original"],
                "properties": {
                    "original": {
                        "description": "null while a presigned upload has not come.",
                        "type": ["integer", "null"],
                        "minimum": 0,
                    },
                    "thumbnail": {
                        "description": "Here once the thumbnail is ready.",
                        "type": "integer",
                        "minimum": 1,
                    },
                },
            },
            "key": {
                "description": "The object key of what was put straight into the bucket; only there.",
                "type": "string",
            },
            "created": {
                "description": "When the picture came, if `urls` is asked for.",
                "type": "string",
                "format": "date-time",
            },
            "url": {
                "description": "Shows the thumbnail, if `urls` is asked for and it is ready.",
                "type": "string",
                "format": "uri",
            },
            "image": {
                "description": "What the original is, as far as is known.",
                "type": "object",
                "required": ["format", "width", "height"],
                "properties": {
                    "format": {"enum": FORMATS},
                    "width": {"description": "In pixels, upright.", "type": "integer", "minimum": 1},
                    "height": {"description": "In pixels, upright.", "type": "integer", "minimum": 1},
                    "placeholder": {
                        "description": "What to show while the thumbnail loads: its ThumbHash "
                        "(https://evanw.github.io/thumbhash/) in base64. Here once the thumbnail is ready.",
                        "type": "string",
                        "contentEncoding": "base64",
                        "maxLength": 36,
                    },
                },
            },
            "thumbnail": {
                "description": "Of the thumbnail, in pixels; here once it is ready.",
                "type": "object",
                "required": ["width", "height"],
                "properties": {name: {"type": "integer", "minimum": 1} for name in ("width", "height")},
            },
            "sizes": {
                "description": "Thumbnails of named sizes, where the deployment makes any; once all are "
                "ready.",
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": f"^{SIZE_NAME}$"},
                "additionalProperties": {
                    "type": "object",
                    "required": ["bytes", "width", "height"],
                    "properties": {name: {"type": "integer", "minimum": 1} for name in SIZE_FACTS},
                },
            },
            "error": {"description": "Why there will be no thumbnail: a sentence.", "type": "string"},
            "expires": {
                "description": "When the record ends, if it does.",
                "type": "string",
                "format": "date-time",
            },
        },
    },
    "PresignedUploadRequest": {
        "type": "object",
        "required": ["filename"],
        "properties": {
            "filename": {"type": "string", "minLength": 1, "maxLength": MAX_FILENAME},
            "content_type": {"enum": [*sorted(CONTENT_TYPES), OPAQUE], "default": OPAQUE},
            "focus": FOCUS,
        },
    },
    "PresignedUpload": {
        "type": "object",
        "required": ["id", "record", "url", "fields", "expires"],
        "properties": {
            "id": {"description": "The record's.", "type": "string", "format": "uuid"},
            "record": {"description": "The record's URL.", "type": "string", "format": "uri-reference"},
            "url": {"description": "Where to POST the picture.", "type": "string", "format": "uri"},
            "fields": {
                "description": "What the form has to hold before the file.",
                "type": "object",
                "additionalProperties": {"type": "string"},
            },
            "expires": {
                "description": f"When it expires: {PRESIGNED_SECONDS // 60} minutes after it was given.",
                "type": "string",
                "format": "date-time",
            },
        },
    },
    "ThumbnailUrl": {
        "type": "object",
        "required": ["url", "expires"],
        "properties": {
            "url": {"description": "Shows the thumbnail.", "type": "string", "format": "uri"},
            "expires": {"description": "When it ends.", "type": "string", "format": "date-time"},
        },
    },
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"description": "A sentence that says what to do.", "type": "string"}},
    },
    "Pulse": {"type": "object", "required": ["alive"], "properties": {"alive": {"const": True}}},
    "Health": {
        "type": "object",
        "required": ["redis", "s3"],
        "properties": {"redis": {"const": "up"}, "s3": {"const": "up"}},
    },
    "Unhealthy": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}, "redis": UP_OR_DOWN, "s3": UP_OR_DOWN},
    },
}

HEADERS: Part = {
    "Location": {
        "description": "The record's URL.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
        "example": RECORD_URL,
    },
    "Link": {
        "description": "The next page's URL (RFC 8288).",
        "schema": {"type": "string"},
        "example": f'<{V1}/thumbnail?limit=100&cursor=MTc2>; rel="next"',
    },
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "Retry-After.pending": {
        "description": "While the record waits for its thumbnail: seconds after which to ask for it.",
        "schema": {"type": "integer", "minimum": 1},
        "example": POLL_SECONDS,
    },
    "ETag": {
        "required": True,
        "schema": {"type": "string", "pattern": '^"[^"]+"$'},
        "example": '"4b2c9e0d"',
    },
    "Cache-Control": {
        "required": True,
        "schema": {"type": "string"},
        "example": "public, max-age=86400",
    },
    "Last-Modified": {
        "description": "When the picture came (RFC 9110).",
        "required": True,
        "schema": {"type": "string"},
        "example": "Thu, 26 Nov 2026 21:25:00 GMT",
    },
    "Content-Disposition": {
        "required": True,
        "schema": {"type": "string", "pattern": "^attachment; "},
        "example": 'attachment; filename="photo.thumbnail.jpg"',
    },
    "WWW-Authenticate": {"schema": {"type": "string"}, "example": "Bearer"},
}
