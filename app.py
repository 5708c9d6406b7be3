"""The thumbnail service at a glance: its routes, its trigger, and what each of them calls.

    POST  ──> Intake ──> Catalogue (Redis) ──> Bucket (S3, originals/)
                                                  │ ObjectCreated event
    GET   <── Catalogue, Bucket  <──  make_thumbnail ──> Pipeline ──> imaging
                                                  │ event that failed too often
                               <──     mark_failed ──> Pipeline

    before each of these, where there are owners: authorize ──> Tokens
    every five minutes                   reconcile ──> Reconciler ──> whatever stopped half-way, or has ended
    by hand, when Redis was lost           rebuild ──> Reconciler ──> records of what the bucket holds

The only file that imports chalice. The same objects serve AWS Lambda and the local server.
"""

import functools
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec

from aws_lambda_powertools import Logger
from chalice.app import AuthRequest, AuthResponse, CaseInsensitiveMapping, Chalice, Request, Response

from chalicelib import cors, errors, imaging, keys
from chalicelib.bucket import Bucket
from chalicelib.catalogue import Catalogue, Which
from chalicelib.clients import redis_client, s3_client
from chalicelib.clock import now_ms
from chalicelib.disposition import attachment, thumbnail_name
from chalicelib.events import Reason, created_keys, created_objects, given_up
from chalicelib.intake import Intake
from chalicelib.page import Page, make_page
from chalicelib.record import Record, State
from chalicelib.removal import remove
from chalicelib.settings import Settings
from chalicelib.signals import Signals
from chalicelib.ticket import parse_ticket_order
from chalicelib.upload import parse_idempotency_key, parse_upload

if TYPE_CHECKING:
    from chalicelib.pipeline import Run

app = Chalice(app_name="thumbnails", configure_logs=False)
# What may come in as bytes, and what goes out as bytes.
app.api.binary_types = ["multipart/form-data", "image/jpeg"]
log = Logger(service="thumbnails")

V1 = "/api/v1"
LIST_LIMIT = 1000
ONE_YEAR = 365 * 24 * 3600
RETRY_SECONDS = {409: 1, 503: 5}
# What an authorizer has to say for API Gateway to answer 401.
UNAUTHORIZED = "Unauthorized"
# How long API Gateway takes a token for good, or not, without asking again; so much longer it may be used.
AUTHORIZED_SECONDS = 60
# The reconciler takes up nothing more when a picture could run out of what is left of a function's time.
STOP_MS = 75_000

STATUS: dict[type[errors.ServiceError], int] = {
    errors.MalformedUpload: 400,
    errors.BadParameter: 400,
    errors.TokenRefused: 401,
    errors.UnknownThumbnail: 404,
    errors.ThumbnailNotReady: 409,
    errors.TooManyBytes: 413,
    errors.TooManyPixels: 413,
    errors.TooComplex: 413,
    errors.UnsupportedFormat: 415,
    errors.IdempotencyKeyReused: 422,
    errors.TriedTooOften: 422,
    errors.TookTooLong: 422,
    errors.NeededTooMuch: 422,
    errors.WaitedTooLong: 422,
    errors.UndecodablePicture: 422,
    errors.PictureFailed: 422,
    errors.CatalogueUnavailable: 503,
    errors.BucketUnavailable: 503,
    errors.OriginalUnsettled: 503,
}

GIVEN_UP: dict[Reason, type[errors.PictureError]] = {
    Reason.FAILED: errors.TriedTooOften,
    Reason.TIMED_OUT: errors.TookTooLong,
    Reason.OUT_OF_MEMORY: errors.NeededTooMuch,
    Reason.TOO_OLD: errors.WaitedTooLong,
}

View = ParamSpec("View")
Headers = dict[str, str | list[str]]


# --- what the handlers share: made on first use, kept while the function stays warm ---


@functools.cache
def settings() -> Settings:
    """The deployment's settings."""
    return Settings.from_env()


@functools.cache
def catalogue() -> Catalogue:
    """The records, for requests: a client is waiting, so it gives up after two tries of a second."""
    return Catalogue(redis_client(settings().redis_url, timeout=1), now_ms)


@functools.cache
def bucket() -> Bucket:
    """The objects, for requests: a client is waiting, so it gives up after two tries of a second."""
    return Bucket(s3_client(timeout=1, attempts=2), settings().bucket, settings().public_storage_url)


def intake() -> Intake:
    """Where uploads go."""
    request_id = request_facts()["request_id"]
    return Intake(catalogue(), bucket(), now_ms, settings().retention, owner(), request_id)


