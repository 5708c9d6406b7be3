"""What the HTTP API takes and gives, for programs: an OpenAPI 3.1 document, and the only one.

The tests hold it to the routes, to the table of errors, and to what the running service answers.
"""

from chalicelib.http.multipart import FIELD, FOCUS_FIELD, MAX_FILENAME
from chalicelib.http.openapi_events import EVENT, WEBHOOKS
from chalicelib.http.openapi_parts import (
    FAILED,
    FOCUS,
    HEADERS,
    ID,
    IF_NONE_MATCH,
    IMAGES,
    LIST_LIMIT,
    NEW_RECORD,
    PENDING,
    PRESIGNED_UPLOAD,
    READY,
    SCHEMAS,
    SIZE,
    TOKEN,
    TOO_LARGE,
    TYPES,
    UNDECODABLE,
    UNKNOWN,
    UNKNOWN_SIZE,
    V1,
    Part,
    error,
    get,
    json,
    operation,
    record,
    ref,
    with_headers,
)
from chalicelib.http.openapi_urls import (
    BAD_LIST,
    BAD_URLS,
    LIST,
    NO_URLS,
    PATH,
    PUT_INTO_BUCKET,
    URLS,
    WITH_URL,
)
from chalicelib.imaging import ACCEPTED
from chalicelib.work.upload import OPAQUE

