"""What an error of S3 means: nothing there, not now, or never as it is.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html. A reply to HEAD has no body, so
that its status is all that is known.
"""

from typing import Any

from botocore.exceptions import ClientError

from chalicelib.errors import OriginalArchived, OriginalDenied, OriginalEncrypted, OriginalRefused

_MISSING = frozenset({"NoSuchKey", "404"})
_CHANGED = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
# These are about the caller, its clock or the bucket, not about one object.
_NOT_THE_OBJECTS = frozenset(
    {
        "AccountProblem",
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "IllegalLocationConstraintException",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "InvalidToken",
        "NoSuchBucket",
        "NotSignedUp",
        "PermanentRedirect",
        "RequestExpired",
        "RequestTimeout",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TokenRefreshRequired",
        "TooManyRequests",
    }
)
_PASSING = frozenset({404, 408, 429})


def is_missing(error: ClientError) -> bool:
    """Tell whether there is no such object."""
    return _code(error) in _MISSING


def is_changed(error: ClientError) -> bool:
    """Tell whether a condition of the request did not hold: another version is there, or is being written."""
    return _code(error) in _CHANGED


def refusal(error: ClientError) -> OriginalRefused | None:
    """The lasting refusal of one object that this error is, if it is one.

    A 4xx other than 404, 408 and 429 is, unless its code is about the caller or the bucket.
    """
    code, status = _code(error), _status(error)
    is_refusal = status // 100 == 4 and status not in _PASSING  # noqa: PLR2004 - RFC 9110, 15.5
    if not is_refusal or code in _NOT_THE_OBJECTS:
        return None
    message = str(_reply(error).get("Error", {}).get("Message", ""))
    if code == "InvalidObjectState":
        return OriginalArchived()
    # SSE-C: 400 without the client's key, whose reply to HEAD has the bare status. KMS: its own codes, or a
    # denial that names the action.
    if code.startswith("KMS.") or code in {"400", "InvalidRequest"} or "kms:" in message:
        return OriginalEncrypted()
    return OriginalDenied()


def _reply(error: ClientError) -> dict[str, Any]:
    reply: Any = error.response
    return dict(reply)


def _code(error: ClientError) -> str:
    return str(_reply(error).get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(_reply(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