def signals() -> Signals:
    """Where metrics go."""
    return Signals(settings().bucket)


@functools.cache
def page() -> Page:
    """The page at `/`."""
    return make_page(
        max_upload=settings().max_upload_bytes,
        max_original=settings().max_original_bytes,
        ends_by_download=settings().retention_after_download is not None,
        form_url=bucket().post_url(),
    )


# --- errors and logs, the same for every route ---


def speaks_http(view: Callable[View, Response]) -> Callable[View, Response]:
    """Turn the service's own errors into responses."""

    @functools.wraps(view)
    def wrapped(*args: View.args, **kwargs: View.kwargs) -> Response:
        try:
            return view(*args, **kwargs)
        except errors.ServiceError as error:
            if isinstance(error, errors.Unavailable):
                log.warning("dependency unavailable", exc_info=error, extra=request_facts())
            if current_request().method == "POST":
                signals().rejected(type(error).__name__)
            status = STATUS[type(error)]
            headers: Headers = {}
            if status in RETRY_SECONDS:
                headers["Retry-After"] = str(RETRY_SECONDS[status])
            return Response({"error": str(error)}, status_code=status, headers=headers)

    return wrapped


def current_request() -> Request:
    """The request that is being answered."""
    assert app.current_request is not None, "views run for requests only"  # noqa: S101 - for the type checker
    return app.current_request


def owner() -> str | None:
    """Who asks, where the deployment knows owners: the `sub` of the token that the authorizer has checked."""
    if settings().auth is None:
        return None
    subject: str | None = (current_request().context.get("authorizer") or {}).get("principalId")
    if not subject:
        # The gateway has not asked for a token though it should have; nobody may pass for everybody then.
        raise errors.TokenRefused("The token was not checked, so that nothing can be shown.")
    return subject


def request_facts() -> dict[str, Any]:
    """What every log line of a request says: ids and routes, no names and no contents."""
    request = current_request()
    given_id = (request.uri_params or {}).get("record_id", "")
    return {
        "request_id": getattr(request.lambda_context, "aws_request_id", None),
        "record_id": given_id if keys.is_id(given_id) else None,
        "method": request.method,
        "route": request.path,
    }


@app.middleware("http")
def one_form(request: Any, get_response: Callable[[Any], Response]) -> Response:
    """Give Chalice's own answers our form, let HEAD have no body, and log one line for each request."""
    started = time.perf_counter()
    # There is one representation of everything, so that nothing is to be negotiated: without this,
    # Chalice answers 400 to a download whose Accept header does not name image/jpeg.
    request.headers = CaseInsensitiveMapping({**request.headers, "accept": "*/*"})
    response = get_response(request)
    if isinstance(response.body, dict) and response.body.keys() == {"Code", "Message"}:
        sentence = {
            405: f"This path does not take {request.method}; see the Allow header.",
            500: "Something went wrong on our side and is logged; try again, and tell us if it stays.",
        }.get(response.status_code, response.body["Message"])
        response.body = {"error": sentence}
    response.headers.setdefault("Content-Type", "application/json")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if request.method == "HEAD":
        response.body = b"" if isinstance(response.body, bytes) else ""
    facts = request_facts() | {
        "status": response.status_code,
        "milliseconds": round((time.perf_counter() - started) * 1000),
    }
    if response.status_code == 201:  # noqa: PLR2004 - Created: only its Location tells the new id
        facts["record_id"] = str(response.headers["Location"]).rpartition("/")[2]
    log.info("request", extra=facts)
    return response


@app.middleware("http")
def across_origins(request: Any, get_response: Callable[[Any], Response]) -> Response:
    """Let pages of the allowed origins use the API, and answer browsers that ask beforehand."""
    if request.method == "OPTIONS":
        methods = [*app.routes[request.path], "OPTIONS"]
        headers = {"Allow": ", ".join(methods)} | cors.preflight_headers(methods)
        response = Response("", status_code=204, headers=dict(headers))
    else:
        response = get_response(request)
    response.headers.update(cors.headers(settings().allowed_origins, request.headers.get("origin")))
    return response


# --- who may ask ---


@functools.cache
def tokens() -> Any:
    """What tells good tokens from bad; the issuer's keys are kept while the function stays warm."""
    from chalicelib.fetch import fetch
    from chalicelib.tokens import Tokens  # PyJWT's import is paid by this function alone

    auth = settings().auth
    assert auth is not None, "it is asked for where there are owners only"  # noqa: S101 - for the type checker
    return Tokens(auth, fetch, now_ms)


