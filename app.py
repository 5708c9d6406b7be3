"""The thumbnail service at a glance: its routes, its triggers, and what each of them calls.

    POST   ──> Uploader ──> RecordStore (Redis) ──> Bucket (S3, uploads/, originals/)
                                                      │ ObjectCreated event
    GET    <── RecordStore, Bucket  <──  make_thumbnail ──> Processor ──> imaging
                                                      │ event that failed each time
                                    <──  mark_failed ──> Processor

    before each of these, where the deployment has owners: authorize ──> Tokens
    every five minutes                  reconcile ──> Sweep, Audit: what has stopped, expired, or was lost
    by hand, when Redis was lost          rebuild ──> Rebuild: the records of what the bucket holds
    with events: every minute             publish ──> EventBridge: what `outbox` reads from RecordStore

The only file that imports chalice. The same objects serve AWS Lambda and the local server.
"""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

from chalice.app import AuthRequest, AuthResponse, CaseInsensitiveMapping, Chalice, Request, Response

from chalicelib import errors, imaging, naming, triggers
from chalicelib.clock import now_ms
from chalicelib.http import caching, cors, paging, parameters, representation
from chalicelib.http.content_disposition import attachment, thumbnail_name
from chalicelib.http.errors import ErrorResponse, error_response, framework_error
from chalicelib.http.health import check_health
from chalicelib.http.multipart import parse_idempotency_key, parse_upload
from chalicelib.http.polling import poll_headers
from chalicelib.http.presigned import parse_presigned_upload
from chalicelib.records.codec import as_json, rfc3339
from chalicelib.records.record import UNRESTRICTED, Owner, Record, RemovalScope, Viewer
from chalicelib.services import bucket, log, metrics, page, settings, store, tokens
from chalicelib.spec import ImageFormat
from chalicelib.work.download import Downloader, stored_picture
from chalicelib.work.remove import remove
from chalicelib.work.upload import Uploader

app = Chalice(app_name="thumbnails", configure_logs=False)
# What may come in as bytes, and what goes out as bytes.
app.api.binary_types = ["multipart/form-data", *(one.media_type for one in ImageFormat)]

V1 = "/api/v1"
# What an authorizer has to say for API Gateway to answer 401.
UNAUTHORIZED = "Unauthorized"
# How long API Gateway keeps the answer for a token; a token may be used for so much longer than it is valid.
AUTHORIZED_SECONDS = 60
# Stop taking work when less time than this is left: one picture may take 60 s.
STOP_MS = 75_000

View = ParamSpec("View")


# --- errors and logs, the same for every route ---


def errors_to_responses(view: Callable[View, Response]) -> Callable[View, Response]:
    """Turn the service's own errors into responses."""

    @functools.wraps(view)
    def wrapped(*args: View.args, **kwargs: View.kwargs) -> Response:
        try:
            return view(*args, **kwargs)
        except errors.ServiceError as error:
            if isinstance(error, errors.Unavailable):
                log.warning("dependency unavailable", exc_info=error, extra=request_facts())
            if current_request().method == "POST":
                metrics().upload_rejected(type(error).__name__)
            return response_of(error_response(error))

    return wrapped


def response_of(error: ErrorResponse) -> Response:
    """The same for Chalice."""
    return Response(error.body, status_code=error.status, headers=dict(error.headers))


def current_request() -> Request:
    """The request that is being answered."""
    assert app.current_request is not None, "views run for requests only"  # noqa: S101 - for the type checker
    return app.current_request


def viewer() -> Viewer:
    """Who asks: where the deployment has owners, the `sub` of the token that the authorizer has checked."""
    if settings().auth is None:
        return UNRESTRICTED
    subject: str | None = (current_request().context.get("authorizer") or {}).get("principalId")
    if not subject:
        # The gateway has not asked for a token though it should have: no client may pass for everybody then.
        raise errors.InvalidToken("The token was not checked, so that nothing can be shown.")
    return Owner(subject)


def request_facts() -> dict[str, str | None]:
    """What every log line of a request says: ids and routes, no names and no contents."""
    request = current_request()
    given_id = (request.uri_params or {}).get("record_id", "")
    return {
        "request_id": getattr(request.lambda_context, "aws_request_id", None),
        "record_id": given_id if naming.is_id(given_id) else None,
        "method": request.method,
        "route": request.path,
    }


