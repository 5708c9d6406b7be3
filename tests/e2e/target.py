"""What the suite runs against, and what it may look at there."""

import re
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import requests

from tests.service import end_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_TRIES = 6


class Storage(NamedTuple):
    """The target's bucket, as its owner sees it."""

    s3: "S3Client"
    bucket: str


class Difference(StrEnum):
    """A way in which an emulator is known not to be like AWS; docs/deploy.md has the same table."""

    BASE64_WITHOUT_ACCEPT = "clients without an Accept header get base64"
    BASE64_FOR_ANYTHING = "clients that name no image type first get base64"
    GATEWAY_RESPONSES = "the gateway's own answers have its status, and not its sentence and headers"
    NAMES_WITH_QUOTES = "a quote in a file's name breaks the form"
    FORMS_WITHOUT_BOUNDARY = "a form without a boundary is answered before it reaches the API"
    BUCKET_POLICIES = "no bucket policy is enforced"
    NEVER_GIVES_UP = "an event is tried again for ever"


DIFFERENCES = {
    "run": {Difference.BUCKET_POLICIES, Difference.NEVER_GIVES_UP},
    "ministack": {Difference.BASE64_WITHOUT_ACCEPT},
    "localstack": {
        Difference.BASE64_WITHOUT_ACCEPT,
        Difference.BASE64_FOR_ANYTHING,
        Difference.GATEWAY_RESPONSES,
        Difference.NAMES_WITH_QUOTES,
        Difference.FORMS_WITHOUT_BOUNDARY,
        Difference.BUCKET_POLICIES,
    },
}


@dataclass
class Target:
    """A running service. `name` is run, ministack, localstack or url (of anything)."""

    name: str
    url: str
    _storage: Storage | None = None
    session: requests.Session = field(default_factory=requests.Session)

    def differs(self, difference: Difference) -> bool:
        """Tell whether it is known to differ from AWS so."""
        return difference in DIFFERENCES.get(self.name, set())

    def needs(self, *differences: Difference) -> None:
        """Skip the test where it would meet a known difference."""
        for difference in differences:
            if self.differs(difference):
                pytest.skip(f"{self.name}: {difference}")

    @property
    def storage(self) -> Storage:
        """The bucket; without one, the test that asks is skipped."""
        if self._storage is None:
            pytest.skip("it looks into the bucket; name it with --bucket")
        return self._storage

    def at(self, path: str) -> str:
        """URL of a path below the API's version."""
        return f"{self.url}/api/v1{path}"

    def follow(self, location: str) -> str:
        """URL of a Location or Link that the service gave: an absolute path.

        Emulators show an API below a path of their own, of which the API knows as little as AWS would
        tell it: `/_aws/execute-api/<id>` stands where AWS has a host name.
        """
        address = urlsplit(self.url)
        stands_for_host = re.match(r"/_aws/execute-api/[^/]+|", address.path)
        assert stands_for_host
        return f"{address.scheme}://{address.netloc}{stands_for_host[0]}{location}"

    def __call__(self, method: str, path: str = "", **kwargs: Any) -> requests.Response:
        """A request to the collection, or to what is below it."""
        return self.session.request(method, self.at(f"/thumbnail{path}"), timeout=60, **kwargs)

    def upload(self, content: bytes, filename: str = "photo.jpg") -> dict[str, Any]:
        """Upload a picture that is to be accepted, and return its record.

        Where all parts share one small machine, a burst may be answered with 503: then do as it says.
        """
        for _ in range(_TRIES):
            reply = self("POST", files={"image": (filename, content)})
            if reply.status_code != requests.codes.service_unavailable:
                break
            time.sleep(int(reply.headers["Retry-After"]))
        assert reply.status_code == 201, reply.text
        record: dict[str, Any] = reply.json()
        return record

    def end_of(self, record_id: str, seconds: float = 60) -> dict[str, Any]:
        """Poll a record, as clients do, until it is ready or failed."""
        return end_of(lambda: self("GET", f"/{record_id}"), seconds, lambda: record_id)

    def remove(self, *record_ids: str) -> None:
        """Take away what a test has made."""
        for record_id in record_ids:
            assert self("DELETE", f"/{record_id}").status_code == 200