@app.authorizer(name="authorize", ttl_seconds=AUTHORIZED_SECONDS)
def authorize(request: AuthRequest) -> AuthResponse:
    """Let in whoever shows a good token, to all there is: what belongs to others is not found there.

    The gateway asks only where the deployment knows owners.

    Raises:
        Exception: the token is no good, which is 401. When nobody can say, the answer is a denial: 403.

    """
    try:
        subject = tokens().subject(request.token)
    except errors.TokenRefused as refusal:
        log.info("token refused", extra={"reason": str(refusal)})
        raise Exception(UNAUTHORIZED) from None  # noqa: TRY002 - the gateway goes by the word alone
    except Exception:
        log.exception("token not checked")
        return AuthResponse(routes=[], principal_id="nobody")
    return AuthResponse(routes=["*"], principal_id=subject)


# --- the HTTP API ---


@app.route("/", methods=["GET", "HEAD"], content_types=[])
@speaks_http
def show_page() -> Response:
    """Send the page with which people use all that follows."""
    headers: Headers = dict(page().headers)
    if matches(current_request().headers.get("if-none-match"), page().headers["ETag"].strip('"')):
        return Response("", status_code=304, headers=headers)
    return Response(page().html, headers=headers)


@app.route(f"{V1}/system/pulse", methods=["GET", "HEAD"], content_types=[])
@speaks_http
def pulse() -> Response:
    """Say that the API runs, whatever the state of Redis and S3."""
    return Response({"alive": True})


@app.route(f"{V1}/system/health", methods=["GET", "HEAD"], content_types=[], authorizer=authorize)
@speaks_http
def health() -> Response:
    """Say whether Redis and S3 answer: 200 when both do, else 503 naming the one that does not."""
    pings: dict[str, Callable[[], None]] = {"redis": catalogue().ping, "s3": bucket().ping}
    # At the same time, so that two that hang take no longer than one.
    with ThreadPoolExecutor(len(pings)) as pool:
        asked = {name: pool.submit(ping) for name, ping in pings.items()}
    failures = {name: answer.exception() for name, answer in asked.items()}
    found = {name: "up" if error is None else "down" for name, error in failures.items()}
    down = [name for name, error in failures.items() if error is not None]
    if not down:
        return Response(found)
    for error in filter(None, failures.values()):
        log.warning("dependency unavailable", exc_info=error, extra=request_facts())
    sentence = f"{' and '.join(down)} cannot be reached; try again in a moment."
    headers: Headers = {"Retry-After": str(RETRY_SECONDS[503])}
    return Response({"error": sentence} | found, status_code=503, headers=headers)


@app.route(f"{V1}/openapi.json", methods=["GET", "HEAD"], content_types=[])
@speaks_http
def description() -> Response:
    """Describe this API to programs."""
    from chalicelib.openapi import DOCUMENT  # no other request pays for its import

    return Response(DOCUMENT)


