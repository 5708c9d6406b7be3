"""The one table from error class to HTTP status, and the response of an error."""

from typing import NamedTuple

from chalicelib import errors

STATUS: dict[type[errors.ServiceError], int] = {
    errors.MalformedUpload: 400,
    errors.BadParameter: 400,
    errors.InvalidToken: 401,
    errors.UnknownThumbnail: 404,
    errors.UnknownSize: 404,
    errors.SizeNotMade: 404,
    errors.ThumbnailNotReady: 409,
    errors.ExpiresAfterDownload: 409,
    errors.UploadTooLarge: 413,
    errors.IdempotencyKeyReused: 422,
    errors.ThumbnailFailed: 422,
    # Failures of a picture that an upload's header already shows; later ones are the record's `error`.
    errors.UnsupportedFormat: 415,
    errors.TooManyPixels: 413,
    errors.TooComplex: 413,
    errors.RecordStoreUnavailable: 503,
    errors.RecordUnreadable: 503,
    errors.BucketUnavailable: 503,
    errors.OriginalChanging: 503,
}
RETRY_SECONDS = {409: 1, 503: 5}
"""Seconds of `Retry-After`, by status."""
LASTING = frozenset({errors.ExpiresAfterDownload})
"""Errors after which the same request never succeeds, though their status says so of others."""
SENTENCES = {
    405: "This path does not take {method}; see the Allow header.",
    500: "Something went wrong on our side and is logged; try again, and tell us if it stays.",
}
"""Sentences that replace the framework's own, by status."""


class ErrorResponse(NamedTuple):
    """Status, JSON body and headers of a response."""

    status: int
    body: dict[str, str]
    headers: dict[str, str]


def error_response(error: errors.ServiceError) -> ErrorResponse:
    """The response of an error."""
    status = STATUS[type(error)]
    headers = {} if type(error) in LASTING else retry_headers(status)
    return ErrorResponse(status, {"error": str(error)}, headers)


def retry_headers(status: int) -> dict[str, str]:
    """`Retry-After` (RFC 9110, 10.2.3) for statuses after which the same request may succeed."""
    return {"Retry-After": str(RETRY_SECONDS[status])} if status in RETRY_SECONDS else {}


def framework_error(status: int, message: str, method: str) -> dict[str, str]:
    """The body of an error that the framework answers by itself, with its own `message`."""
    return {"error": SENTENCES.get(status, message).format(method=method)}