def request_body() -> bytes:
    """The body of the request, whether it came as text or as bytes."""
    body = current_request().raw_body
    return body.encode() if isinstance(body, str) else body


@app.middleware("http")
def normalize_response(request: Any, get_response: Callable[[Any], Response]) -> Response:
    """Normalize every response (error body, headers, HEAD) and write one access-log line."""
    started = time.perf_counter()
    # There is one representation of everything, so that nothing is to be negotiated: without this,
    # Chalice answers 400 to a download whose Accept header does not name image/jpeg.
    request.headers = CaseInsensitiveMapping({**request.headers, "accept": "*/*"})
    response = get_response(request)
    if isinstance(response.body, dict) and response.body.keys() == {"Code", "Message"}:
        response.body = framework_error(response.status_code, response.body["Message"], request.method)
    response.headers.setdefault("Content-Type", "application/json")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if request.method == "HEAD":
        response.body = b"" if isinstance(response.body, bytes) else ""
    facts: dict[str, object] = {
        **request_facts(),
        "status": response.status_code,
        "milliseconds": round((time.perf_counter() - started) * 1000),
    }
    if response.status_code == 201:  # noqa: PLR2004 - Created: only its Location tells the new id
        facts["record_id"] = str(response.headers["Location"]).rpartition("/")[2]
    log.info("request", extra=facts)
    return response


@app.middleware("http")
def cors_middleware(request: Any, get_response: Callable[[Any], Response]) -> Response:
    """Let pages of the allowed origins use the API, and answer preflights."""
    if request.method == "OPTIONS":
        methods = [*app.routes[request.path], "OPTIONS"]
        headers = {"Allow": ", ".join(methods)} | cors.preflight_headers(methods)
        response = Response("", status_code=204, headers=dict(headers))
    else:
        response = get_response(request)
    response.headers.update(cors.headers(settings().allowed_origins, request.headers.get("origin")))
    return response


# --- who asks, and for what ---


def uploader() -> Uploader:
    """Accepts the uploads of this request's client."""
    request_id = request_facts()["request_id"]
    claimed = "claimed" in (current_request().context.get("authorizer") or {})
    return Uploader(store(), bucket(), now_ms, settings().retention, viewer(), request_id, claimed)


def downloader() -> Downloader:
    """Reads for this request's client."""
    return Downloader(store(), bucket, viewer(), settings().retention_after_download, settings().sizes)


def query_params() -> Mapping[str, str]:
    """The parameters of the request's query, decoded; of one that is repeated, the last."""
    return current_request().query_params or {}


def shower() -> Callable[[Record], dict[str, Any]]:
    """What shows records to this request's client, with URLs if it wants them."""
    return representation.shower(downloader(), parameters.urls(query_params()))


# --- who may ask ---


@app.authorizer(name="authorize", ttl_seconds=AUTHORIZED_SECONDS)
def authorize(request: AuthRequest) -> AuthResponse:
    """Let in a client with a valid token, to all routes: what belongs to others is not found there.

    The gateway calls it only where the deployment has owners.

    Raises:
        Exception: the token is not valid, which is 401. When it cannot be checked, the answer is a denial:
            403.

    """
    try:
        who = tokens().identify(request.token)
    except errors.InvalidToken as refusal:
        log.info("token refused", extra={"reason": str(refusal)})
        raise Exception(UNAUTHORIZED) from None  # noqa: TRY002 - the gateway goes by the word alone
    except Exception:
        log.exception("token not checked")
        return AuthResponse(routes=[], principal_id="nobody")
    return AuthResponse(routes=["*"], principal_id=who.subject, context=who.context)


# --- the HTTP API ---


@app.route("/", methods=["GET", "HEAD"], content_types=[])
@errors_to_responses
def show_page() -> Response:
    """Send the page that uses all of the API below."""
    headers = page().headers
    if caching.matches(current_request().headers.get("if-none-match"), headers["ETag"].strip('"')):
        return Response("", status_code=304, headers=dict(headers))
    return Response(page().html, headers=dict(headers))


