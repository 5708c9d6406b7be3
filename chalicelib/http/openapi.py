"""What the HTTP API takes and gives, for programs: an OpenAPI 3.1 document, and the only one.

The tests hold it to the routes, to the table of errors, and to what the running service answers.
"""

from typing import Any

from chalicelib.http.multipart import FIELD, MAX_FILENAME
from chalicelib.http.presigned import CONTENT_TYPES
from chalicelib.imaging import ACCEPTED
from chalicelib.work.upload import OPAQUE, PRESIGNED_SECONDS

Part = dict[str, Any]

V1 = "/api/v1"
LIST_LIMIT = 1000
_ID = "2301fc52-2c41-4a65-bde8-a1215771a3b9"
TOO_LARGE = (
    "The request is too large; at most 4,500,000 bytes of picture are accepted in a request; "
    "POST /api/v1/thumbnail/upload says where to send a larger one."
)
_TYPES = ", ".join(sorted(CONTENT_TYPES))
_RECORD_URL = f"{V1}/thumbnail/{_ID}"
_UNDECODABLE = (
    "The picture cannot be decoded: it is truncated, damaged or of a rare kind; save it as JPEG or PNG and "
    "upload that."
)
_PENDING: Part = {"id": _ID, "filename": "photo.jpg", "ready": False, "size": {"original": 112525}}
_READY: Part = _PENDING | {"ready": True, "size": {"original": 112525, "thumbnail": 2766}}
_FAILED: Part = _PENDING | {"error": _UNDECODABLE}
_TICKET: Part = {
    "id": _ID,
    "record": _RECORD_URL,
    "url": "https://pictures.s3.eu-central-1.amazonaws.com/",
    "fields": {"Content-Type": "image/jpeg", "key": f"originals/{_ID}", "policy": "eyJjb25kaXRpb25zIjpbXX0="},
    "expires": "2026-11-25T10:15:00Z",
}


def _ref(kind: str, name: str | int) -> Part:
    return {"$ref": f"#/components/{kind}/{name}"}


def _record(description: str, *, headers: tuple[str, ...] = (), **examples: Part) -> Part:
    return _json(description, _ref("schemas", "Record"), headers, **examples)


def _error(description: str, *headers: str, **sentences: str) -> Part:
    examples = {name: {"error": sentence} for name, sentence in sentences.items()}
    return _json(description, _ref("schemas", "Error"), headers, **examples)


def _json(description: str, schema: Part, headers: tuple[str, ...] = (), **examples: Any) -> Part:
    content = {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}
    return _with_headers({"description": description, "content": {"application/json": content}}, *headers)


def _with_headers(response: Part, *names: str) -> Part:
    return response | ({"headers": {name: _ref("headers", name) for name in names}} if names else {})


def _operation(name: str, summary: str, *, shared: tuple[int, ...] = (), **more: Any) -> Part:
    """Describe an operation; `shared` are statuses that mean the same wherever they come."""
    responses = {str(status): _ref("responses", status) for status in (*shared, 429, 500, 503)}
    responses |= more.pop("responses")
    return {"operationId": name, "summary": summary} | more | {"responses": dict(sorted(responses.items()))}


def _get(name: str, summary: str, **more: Any) -> Part:
    """Describe GET, and HEAD, which answers likewise and without a body."""
    get = _operation(f"get{name}", summary, **more)
    return {"get": get, "head": get | {"operationId": f"head{name}", "summary": f"{summary}: headers alone"}}


# Where a deployment knows owners, its clients send a token; elsewhere nobody needs one.
_TOKEN: Part = {"shared": (401, 403), "security": [{}, {"bearer": []}]}
_NEW_RECORD = {
    name: {"operationId": name, "parameters": {"record_id": "$response.body#/id"}}
    for name in ("getRecord", "getThumbnail", "deleteRecord")
}
_UNKNOWN = _error("There is no such record (any more).", unknown="There is no thumbnail with this id.")

