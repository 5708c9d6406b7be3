"""Keeps redis-py's exceptions inside this package."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from chalicelib.errors import RecordStoreUnavailable


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn every error of redis-py into `RecordStoreUnavailable`."""
    try:
        yield
    except redis.RedisError as error:
        raise RecordStoreUnavailable from error
