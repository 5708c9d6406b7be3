"""What differs when Redis is a cluster: a command without a key has to be sent to each of its primaries."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis
    from redis.cluster import RedisCluster


def is_cluster(client: "redis.Redis | RedisCluster") -> bool:
    """Tell whether a client is one of a cluster."""
    return hasattr(client, "nodes_manager")


def to_each_primary(client: "redis.Redis | RedisCluster") -> dict[str, Any]:
    """Arguments that let a command without a key reach each primary; none where there is one server."""
    return {"target_nodes": "primaries"} if is_cluster(client) else {}