_PATHS: Part = {
    f"{V1}/openapi.json": _get(
        "Description",
        "This description",
        responses={
            "200": {
                "description": "An OpenAPI 3.1 document.",
                "content": {"application/json": {"schema": {"type": "object", "required": ["openapi"]}}},
            }
        },
    ),
    "/": _get(
        "Page",
        "A page for people that does what this API does",
        responses={
            "200": _with_headers(
                {
                    "description": "HTML.",
                    "content": {"text/html; charset=utf-8": {"schema": {"type": "string"}}},
                },
                "ETag",
                "Cache-Control",
            ),
            "304": _with_headers({"description": "The client has it already."}, "ETag", "Cache-Control"),
        },
    ),
    f"{V1}/system/pulse": _get(
        "Pulse",
        "Whether the API is alive, whatever the state of Redis and S3",
        responses={"200": _json("It is.", _ref("schemas", "Pulse"), alive={"alive": True})},
    ),
    f"{V1}/system/health": _get(
        "Health",
        "Whether Redis and S3 answer",
        **_TOKEN,
        responses={
            "200": _json("Both do.", _ref("schemas", "Health"), healthy={"redis": "up", "s3": "up"}),
            "503": _json(
                "One of them, or the API itself, does not answer.",
                _ref("schemas", "Unhealthy"),
                ("Retry-After",),
                down={
                    "error": "redis cannot be reached; try again in a moment.",
                    "redis": "down",
                    "s3": "up",
                },
            ),
        },
    ),
    f"{V1}/thumbnail": _get(
        "Records",
        "List records, newest first",
        parameters=[
            {
                "name": "limit",
                "in": "query",
                "description": "The most records that the answer shall have.",
                "schema": {"type": "integer", "minimum": 1, "maximum": LIST_LIMIT, "default": LIST_LIMIT},
                "example": 100,
            },
            {
                "name": "cursor",
                "in": "query",
                "description": "Where to go on. It is opaque: follow the `Link` of a former answer.",
                "schema": {"type": "string", "minLength": 1},
            },
        ],
        **_TOKEN,
        responses={
            "200": _json(
                "A page of records; `Link` is there when another one follows.",
                {"type": "array", "maxItems": LIST_LIMIT, "items": _ref("schemas", "Record")},
                ("Link",),
                records=[_READY],
                none=[],
            ),
            "400": _error(
                "`limit` or `cursor` cannot be used.",
                limit=f"limit must be a whole number from 1 to {LIST_LIMIT}.",
                cursor="The cursor is not one that this service gave; start again without it.",
            ),
        },
    )
    | {
        "post": _operation(
            "uploadPicture",
            "Upload a picture",
            description=f"Takes {ACCEPTED}, of at most 4,500,000 bytes or what the deployment has set below "
            "that; `orderTicket` is the way for larger ones. The thumbnail is made a moment later.",
            parameters=[
                {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "description": "A text that is new for each upload. An upload that got no answer can be "
                    "repeated with the same key: both get the same record.",
                    "schema": {"type": "string", "pattern": r'^([!#-\[\]-~]{1,255}|"[!#-\[\]-~]{1,255}")$'},
                    "example": "3f0f9a80-6b55-4c9a-9f8b-0d3e52f2a1c7",
                }
            ],
            requestBody={
                "required": True,
                "content": {
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "required": [FIELD],
                            "properties": {
                                FIELD: {
                                    "description": f"The file, named with up to {MAX_FILENAME} characters.",
                                    "type": "string",
                                    "contentMediaType": OPAQUE,
                                    # OpenAPI 3.0's word for it: what generators of clients go by.
                                    "format": "binary",
                                }
                            },
                        }
                    }
                },
            },
            **_TOKEN,
            responses={
                "201": _record(
                    "The record; with a repeated key, the first upload's as it stands now.",
                    headers=("Location",),
                    pending=_PENDING,
                )
                | {"links": _NEW_RECORD},
                "400": _error(
                    "No file, an empty one, a broken form, or an `Idempotency-Key` that cannot be used.",
                    form="The request is not a form upload; send multipart/form-data with the picture as a "
                    f"file in the field '{FIELD}'.",
                    empty="The file is empty; choose a picture and send it again.",
                ),
                "413": _error(
                    "Too many bytes or pixels, or of too many parts.",
                    gateway=TOO_LARGE,
                ),
                "415": _error(
                    "Not an accepted image.",
                    unknown=f"This is not an image that can be used; send {ACCEPTED}.",
                ),
                "422": _error(
                    "The `Idempotency-Key` stands for another upload, or for one that was removed.",
                    other="This Idempotency-Key was used for another picture or file name; use a new key for "
                    "each upload.",
                    removed="The picture that was uploaded with this Idempotency-Key has been removed; use a "
                    "new key.",
                ),
            },
        )
    },
    f"{V1}/thumbnail/upload": {
        "post": _operation(
            "orderTicket",
            "Get a ticket to send a picture straight to S3",
            description="Send `fields` and then the picture, as the field `file`, to `url` as "
            "`multipart/form-data` (S3's POST); the record tells when the picture has come.",
            requestBody={
                "required": True,
                "content": {
                    "application/json": {
                        "schema": _ref("schemas", "PresignedUploadRequest"),
                        "examples": {
                            "typed": {"value": {"filename": "photo.jpg", "content_type": "image/jpeg"}},
                            "untyped": {"value": {"filename": "photo.jpg"}},
                        },
                    }
                },
            },
            **_TOKEN,
            responses={
                "201": _json(
                    "The ticket, and a record that waits for the picture.",
                    _ref("schemas", "Ticket"),
                    ("Location",),
                    ticket=_TICKET,
                )
                | {"links": _NEW_RECORD},
                "400": _error(
                    "Not the JSON that is wanted.",
                    no_json="The body is not JSON; "
                    "send a JSON object with the name of the file as 'filename'.",
                ),
                "413": _error(
                    "The body is larger than what the gateway takes.",
                    gateway=TOO_LARGE,
                ),
                "415": _error(
                    "`content_type` is not that of an accepted image.",
                    unknown=f"The content_type must be one of {_TYPES}, or be left out.",
                ),
            },
        )
    },
    f"{V1}/thumbnail/{{record_id}}": {"parameters": [_ref("parameters", "record_id")]}
    | _get(
        "Record",
        "How far a picture is",
        **_TOKEN,
        responses={
            "200": _with_headers(
                _record("The record.", pending=_PENDING, ready=_READY, failed=_FAILED),
                "Cache-Control",
                "Last-Modified",
            ),
            "404": _UNKNOWN,
        },
    )
    | {
        "delete": _operation(
            "deleteRecord",
            "Remove record, original and thumbnail",
            **_TOKEN,
            responses={
                "200": _record("The record as it was.", pending=_PENDING, ready=_READY, failed=_FAILED),
                "404": _UNKNOWN,
            },
        )
    },
    f"{V1}/thumbnail/{{record_id}}/download": {"parameters": [_ref("parameters", "record_id")]}
    | _get(
        "Thumbnail",
        "Download the thumbnail",
        parameters=[
            {
                "name": "If-None-Match",
                "in": "header",
                "description": "The `ETag` of a thumbnail that the client has.",
                "schema": {"type": "string"},
                "example": '"none"',
            }
        ],
        **_TOKEN,
        responses={
            "200": _with_headers(
                {
                    "description": "A JPEG, to be saved under the original's name with `.thumbnail.jpg`.",
                    "content": {
                        "image/jpeg": {
                            "schema": {"type": "string", "contentMediaType": "image/jpeg", "format": "binary"}
                        }
                    },
                },
                "Content-Disposition",
                "ETag",
                "Cache-Control",
                "Last-Modified",
            ),
            "304": _with_headers(
                {"description": "The client has this thumbnail already."},
                "ETag",
                "Cache-Control",
                "Last-Modified",
            ),
            "404": _UNKNOWN,
            "409": _error(
                "The thumbnail is not ready yet.",
                "Retry-After",
                early="The thumbnail is not ready yet; try again in a second.",
            ),
            "422": _error(
                "The picture cannot be thumbnailed; the record's `error` says the same.", damaged=_UNDECODABLE
            ),
        },
    ),
}