@app.route(f"{V1}/system/pulse", methods=["GET", "HEAD"], content_types=[])
@errors_to_responses
def pulse() -> Response:
    """Say that the API runs, whatever the state of Redis and S3."""
    return Response({"alive": True})


@app.route(f"{V1}/system/health", methods=["GET", "HEAD"], content_types=[], authorizer=authorize)
@errors_to_responses
def health() -> Response:
    """Say whether Redis and S3 answer: 200 when both do, else 503 naming the one that does not."""
    response, failures = check_health({"redis": lambda: store().ping(), "s3": lambda: bucket().ping()})
    for error in failures:
        log.warning("dependency unavailable", exc_info=error, extra=request_facts())
    return response_of(response)


@app.route(f"{V1}/openapi.json", methods=["GET", "HEAD"], content_types=[])
@errors_to_responses
def description() -> Response:
    """Describe this API to programs."""
    from chalicelib.http.openapi import DOCUMENT  # no other request pays for its import

    return Response(DOCUMENT)


@app.route(f"{V1}/thumbnail", methods=["GET", "HEAD"], content_types=[], authorizer=authorize)
@errors_to_responses
def list_records() -> Response:
    """List records, newest first; a Link header leads to the next page. `?key=` finds that of one object."""
    query, show = query_params(), shower()
    limit, key = paging.parse_limit(query.get("limit")), parameters.object_key(query)
    if key is not None:
        return Response([show(record) for record in downloader().find_by_key(key)])
    shown, cursor = representation.show_fitting(store().page(limit, query.get("cursor"), viewer()), show)
    headers = paging.next_link(own_path(), limit, cursor, parameters.urls(query))
    return Response(shown, headers=dict(headers))


@app.route(f"{V1}/thumbnail", methods=["POST"], content_types=["*/*"], authorizer=authorize)
@errors_to_responses
def upload() -> Response:
    """Accept a picture. S3's event about the original then makes the thumbnail."""
    headers = current_request().headers
    file = parse_upload(
        headers.get("content-type", ""), request_body(), max_bytes=settings().max_upload_bytes
    )
    file = file.described(imaging.check(file.content, max_pixels=settings().max_pixels))
    key = parse_idempotency_key(headers.get("idempotency-key"))
    record = uploader().upload(file) if key is None else uploader().upload_idempotently(file, key)
    if record.etag is None and record.touched_ms is None:  # not a repeated one
        metrics().uploaded(len(file.content), "multipart")
    own = {"Location": f"{own_path()}/{record.id}"}
    return Response(as_json(record), status_code=201, headers={**own, **poll_headers(record)})


@app.route(f"{V1}/thumbnail/upload", methods=["POST"], content_types=["*/*"], authorizer=authorize)
@errors_to_responses
def presign_upload() -> Response:
    """Let a client send a picture straight to S3: one that is larger than what the gateway lets through."""
    request = parse_presigned_upload(request_body())
    record, post = uploader().presign(request, max_bytes=settings().max_original_bytes)
    metrics().upload_presigned()
    url = f"{own_path().removesuffix('/upload')}/{record.id}"
    given = {"id": record.id, "record": url, "url": post.url, "fields": post.fields}
    given["expires"] = as_json(record)["expires"]
    return Response(given, status_code=201, headers={"Location": url})


@app.route(f"{V1}/thumbnail/{{record_id}}", methods=["GET", "HEAD"], content_types=[], authorizer=authorize)
@errors_to_responses
def get_record(record_id: str) -> Response:
    """Show the record of a picture."""
    show, record = shower(), downloader().find(record_id)
    # A date alone would let caches keep the record for a part of its age: RFC 9111, 4.2.2.
    headers = {"Last-Modified": caching.last_modified(record), "Cache-Control": "no-cache"}
    return Response(show(record), headers={**headers, **poll_headers(record)})


@app.route(f"{V1}/thumbnail/{{record_id}}", methods=["DELETE"], content_types=[], authorizer=authorize)
@errors_to_responses
def delete(record_id: str) -> Response:
    """Remove record, original and thumbnail.

    Of several at the same time, one gets the record, the others 404.
    """
    who = viewer()
    is_id = naming.is_id(record_id)
    removed = remove(store(), bucket(), record_id, RemovalScope.VISIBLE, who) if is_id else None
    if removed is None:
        raise errors.UnknownThumbnail
    return Response(as_json(removed))


