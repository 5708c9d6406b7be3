"""Keeps redis-py's exceptions inside this package."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import RedisClusterException

from chalicelib.errors import RecordStoreUnavailable


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn every error of redis-py into `RecordStoreUnavailable`, those of its cluster client included."""
    try:
        yield
    except (redis.RedisError, RedisClusterException) as error:
        raise RecordStoreUnavailable from error