_UP_OR_DOWN: Part = {"enum": ["up", "down"]}
_SCHEMAS: Part = {
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
                        "description": "null while a ticket's picture has not come.",
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
        },
    },
    "Ticket": {
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
                "description": f"When the ticket ends: {PRESIGNED_SECONDS // 60} minutes after it was given.",
                "type": "string",
                "format": "date-time",
            },
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
        "properties": {"error": {"type": "string"}, "redis": _UP_OR_DOWN, "s3": _UP_OR_DOWN},
    },
}

DOCUMENT: Part = {
    "openapi": "3.1.0",
    "info": {
        "title": "Thumbnails",
        "version": "1.0.0",
        "description": "Send a picture, get a small, upright, correctly coloured JPEG of it back. Whatever "
        "goes wrong, on the way to the API too, is answered with an `Error`. Objects may come to have more "
        "keys: pass over what you do not know. Web pages may call it from the origins that the "
        "deployment allows.",
        "license": {"name": "MIT", "identifier": "MIT"},
    },
    # Relative to this document, so that a gateway's stage stays before the paths.
    "servers": [{"url": "../.."}],
    "paths": _PATHS,
    "components": {
        "schemas": _SCHEMAS,
        "parameters": {
            "record_id": {
                "name": "record_id",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "format": "uuid"},
                "example": _ID,
            }
        },
        "headers": {
            "Location": {
                "description": "The record's URL.",
                "required": True,
                "schema": {"type": "string", "format": "uri-reference"},
                "example": _RECORD_URL,
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
            "ETag": {
                "required": True,
                "schema": {"type": "string", "pattern": '^"[^"]+"$'},
                "example": '"4b2c9e0d"',
            },
            "Cache-Control": {
                "required": True,
                "schema": {"type": "string"},
                "example": "public, max-age=31536000, immutable",
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
        },
        "responses": {
            "401": _error("No token, where the deployment wants one.", "WWW-Authenticate"),
            "403": _error("A token that the deployment does not accept."),
            "429": _error(
                "Too many requests for the deployment's limits.",
                "Retry-After",
                throttled="There are too many requests at the moment; try again in a second.",
            ),
            "500": _error(
                "A fault of the service, which its log tells.",
                fault="Something went wrong on our side and is logged; try again, and tell us if it stays.",
            ),
            "503": _error(
                "Redis, S3 or the API itself does not answer.",
                "Retry-After",
                redis="The record store (Redis) cannot be reached; try again in a moment.",
                s3="The object store (S3) cannot be reached; try again in a moment.",
            ),
        },
        "securitySchemes": {
            "bearer": {
                "description": "Names the owner of records, in deployments that know owners.",
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
            }
        },
    },
}
