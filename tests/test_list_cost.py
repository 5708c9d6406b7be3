"""A page of the list costs the same with few records and with many, counted at the real server."""

from typing import TYPE_CHECKING, Any

from benchmarks.service.list_pages import Cost, cost, counting_store, cursors, seed
from chalicelib import naming

if TYPE_CHECKING:
    import redis


def costs(server: Any, url: str, count: int, limit: int) -> list[Cost]:
    server.flushall()
    seed(url, count)
    assert server.zcard(naming.INDEX) == count
    store = counting_store(url)
    return [cost(store, server, limit, cursor) for cursor in cursors(server, limit).values()]


def test_a_page_costs_the_same_whatever_the_number_of_records(
    redis_url: str, redis_server: "redis.Redis"
) -> None:
    few, many = (costs(redis_server, redis_url, count, limit=10) for count in (10, 5_000))
    assert few == many
    assert {found.round_trips for found in many} == {2}
    assert {sum(calls for _, calls in found.commands) for found in many} == {1 + 10}


def test_a_larger_page_costs_more_commands_and_no_more_round_trips(
    redis_url: str, redis_server: "redis.Redis"
) -> None:
    small, large = (costs(redis_server, redis_url, 300, limit)[0] for limit in (10, 200))
    assert small.round_trips == large.round_trips
    assert dict(large.commands)["hgetall"] == 20 * dict(small.commands)["hgetall"]
