"""An S3 that answers requests for some objects with an error, as the real one does."""

from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from chalicelib.objects.bucket import Bucket
from tests.inside import s3_of


class Answer(NamedTuple):
    """Status, code and message of an error; a reply to HEAD has the status alone."""

    status: int
    code: str
    message: str = "What S3 says."


class _Body(BytesIO):
    def stream(self) -> Any:
        yield self.read()


class Refusals:
    """What S3 refuses: `answers` maps a part of an object key, and an operation, to its answer."""

    def __init__(self, bucket: Bucket) -> None:
        self.answers: dict[tuple[str, str], Answer] = {}
        self.asked: list[tuple[str, str]] = []
        answer: Callable[..., Any] = self._answer
        s3_of(bucket).meta.events.register("before-send.s3", answer)

    def add(self, key: str, answer: Answer, *operations: str) -> None:
        """Refuse these operations, those that read if none are named."""
        for operation in operations or ("GetObject", "HeadObject"):
            self.answers[key, operation] = answer

    def _answer(self, request: AWSPreparedRequest, event_name: str, **_: object) -> AWSResponse | None:
        operation = event_name.rpartition(".")[2]
        path = unquote(urlsplit(request.url).path)
        for (key, refused), answer in self.answers.items():
            if refused == operation and key in path:
                self.asked.append((key, operation))
                text = f"<Error><Code>{answer.code}</Code><Message>{answer.message}</Message></Error>"
                body = b"" if request.method == "HEAD" else text.encode()
                headers: Any = {"content-type": "application/xml", "content-length": str(len(body))}
                raw: Any = _Body(body)
                return AWSResponse(request.url, answer.status, headers, raw)
        return None
