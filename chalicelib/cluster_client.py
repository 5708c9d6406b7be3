"""A client of a Redis cluster with timeouts and bounded retries. Imported only where Redis is a cluster."""

from redis.backoff import ConstantBackoff
from redis.cluster import RedisCluster
from redis.event import AfterSlotsCacheRefreshEvent, EventDispatcher, EventListenerInterface
from redis.retry import Retry


def cluster_client(url: str, *, timeout: float) -> RedisCluster:
    """Make a client of a cluster. It connects immediately, to learn which server has which keys.

    Args:
        url: any server of the cluster, or the name of all of them.
        timeout: seconds to wait for a connection, and for each reply. One retry follows, after the cluster
            was asked again which server has which keys.

    Raises:
        RedisError, RedisClusterException: no server of the cluster answers.

    """
    known = _KnownServers()
    dispatcher = EventDispatcher()
    dispatcher.register_listeners({AfterSlotsCacheRefreshEvent: [known]})
    known.cluster = RedisCluster.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=timeout,
        socket_timeout=timeout,
        retry=Retry(ConstantBackoff(0.05), 1),
        event_dispatcher=dispatcher,
    )
    known.keep()
    return known.cluster


class _KnownServers(EventListenerInterface):
    """Keeps the URL's server among those that the client asks which servers there are.

    The client remembers only those that it was told of last. All of these may be replaced while a function
    sleeps; the URL's name always leads to the cluster.
    """

    def __init__(self) -> None:
        self.cluster: RedisCluster | None = None

    def listen(self, event: object) -> None:
        """Be told that the client has learned the servers anew."""
        self.keep()

    def keep(self) -> None:
        """Add the URL's server to those that are asked next time."""
        if self.cluster is not None:
            configured, manager = self.cluster.startup_nodes[0], self.cluster.nodes_manager
            manager.startup_nodes = {configured.name: configured} | manager.nodes_cache
