"""Which `Host` and `Origin` headers the local servers answer to.

A page of another site that a developer visits reaches servers on this machine through the browser. Its
requests carry its own origin, or, after DNS rebinding (its name now resolves to 127.0.0.1), its own host
name: both are compared with what is known to be local.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

_HTTP_PORT = 80


def host_name(host: str) -> str | None:
    """Take the name or address out of a Host header (RFC 9110, 7.2); None where there is none."""
    try:
        parts = urlsplit(f"//{host}")
        is_plain = parts.netloc == host and parts.username is None and (parts.port is None or parts.port >= 0)
    except ValueError:
        return None
    return parts.hostname.rstrip(".") or None if is_plain and parts.hostname else None


def is_local(host: str, *, allowed: Iterable[str] = (), any_address: bool = False) -> bool:
    """Tell whether a Host header names this machine.

    Args:
        host: the header's value.
        allowed: other names to answer to, in lower case.
        any_address: also answer to every IP address: no DNS is asked for one, so none can be rebound.

    """
    name = host_name(host)
    if name is None:
        return False
    if (
        name == "localhost" or name.endswith(".localhost") or name in allowed
    ):  # RFC 6761, 6.3: always loopback
        return True
    try:
        return ipaddress.ip_address(name).is_loopback or any_address
    except ValueError:
        return False


def allowed_hosts(env: Mapping[str, str]) -> frozenset[str]:
    """Read ALLOWED_HOSTS: names to answer to beside loopback ones, with commas between them."""
    names = (name.strip().lower() for name in env.get("ALLOWED_HOSTS", "").split(","))
    return frozenset(filter(None, names))


def own_origins(host: str, port: int) -> str:
    """Spell, as ALLOWED_ORIGINS, the origins under which browsers know a server bound to this address."""
    bound_to = f"[{host}]" if ":" in host else host
    names = dict.fromkeys(("127.0.0.1", "localhost", "[::1]", bound_to.lower()))
    return ",".join(f"http://{name}" + (f":{port}" if port != _HTTP_PORT else "") for name in names)