@app.route(
    f"{V1}/thumbnail/{{record_id}}/download", methods=["GET", "HEAD"], content_types=[], authorizer=authorize
)
@errors_to_responses
def download(record_id: str) -> Response:
    """Send the thumbnail, or the one of the size that is asked for, or say why there is none."""
    request, pictures = current_request(), downloader()
    size = query_params().get("size")
    record = pictures.find_ready(record_id, size)
    picture = stored_picture(record, size)
    expires = pictures.expires_after is not None
    headers = caching.headers(record, picture.tag, now_ms(), expires_after_download=expires)
    headers["Content-Type"] = picture.format.media_type
    if caching.matches(request.headers.get("if-none-match"), picture.tag):
        return Response(b"", status_code=304, headers=dict(headers))
    content = pictures.read(record, size, is_download=request.method == "GET")
    headers["Content-Disposition"] = attachment(thumbnail_name(record.filename, size, picture.format))
    return Response(content, headers=dict(headers))


@app.route(
    f"{V1}/thumbnail/{{record_id}}/url", methods=["GET", "HEAD"], content_types=[], authorizer=authorize
)
@errors_to_responses
def url(record_id: str) -> Response:
    """Give a URL that shows the thumbnail for a while, to who has it, without a header: for an `<img>`."""
    pictures, query = downloader(), query_params()
    size = query.get("size")
    made = pictures.url_maker(parameters.seconds(query), size)(pictures.find_ready(record_id, size))
    body = {"url": made.url, "expires": rfc3339(made.expires_ms)}
    return Response(body, headers={"Cache-Control": "no-store"})


def own_path() -> str:
    """The request's path as the client wrote it, the gateway's stage included."""
    return str(current_request().context["path"]).rstrip("/")


# --- the S3 event pipeline ---


@app.lambda_function(name="make_thumbnail")
def make_thumbnail(event: dict[str, Any], context: Any) -> None:
    """Process the originals that an S3 notification names; raises when one of them has to be tried again."""
    triggers.make_thumbnails(event, context.aws_request_id)


@app.lambda_function(name="mark_failed")
def mark_failed(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Retry the events on which `make_thumbnail` has failed each time, as often as an outage lasts."""
    return triggers.retry_failed(event, context.aws_request_id)


# --- repair, and events ---


@app.lambda_function(name="reconcile")
def reconcile(event: Any, context: Any) -> dict[str, object]:
    """Repair what has stopped, expired or was lost, every five minutes; or do what `make remake` asks for."""
    return triggers.reconcile(event, functools.partial(has_no_time, context), context.aws_request_id)


@app.lambda_function(name="rebuild")
def rebuild(event: Any, context: Any) -> dict[str, object]:
    """Make the records agree with the bucket again. To be called until its answer says `done`.

    An event `{"redrive": <code>}` processes failed pictures again instead: those with this error code, or all
    if the code is empty.
    """
    time_is_up = functools.partial(has_no_time, context)
    if isinstance(event, dict) and "redrive" in event:
        return triggers.redrive(str(event["redrive"]) or None, time_is_up, context.aws_request_id)
    return triggers.rebuild(time_is_up, context.aws_request_id)


@app.lambda_function(name="outbox")
def outbox(event: dict[str, Any], context: Any) -> list[dict[str, Any]]:
    """Hand out the events that are to be published, and note which were. Called by `publish` alone."""
    return triggers.read_outbox(event)


@app.lambda_function(name="publish")
def publish(event: Any, context: Any) -> dict[str, int]:
    """Publish to EventBridge what has ended. Called every minute, and after each run of `make_thumbnail`."""
    return triggers.publish_events(lambda: has_no_time(context), context.aws_request_id)


def has_no_time(context: Any) -> bool:
    """Tell whether the function that runs may be stopped before another picture, or batch, is done."""
    return bool(context.get_remaining_time_in_millis() < STOP_MS)
