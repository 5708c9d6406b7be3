"""Examples, schemas and shorthand of which the API's description is made."""

from typing import Any

from chalicelib.http.multipart import MAX_FILENAME
from chalicelib.http.presigned import CONTENT_TYPES
from chalicelib.spec import FOCUS_PATTERN
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
PENDING: Part = {"id": ID, "filename": "photo.jpg", "ready": False, "size": {"original": 112525}}
READY: Part = PENDING | {"ready": True, "size": {"original": 112525, "thumbnail": 2766}}
FAILED: Part = PENDING | {"error": UNDECODABLE}
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


# Where a deployment knows owners, its clients send a token; elsewhere none is needed.
TOKEN: Part = {"shared": (401, 403), "security": [{}, {"bearer": []}]}
NEW_RECORD = {
    name: {"operationId": name, "parameters": {"record_id": "$response.body#/id"}}
    for name in ("getRecord", "getThumbnail", "deleteRecord")
}
UNKNOWN = error("There is no such record (any more).", unknown="There is no thumbnail with this id.")

FOCUS: Part = {
    "description": "The point that a crop keeps: fractions of the upright picture's width and height.",
    "type": "string",
    "pattern": f"^{FOCUS_PATTERN}$",
    "example": "0.5,0.2",
}
UP_OR_DOWN: Part = {"enum": ["up", "down"]}
SCHEMAS: Part = {
    "Record": {
        "description": "One picture. It ends `ready` or with an `error`.",
        "type": "object",
        "required": ["id", "filename", "ready", "size"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "filename": {"description": "As the client gave it; any characters.", "type": "string"},
            "ready": {"description": "Whether the thumbnail can be downloaded.", "type": "boolean"},
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