@app.route(f"{V1}/thumbnail", methods=["GET", "HEAD"], content_types=[], authorizer=authorize)
@speaks_http
def list_records() -> Response:
    """List records, newest first; a Link header leads to the next page."""
    query: Mapping[str, str] = current_request().query_params or {}
    limit = query.get("limit", str(LIST_LIMIT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= len(str(LIST_LIMIT))) or not (
        1 <= int(limit) <= LIST_LIMIT
    ):
        raise errors.BadParameter(f"limit must be a whole number from 1 to {LIST_LIMIT}.")
    listed = catalogue().page(int(limit), query.get("cursor"), owner())
    headers: Headers = {}
    if listed.cursor is not None:
        headers["Link"] = f'<{own_path()}?limit={limit}&cursor={listed.cursor}>; rel="next"'
    return Response([record.as_json() for record in listed.records], headers=headers)


@app.route(f"{V1}/thumbnail", methods=["POST"], content_types=["*/*"], authorizer=authorize)
@speaks_http
def upload() -> Response:
    """Take a picture. The thumbnail is made by whoever hears S3 say that the original has landed."""
    request = current_request()
    body = request.raw_body
    file = parse_upload(
        request.headers.get("content-type", ""),
        body.encode() if isinstance(body, str) else body,
        max_bytes=settings().max_upload_bytes,
    )
    imaging.check(file.content, max_pixels=settings().max_pixels)
    key = parse_idempotency_key(request.headers.get("idempotency-key"))
    record = intake().store(file) if key is None else intake().store_once(file, key)
    signals().uploaded(len(file.content), "multipart")
    return Response(record.as_json(), status_code=201, headers={"Location": f"{own_path()}/{record.id}"})


@app.route(f"{V1}/thumbnail/upload", methods=["POST"], content_types=["*/*"], authorizer=authorize)
@speaks_http
def ticket() -> Response:
    """Let a client send a picture straight to S3: one that is larger than what the gateway lets through."""
    body = current_request().raw_body
    order = parse_ticket_order(body.encode() if isinstance(body, str) else body)
    record, post = intake().expect(order, max_bytes=settings().max_original_bytes)
    signals().ticket_given()
    url = f"{own_path().removesuffix('/upload')}/{record.id}"
    given = {"id": record.id, "record": url, "url": post.url, "fields": post.fields}
    given["expires"] = record.as_json()["expires"]
    return Response(given, status_code=201, headers={"Location": url})


@app.route(f"{V1}/thumbnail/{{record_id}}", methods=["GET", "HEAD"], content_types=[], authorizer=authorize)
@speaks_http
def get_record(record_id: str) -> Response:
    """Tell how far a picture is."""
    return Response(find(record_id).as_json())


@app.route(f"{V1}/thumbnail/{{record_id}}", methods=["DELETE"], content_types=[], authorizer=authorize)
@speaks_http
def delete(record_id: str) -> Response:
    """Remove record, original and thumbnail. Of several at once, one gets the record and the others 404."""
    found = keys.is_id(record_id)
    removed = remove(catalogue(), bucket(), record_id, Which.ALIVE, owner()) if found else None
    if removed is None:
        raise errors.UnknownThumbnail
    return Response(removed.as_json())


@app.route(
    f"{V1}/thumbnail/{{record_id}}/download", methods=["GET", "HEAD"], content_types=[], authorizer=authorize
)
@speaks_http
def download(record_id: str) -> Response:
    """Send the thumbnail, or say why there is none."""
    record = find(record_id)
    if record.error is not None:
        raise errors.PictureFailed(record.error)
    if record.state is not State.READY or record.thumbnail is None:
        raise errors.ThumbnailNotReady
    headers: Headers = {
        "Content-Type": "image/jpeg",
        "ETag": f'"{record.thumbnail}"',
        # A client's own key in the bucket can be written again; an id of ours never is.
        "Cache-Control": cache_control(record),
    }
    if matches(current_request().headers.get("if-none-match"), record.thumbnail):
        return Response(b"", status_code=304, headers=headers)
    thumbnail = bucket().get(keys.thumbnail(record_id, record.thumbnail))
    if thumbnail is None:  # deleted since we looked, or about to be replaced
        find(record_id)
        raise errors.ThumbnailNotReady
    with thumbnail:
        content = thumbnail.read()
    kept_for = settings().retention_after_download
    if kept_for is not None and record.download_expires_ms is None and current_request().method == "GET":
        # If this fails, so does the download: the client repeats it, and nothing is lost.
        catalogue().end_after_download(record, kept_for)
    headers["Content-Disposition"] = attachment(thumbnail_name(record.filename))
    return Response(content, headers=headers)


def own_path() -> str:
    """The request's path as the client wrote it, the gateway's stage included."""
    return str(current_request().context["path"]).rstrip("/")


def find(record_id: str) -> Record:
    """The record with this id, or `UnknownThumbnail`."""
    record = catalogue().get(record_id, owner()) if keys.is_id(record_id) else None
    if record is None:
        raise errors.UnknownThumbnail
    return record


def cache_control(record: Record) -> str:
    """How long others may keep a thumbnail: not beyond its end, and not unasked if it may be replaced."""
    if settings().retention_after_download is not None:
        return "no-store"
    if record.owner is not None:
        return "private, no-cache"
    if record.ticket_ends_ms is not None or not keys.is_minted(record.object_key):
        # A client may write its own key in the bucket again, and send its file twice on one ticket.
        return "public, no-cache"
    seconds = ONE_YEAR if record.ends_ms is None else (record.ends_ms - now_ms()) // 1000
    return f"public, max-age={max(0, min(seconds, ONE_YEAR))}, immutable"


def matches(if_none_match: str | None, etag: str) -> bool:
    """Compare an If-None-Match header with an entity tag, weakly (RFC 9110, 13.1.2)."""
    given = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return "*" in given or f'"{etag}"' in given


# --- the S3 event pipeline ---


@functools.cache
def pipeline() -> Any:
    """The pipeline: nobody waits for it, so it is patient with Redis and S3."""
    from chalicelib.pipeline import Pipeline  # Pillow's import is paid by this function alone

    return Pipeline(
        catalogue=Catalogue(redis_client(settings().redis_url, timeout=5), now_ms),
        bucket=Bucket(s3_client(timeout=10, attempts=4), settings().bucket),
        spec=settings().spec,
        max_bytes=settings().max_original_bytes,
        max_pixels=settings().max_pixels,
        retention=settings().retention,
        keep_originals=settings().keep_originals,
    )


@app.lambda_function(name="make_thumbnail")
def make_thumbnail(event: dict[str, Any], context: Any) -> None:
    """Handle an S3 notification; raises when any of its objects has to be tried again."""
    failures: list[Exception] = []
    for object_key in created_keys(event, bucket=settings().bucket, prefix=keys.ORIGINALS):
        facts = {"request_id": context.aws_request_id, "record_id": keys.record_id(object_key)}
        started = time.perf_counter()
        try:
            outcome = pipeline().process(object_key, observe=tell_of_run(facts))
        except Exception as error:
            # One object's failure must not keep the others waiting.
            log.exception("thumbnail to be retried", extra=facts)
            failures.append(error)
        else:
            took = round((time.perf_counter() - started) * 1000)
            log.info("thumbnail", extra=facts | {"outcome": outcome.value, "milliseconds": took})
    if failures:
        raise failures[0]


def tell_of_run(facts: dict[str, Any]) -> Callable[["Run"], None]:
    """Let metrics know of each run of the pipeline, and `facts` what the log should say of it."""

    def tell(run: "Run") -> None:
        # The request that brought the picture: the log lines of that have the same id.
        facts["correlation_id"] = run.request_id
        facts["waited_milliseconds"] = run.waited_ms
        signals().made(
            outcome=run.outcome.value,
            image_format=run.image_format,
            waited_ms=run.waited_ms,
            decode_ms=run.decode_ms,
            size=run.thumbnail_size,
        )
        if run.request_id is None:
            signals().uploaded(run.original_size, "bucket")

    return tell


@app.lambda_function(name="mark_failed")
def mark_failed(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Handle what Lambda has given up on: queued reports, each holding the notification it was about.

    Returns:
        the messages that have to come again, as SQS event sources want it.

    """
    again: list[dict[str, str]] = []
    for report in given_up(event):
        try:
            for version in created_objects(report.event, bucket=settings().bucket, prefix=keys.ORIGINALS):
                outcome = pipeline().give_up(version.key, version.etag, GIVEN_UP[report.reason]())
                facts = {"request_id": context.aws_request_id, "record_id": keys.record_id(version.key)}
                log.error("given up", extra=facts | {"outcome": outcome.value, "reason": report.reason.value})
                signals().given_up(report.reason.value)
        except Exception:
            log.exception("marking to be retried", extra={"request_id": context.aws_request_id})
            again.append({"itemIdentifier": report.message_id})
    return {"batchItemFailures": again}


# --- what is done without being asked ---


def reconciler(context: Any) -> Any:
    """The reconciler, for as long as the function that runs it has time."""
    from chalicelib.reconcile import Reconciler  # only these functions pay for its import

    return Reconciler(
        pipeline().catalogue,
        pipeline().bucket,
        pipeline(),
        clock=now_ms,
        time_is_up=lambda: context.get_remaining_time_in_millis() < STOP_MS,
        observe=tell_of_run({}),
    )


@app.lambda_function(name="reconcile")
def reconcile(event: Any, context: Any) -> dict[str, Any]:
    """Bring to an end what stopped half-way, remove what has ended, and look after all the rest in time.

    Called every five minutes.

    Returns:
        `{"done": True, "counts": {<what was done>: <how often>}}`

    """
    found = reconciler(context)
    counts = dict(found.sweep() + found.audit())
    signals().reconciled(counts)
    answer = {"done": True, "counts": counts}
    log.info("reconciled", extra={"request_id": context.aws_request_id} | answer)
    return answer


@app.lambda_function(name="rebuild")
def rebuild(event: Any, context: Any) -> dict[str, Any]:
    """Make the records again that Redis has lost. To be called until it is done.

    Returns:
        `{"done": <whether all of the bucket was seen>, "counts": {<what was done>: <how often>}}`

    """
    counts, done = reconciler(context).rebuild()
    answer = {"done": done, "counts": dict(counts)}
    log.info("rebuilt", extra={"request_id": context.aws_request_id} | answer)
    return answer
