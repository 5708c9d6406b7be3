"""What the API's description says of events: the POST that a webhook gets (OpenAPI's `webhooks`)."""

from chalicelib.http.openapi_parts import FAILED, ID, READY, Part, ref

_KINDS = ("Ready", "Failed", "Deleted")
_DATA: Part = {
    "event_id": "5f0d3c1e-5b7e-5d0a-9d39-0f4f0c1b9a11",
    "bucket": "pictures",
    "key": f"uploads/{ID}",
}
_HEADERS = {
    "webhook-id": "The `event_id`; the same event may come again.",
    "webhook-timestamp": "When it was sent, in seconds since the epoch.",
    "webhook-signature": "`v1,` and the base64 of the HMAC-SHA256 of id, timestamp and body, joined by dots: "
    "as Standard Webhooks 1.0 say.",
}
EVENT: Part = {
    "type": "object",
    "required": ["type", "timestamp", "data"],
    "properties": {
        "type": {"enum": [f"Thumbnail {kind}" for kind in _KINDS]},
        "timestamp": {"type": "string", "format": "date-time", "description": "When the record ended."},
        "data": {
            "type": "object",
            "required": ["event_id", "bucket", "key", "record"],
            "properties": {
                "event_id": {"type": "string", "format": "uuid"},
                "bucket": {"type": "string"},
                "key": {"type": "string", "description": "The object key of the original."},
                "record": ref("schemas", "Record"),
            },
        },
    },
}


def _example(kind: str, record: Part) -> Part:
    data = _DATA | {"record": record}
    return {"value": {"type": f"Thumbnail {kind}", "timestamp": "2026-11-27T09:30:12Z", "data": data}}


WEBHOOKS: Part = {
    "thumbnailEnded": {
        "post": {
            "operationId": "thumbnailEnded",
            "summary": "A picture is ready, has failed or was deleted",
            "description": "Sent by deployments that publish events and have a webhook. An event may come "
            "more than once, and late: go by `timestamp`.",
            "parameters": [
                {"name": name, "in": "header", "description": says, "schema": {"type": "string"}}
                for name, says in _HEADERS.items()
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": ref("schemas", "Event"),
                        "examples": {
                            "ready": _example("Ready", READY),
                            "failed": _example("Failed", FAILED),
                            "deleted": _example("Deleted", READY),
                        },
                    }
                },
            },
            "responses": {
                "2XX": {"description": "It was taken; it comes again after any other answer, and after none."}
            },
        }
    }
}
