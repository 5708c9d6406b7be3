"""Events as API Gateway (REST, Lambda proxy integration) and S3 send them."""

import base64
from typing import Any


def http_event(method: str, path: str, *, record_id: str | None = None) -> dict[str, Any]:
    """A request without a body; `record_id` is the path's parameter, if it has one."""
    resource = path.replace(record_id, "{record_id}") if record_id else path
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": {"Accept": "*/*", "Host": "localhost"},
        "multiValueHeaders": {"Accept": ["*/*"], "Host": ["localhost"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"record_id": record_id} if record_id else None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": resource,
            "httpMethod": method,
            "path": f"/api{path}",
            "stage": "api",
            "requestId": "00000000-0000-0000-0000-000000000000",
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": None,
        "isBase64Encoded": False,
    }


def upload_event(picture: bytes) -> dict[str, Any]:
    """An upload of a JPEG, in the form that a browser sends."""
    head = (
        b"--frame\r\nContent-Type: image/jpeg\r\n"
        b'Content-Disposition: form-data; name="image"; filename="IMG_8932.jpg"\r\n\r\n'
    )
    event = http_event("POST", "/api/v1/thumbnail")
    kind = "multipart/form-data; boundary=frame"
    event["headers"]["Content-Type"] = kind
    event["multiValueHeaders"]["Content-Type"] = [kind]
    event["body"] = base64.b64encode(head + picture + b"\r\n--frame--\r\n").decode()
    event["isBase64Encoded"] = True
    return event


def s3_event(bucket: str, key: str) -> dict[str, Any]:
    """S3's notification of a new object whose key needs no encoding."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1}},
    }
    return {"Records": [record]}