_PATHS: Part = {
    f"{V1}/openapi.json": get(
        "Description",
        "This description",
        responses={
            "200": {
                "description": "An OpenAPI 3.1 document.",
                "content": {"application/json": {"schema": {"type": "object", "required": ["openapi"]}}},
            }
        },
    ),
    "/": get(
        "Page",
        "A page for people that does what this API does",
        responses={
            "200": with_headers(
                {
                    "description": "HTML.",
                    "content": {"text/html; charset=utf-8": {"schema": {"type": "string"}}},
                },
                "ETag",
                "Cache-Control",
            ),
            "304": with_headers({"description": "The client has it already."}, "ETag", "Cache-Control"),
        },
    ),
    f"{V1}/system/pulse": get(
        "Pulse",
        "Whether the API is alive, whatever the state of Redis and S3",
        responses={"200": json("It is.", ref("schemas", "Pulse"), alive={"alive": True})},
    ),
    f"{V1}/system/health": get(
        "Health",
        "Whether Redis and S3 answer",
        **TOKEN,
        responses={
            "200": json("Both do.", ref("schemas", "Health"), healthy={"redis": "up", "s3": "up"}),
            "503": json(
                "One of them, or the API itself, does not answer.",
                ref("schemas", "Unhealthy"),
                ("Retry-After",),
                down={
                    "error": "redis cannot be reached; try again in a moment.",
                    "redis": "down",
                    "s3": "up",
                },
            ),
        },
    ),
    f"{V1}/thumbnail": get(
        "Records",
        "List records, newest first",
        parameters=LIST,
        **TOKEN,
        responses={
            "200": json(
                "A page of records; `Link` is there when another one follows.",
                {"type": "array", "maxItems": LIST_LIMIT, "items": ref("schemas", "Record")},
                ("Link",),
                records=[READY, PUT_INTO_BUCKET, WITH_URL],
                none=[],
            ),
            "400": BAD_LIST,
            "409": NO_URLS,
        },
    )
    | {
        "post": operation(
            "uploadPicture",
            "Upload a picture",
            description=f"Takes {ACCEPTED}, of at most 4,500,000 bytes or what the deployment has set below "
            "that; `createUpload` is the way for larger ones. The thumbnail is made a moment later.",
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
                                },
                                FOCUS_FIELD: FOCUS,
                            },
                        }
                    }
                },
            },
            **TOKEN,
            responses={
                "201": record(
                    "The record; with a repeated key, the first upload's as it stands now.",
                    headers=("Location", "Retry-After.pending"),
                    pending=PENDING,
                )
                | {"links": NEW_RECORD},
                "400": error(
                    "No file, an empty one, a broken form, or an unusable `focus` or `Idempotency-Key`.",
                    form="The request is not a form upload; send multipart/form-data with the picture as a "
                    f"file in the field '{FIELD}'.",
                    empty="The file is empty; choose a picture and send it again.",
                ),
                "413": error(
                    "Too many bytes or pixels, or of too many parts.",
                    gateway=TOO_LARGE,
                ),
                "415": error(
                    "Not an accepted image.",
                    unknown=f"This is not an image that can be used; send {ACCEPTED}.",
                ),
                "422": error(
                    "The `Idempotency-Key` stands for another upload, or for one that was removed.",
                    other="This Idempotency-Key was used for another picture, file name or focus; use a new "
                    "key for each upload.",
                    removed="The picture that was uploaded with this Idempotency-Key has been removed; use a "
                    "new key.",
                ),
            },
        )
    },
    f"{V1}/thumbnail/upload": {
        "post": operation(
            "createUpload",
            "Get a presigned POST to send a picture straight to S3",
            description="Send `fields` and then the picture, as the field `file`, to `url` as "
            "`multipart/form-data` (S3's POST); the record tells when the picture has come.",
            requestBody={
                "required": True,
                "content": {
                    "application/json": {
                        "schema": ref("schemas", "PresignedUploadRequest"),
                        "examples": {
                            "typed": {"value": {"filename": "photo.jpg", "content_type": "image/jpeg"}},
                            "untyped": {"value": {"filename": "photo.jpg"}},
                        },
                    }
                },
            },
            **TOKEN,
            responses={
                "201": json(
                    "The presigned POST, and a record that awaits the picture.",
                    ref("schemas", "PresignedUpload"),
                    ("Location",),
                    upload=PRESIGNED_UPLOAD,
                )
                | {"links": NEW_RECORD},
                "400": error(
                    "Not the JSON that is wanted.",
                    no_json="The body is not JSON; "
                    "send a JSON object with the name of the file as 'filename'.",
                ),
                "413": error(
                    "The body is larger than what the gateway takes.",
                    gateway=TOO_LARGE,
                ),
                "415": error(
                    "`content_type` is not that of an accepted image.",
                    unknown=f"The content_type must be one of {TYPES}, or be left out.",
                ),
            },
        )
    },
    f"{V1}/thumbnail/{{record_id}}": {"parameters": [ref("parameters", "record_id")]}
    | get(
        "Record",
        "How far a picture is",
        parameters=[URLS],
        **TOKEN,
        responses={
            "200": with_headers(
                record("The record.", pending=PENDING, ready=READY, failed=FAILED, shown=WITH_URL),
                "Cache-Control",
                "Last-Modified",
                "Retry-After.pending",
            ),
            "400": BAD_URLS,
            "404": UNKNOWN,
            "409": NO_URLS,
        },
    )
    | {
        "delete": operation(
            "deleteRecord",
            "Remove record, original and thumbnail",
            **TOKEN,
            responses={
                "200": record("The record as it was.", pending=PENDING, ready=READY, failed=FAILED),
                "404": UNKNOWN,
            },
        )
    },
    f"{V1}/thumbnail/{{record_id}}/url": PATH,
    f"{V1}/thumbnail/{{record_id}}/download": {"parameters": [ref("parameters", "record_id")]}
    | get(
        "Thumbnail",
        "Download the thumbnail",
        description="Where `RETENTION_AFTER_DOWNLOAD` is set, the first GET of a picture starts its end.",
        parameters=[
            SIZE,
            IF_NONE_MATCH,
        ],
        **TOKEN,
        responses={
            "200": with_headers(
                {
                    "description": "A JPEG, to be saved under the original's name with `.thumbnail.jpg`; a "
                    "named size has its own format and ends in its own name.",
                    "content": IMAGES,
                },
                "Content-Disposition",
                "ETag",
                "Cache-Control",
                "Last-Modified",
            ),
            "304": with_headers(
                {"description": "The client has this thumbnail already."},
                "ETag",
                "Cache-Control",
                "Last-Modified",
            ),
            "404": UNKNOWN_SIZE,
            "409": error(
                "The thumbnail is not ready yet.",
                "Retry-After",
                early="The thumbnail is not ready yet; try again in a second.",
            ),
            "422": error(
                "The picture cannot be thumbnailed; the record's `error` says the same.", damaged=UNDECODABLE
            ),
        },
    ),
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
    "webhooks": WEBHOOKS,
    "components": {
        "schemas": SCHEMAS | {"Event": EVENT},
        "parameters": {
            "record_id": {
                "name": "record_id",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "format": "uuid"},
                "example": ID,
            }
        },
        "headers": HEADERS,
        "responses": {
            "401": error(
                "The token is missing or not valid: get a new one.",
                "WWW-Authenticate",
                unauthorized="Send a valid token in the header 'Authorization: Bearer <token>'.",
            ),
            "403": error(
                "The token cannot be checked at the moment; a new one does not help. Or, in deployments that "
                "limit each client, the API key is missing or not valid.",
                unchecked="Your token cannot be accepted at the moment; try again in a minute.",
                no_key="Send a valid API key in the header x-api-key.",
            ),
            "429": error(
                "Too many requests for the deployment's limits.",
                "Retry-After",
                throttled="There are too many requests at the moment; try again in a second.",
            ),
            "500": error(
                "A fault of the service, which its log tells.",
                fault="Something went wrong on our side and is logged; try again, and tell us if it stays.",
            ),
            "503": error(
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
            },
            "key": {
                "description": "Tells the clients apart, in deployments that limit each of them.",
                "type": "apiKey",
                "name": "x-api-key",
                "in": "header",
            },
        },
    },
}
