"""What a new environment of a function imports before its first event, and what it leaves alone."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from chalicelib import naming
from chalicelib.clients import redis_client
from chalicelib.objects.bucket import Bucket
from chalicelib.records.record import Record, State
from chalicelib.records.store import RecordStore
from local.owners import TRIAL, token
from tests.conftest import picture
from tests.lambda_events import http_event, s3_event, upload_event

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
KEY = "originals/a.jpg"
ID = "5b0f9a3e-3c57-4f0e-9c0d-6f1f0c8f2a10"
PENDING = Record(ID, naming.original(ID), "a.jpg", 1_700_000_000_000, original_size=5)
# Everything that is not Python's own. A package more is milliseconds more in each cold start.
AT_INIT = {
    "app",
    "aws_lambda_powertools",
    "botocore",
    "chalice",
    "chalicelib",
    "cryptography",
    "hiredis",
    "jmespath",
    "multipart",
    "redis",
    "typing_extensions",
}
# What making a client of S3 imports beside: a tenth of a second.
OF_S3 = {"boto3", "dateutil", "s3transfer", "six", "urllib3"}
PROGRAM = """
import json, sys
sys.modules["certifi"] = None  # used where it is installed, which it is not on Lambda
before = set(sys.modules)
import app
if len(sys.argv) > 1:
    from chalice.local import LambdaContext
    before = set(sys.modules)
    answer = getattr(app, sys.argv[1])(json.loads(sys.argv[2]), LambdaContext("f", 2048, 60_000))
    assert answer is None or answer.get("statusCode", 200) in (200, 201), answer
modules = sorted(set(sys.modules) - before)
boto3 = sys.modules.get("boto3")
print(json.dumps({"modules": modules, "made_s3_client": bool(boto3 and boto3.DEFAULT_SESSION)}))
"""


@dataclass(frozen=True)
class Imported:
    modules: set[str]
    made_s3_client: bool

    def packages(self) -> set[str]:
        """The top-level packages that are not Python's own."""
        tops = {name.partition(".")[0] for name in self.modules}
        return tops - sys.stdlib_module_names - {"__mp_main__"}


def imported(*arguments: str, **environment: str) -> Imported:
    """What a fresh process imports at initialisation, or beyond that for an event that a handler is given."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return Imported(set(found["modules"]), found["made_s3_client"])


@pytest.fixture(scope="module")
def at_init() -> Imported:
    # No settings: what needs one has to wait for the first event.
    return imported(BUCKET="", REDIS_URL="")


def test_initialisation_imports_what_is_listed_and_nothing_else(at_init: Imported) -> None:
    assert at_init.packages() == AT_INIT


def test_of_chalice_only_what_is_packaged_is_imported(at_init: Imported) -> None:
    assert {name for name in at_init.modules if name.startswith("chalice.")} == {"chalice.app"}


def test_the_apis_description_is_imported_for_who_asks_for_it(at_init: Imported) -> None:
    assert "chalicelib.http.openapi" not in at_init.modules
    added = imported(
        "app", json.dumps(http_event("GET", "/api/v1/openapi.json")), BUCKET="bucket", REDIS_URL="redis://x"
    )
    assert "chalicelib.http.openapi" in added.modules


def test_of_cryptography_the_name_alone_is_imported(at_init: Imported) -> None:
    """By redis, which looks whether it is there; the rest of it would take a tenth of a second."""
    found = {name for name in at_init.modules if name.startswith("cryptography")}
    assert found == {"cryptography", "cryptography.__about__"}


def test_of_botocore_no_more_than_its_errors_is_imported(at_init: Imported) -> None:
    found = {name for name in at_init.modules if name.startswith("botocore.")}
    assert {name for name in found if not name.startswith("botocore.vendored")} <= {"botocore.exceptions"}


def test_initialisation_makes_no_client(at_init: Imported) -> None:
    assert not at_init.made_s3_client


@pytest.mark.parametrize("path", ["/api/v1/system/pulse", "/api/v1/thumbnail", f"/api/v1/thumbnail/{ID}"])
def test_a_request_that_needs_no_object_imports_neither_pillow_nor_boto3(path: str, redis_url: str) -> None:
    """A poll, too, of a record in whatever state."""
    with redis_client(redis_url, timeout=5) as client:
        client.flushdb()
        RecordStore(client).create(replace(PENDING, state=State.READY, thumbnail="a-b", thumbnail_size=1))
    event = http_event("GET", path, record_id=ID if path.endswith(ID) else None)
    added = imported("app", json.dumps(event), REDIS_URL=redis_url, BUCKET="pictures")
    assert not added.packages() & (OF_S3 | {"PIL"})
    assert not [name for name in added.modules if name.startswith("botocore.")]
    assert not added.made_s3_client


def test_the_authorizer_alone_pays_for_what_checks_tokens() -> None:
    event = {"type": "TOKEN", "methodArn": "arn:aws:execute-api:us-east-1:1:a/live/GET/"}
    event["authorizationToken"] = f"Bearer {token('alice', TRIAL)}"
    named = TRIAL | {"REDIS_URL": "redis://cache", "BUCKET": "pictures"}
    added = imported("authorize", json.dumps(event), **named)
    assert added.packages() - AT_INIT == {"jwt", "_cffi_backend", "_openssl"}
    assert not added.made_s3_client


def test_an_upload_makes_an_s3_client_and_imports_no_pillow(bucket: Bucket, redis_url: str) -> None:
    event = json.dumps(upload_event(picture(20, 10)))
    added = imported("app", event, REDIS_URL=redis_url, BUCKET=bucket.name)
    assert added.made_s3_client
    assert "boto3" in added.packages()
    assert "chalicelib.work.process" not in added.modules
    assert "PIL" not in added.packages()


def test_the_pipeline_imports_the_decoder_that_the_picture_needs(bucket: Bucket, redis_url: str) -> None:
    bucket.put(KEY, picture(20, 10), content_type="image/jpeg")
    event = json.dumps(s3_event(bucket.name, KEY))
    added = imported("make_thumbnail", event, REDIS_URL=redis_url, BUCKET=bucket.name)
    plugins = {name.removesuffix("ImagePlugin") for name in added.modules if name.endswith("ImagePlugin")}
    # Pillow imports these five itself before it saves anything.
    assert plugins == {"PIL.Bmp", "PIL.Gif", "PIL.Jpeg", "PIL.Png", "PIL.Ppm"}
    assert added.packages() - AT_INIT - OF_S3 == {"PIL"}
    assert "ctypes" not in added.modules
