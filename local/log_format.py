"""The service's JSON log lines and metrics, for people."""

import logging
import time

from app import log
from chalicelib import metrics

_SHOWN_FIRST = ("status", "outcome", "method", "route", "milliseconds", "record_id")


class ReadableFormatter(logging.Formatter):
    """`12:34:56 request 201 POST /api/v1/thumbnail 12 ms 1b4e28ba-...` instead of JSON.

    And `12:34:56 metrics Uploads=1 UploadBytes=112525 way=multipart`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Show the time, what happened, and the facts that people look for.

        Of what is down, the causes are named; what is a bug is shown with its traceback.
        """
        when = time.strftime("%H:%M:%S", time.localtime(record.created))
        if (measured := getattr(record, "metrics", None)) is not None:
            figures = [f"{name}={value:g}" for name, value in measured.items()]
            figures += [f"{name}={value}" for name, value in getattr(record, "dimensions", {}).items()]
            return " ".join((when, "metrics", *figures))
        parts = [when, record.getMessage()]
        for name in _SHOWN_FIRST:
            value = getattr(record, name, None)
            if value is not None:
                parts.append(f"{value} ms" if name == "milliseconds" else str(value))
        if record.exc_info and record.exc_info[1]:
            error: BaseException | None = record.exc_info[1]
            while error is not None:
                parts.append(f"<- {type(error).__name__}: {error}")
                error = error.__cause__
        line = " ".join(parts)
        if record.levelno >= logging.ERROR and record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def make_logs_readable() -> None:
    """Let the service's logger write for people from now on."""
    for handler in (*logging.getLogger(log.service).handlers, *metrics.lines.handlers):
        handler.setFormatter(ReadableFormatter())
