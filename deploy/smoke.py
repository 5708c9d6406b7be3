"""One picture's life against a deployed API: the proof that all its parts work together."""

import base64
import json
import os
import re
import time
from io import BytesIO
from typing import Any

import requests
from botocore.exceptions import BotoCoreError, ClientError
from PIL import Image, UnidentifiedImageError

from chalicelib.settings import Algorithm
from deploy import UserError, maintain
from deploy.stack import Stack

_SECONDS = 60


def run(stack: Stack) -> None:
    """Try a deployment with the token and the key in `SMOKE_TOKEN` and `SMOKE_API_KEY`.

    Raises:
        UserError: the test failed, for whatever reason, so that the caller can go back to the version before.
            Where the functions refuse their settings, the message names the variable.

    """
    token, key = (os.environ.get(name) or None for name in ("SMOKE_TOKEN", "SMOKE_API_KEY"))
    try:
        took = test(stack.url(), token, key)
    except Exception as error:
        refused = refused_settings(stack)
        if refused:
            why = f"the functions refuse their settings: {refused}"
        elif isinstance(error, UserError):
            why = str(error)
        else:
            why = f"the smoke test failed: {type(error).__name__}: {error}"
        raise UserError(why) from error
    if took is None:
        print(
            "It asks for a token or an API key, as it should; "
            "with them in SMOKE_TOKEN and SMOKE_API_KEY, it is tried with an upload."
        )
    else:
        print(f"Smoke test passed: a thumbnail was ready after {took:.1f} s.")


def refused_settings(stack: Stack) -> str | None:
    """The sentence by which the functions refuse their settings, None if none is known.

    Clients are told nothing of that, so the reconciler is asked, which may be called at any time.
    """
    try:
        reply = maintain.client_of(stack).invoke(FunctionName=f"{stack.name}-reconcile", Payload=b"{}")
        said = json.loads(reply["Payload"].read() or b"null")
    except (BotoCoreError, ClientError):
        # It is busy, or was lost: what the test itself has found must not be hidden by that.
        return None
    message = said.get("errorMessage", "") if isinstance(said, dict) else ""
    # Its first word is the variable's name. The error's type is told by AWS, and not by emulators.
    return message if re.match(r"[A-Z][A-Z0-9_]+ (must|is not) ", message) else None


def test(url: str, token: str | None, api_key: str | None) -> float | None:
    """Upload a picture, wait for its thumbnail, download and delete it.

    Args:
        url: where the API is, without a slash at the end.
        token: what a deployment with owners asks for; None for one without.
        api_key: what a deployment with limits for each client asks for; None for one without.

    Returns:
        seconds from the upload until the thumbnail was ready; None when a token or a key is asked for.

    Raises:
        UserError: a step failed; the sentence tells the answer.

    """
    picture = BytesIO()
    Image.linear_gradient("L").save(picture, "PNG")
    base = f"{url}/api/v1/thumbnail"
    session = requests.Session()
    if token is not None:
        session.headers["Authorization"] = f"Bearer {token}"
    if api_key is not None:
        session.headers["X-Api-Key"] = api_key
    started = time.monotonic()
    reply = session.post(base, files={"image": ("smoke.png", picture.getvalue())}, timeout=60)
    if token is None and reply.status_code == requests.codes.unauthorized:
        # Without a token, the gateway says so itself; of a bad one, the function that checks them has to. One
        # is of the deployment's algorithm, so that the issuer is asked for its keys: 403 if it is away.
        for algorithm in Algorithm:
            bad = {"Authorization": f"Bearer {_unsigned(algorithm)}"}
            _expect(401, session.get(base, headers=bad, timeout=60))
        return None
    if api_key is None and reply.status_code == requests.codes.forbidden and "API key" in reply.text:
        return None
    record_url = f"{base}/{_record(201, reply)['id']}"
    try:
        while not (record := _record(200, session.get(record_url, timeout=60)))["ready"]:
            if "error" in record or time.monotonic() - started > _SECONDS:
                raise UserError(f"the smoke test's picture did not become a thumbnail: {record}")
            time.sleep(0.2)
        took = time.monotonic() - started
        accept = {"Accept": "image/jpeg"}  # LocalStack sends base64 to who says */*
        download = session.get(f"{record_url}/download", headers=accept, timeout=60)
        thumbnail = _expect(200, download).content
        if _format(thumbnail) != "JPEG" or len(thumbnail) != record["size"]["thumbnail"]:
            # Base64 in its place means that the API's binary media types are wrong.
            raise UserError(
                f"the smoke test's thumbnail did not arrive as it was stored: {len(thumbnail)} bytes that "
                f"begin with {thumbnail[:8]!r}."
            )
    finally:
        session.delete(record_url, timeout=60)
    return took


def _unsigned(algorithm: Algorithm) -> str:
    """A token that is well formed, and signed with no key."""
    header = json.dumps({"alg": algorithm, "kid": "smoke"}).encode()
    return f"{base64.urlsafe_b64encode(header).decode().rstrip('=')}.e30.AAAA"


def _format(data: bytes) -> str | None:
    try:
        with Image.open(BytesIO(data)) as image:
            return image.format
    except UnidentifiedImageError:
        return None


def _record(status: int, reply: requests.Response) -> dict[str, Any]:
    try:
        record = _expect(status, reply).json()
    except requests.JSONDecodeError:
        record = None
    if not (isinstance(record, dict) and {"id", "ready"} <= record.keys()):
        raise UserError(
            f"the smoke test failed: {reply.request.method} {reply.url} answered {status} without a record: "
            f"{reply.text[:500]}"
        )
    return record


def _expect(status: int, reply: requests.Response) -> requests.Response:
    if reply.status_code != status:
        raise UserError(
            f"the smoke test failed: {reply.request.method} {reply.url} answered {reply.status_code}, "
            f"not {status}: {reply.text[:500]}"
        )
    return reply
