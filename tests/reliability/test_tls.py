"""Redis behind TLS and a password, alone and as a cluster, as ElastiCache is.

The embedded server is built without TLS: a front of the standard library's `ssl` ends it, with a certificate
of a CA that the tests make.
"""

import datetime
import ipaddress
import re
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.exceptions import RedisClusterException

from chalicelib import services
from chalicelib.clients import redis_client
from chalicelib.errors import RecordStoreUnavailable
from chalicelib.records.record import UNRESTRICTED, Finished
from chalicelib.records.store import RecordStore
from local import valkey
from tests.conftest import picture
from tests.inside import redis_of
from tests.reliability import redis_cluster
from tests.reliability.deployment import deployed
from tests.reliability.local_redis import Address, client
from tests.service import eventually
from tests.test_store import new_record, version

pytestmark = pytest.mark.slow

ODD = "s3cret/with+odd:signs@and%more"


class TlsFront(Address):
    """Speaks TLS with clients, and plain TCP with the server."""

    def __init__(self, port: int, certificate: Path) -> None:
        super().__init__("127.0.0.1", port)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)

    def _serve(self, client: socket.socket) -> None:
        with (
            suppress(OSError),
            client,
            self._context.wrap_socket(client, server_side=True) as outside,
            socket.create_connection(self.target) as inside,
        ):
            _pass_on(outside, inside)


def _pass_on(outside: ssl.SSLSocket, inside: socket.socket) -> None:
    """Copy both ways in one thread: an SSL connection is not for two."""
    while True:
        ready = [outside] if outside.pending() else select.select([outside, inside], [], [])[0]
        for source, sink in ((outside, inside), (inside, outside)):
            if source in ready:
                piece = source.recv(1 << 16)
                if not piece:
                    return
                sink.sendall(piece)


class Authority:
    """A certificate authority of our own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority for tests")])
        self.file = folder / "ca.pem"
        constraint = x509.BasicConstraints(ca=True, path_length=None)
        own = self._signed(self._name, self._key.public_key(), constraint)
        self.file.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def certificate(self, address: str) -> Path:
        """Make a certificate for an IP address; give the file with it and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        made = self._signed(subject, key.public_key(), names)
        path = self._folder / f"{address}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + made.public_bytes(serialization.Encoding.PEM)
        )
        return path

    def _signed(self, subject: x509.Name, key: Any, extension: x509.ExtensionType) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def front(authority: Authority) -> Iterator[TlsFront]:
    with valkey.running() as server, client(server) as plain:
        plain.config_set("requirepass", ODD)
        with TlsFront(server.port, authority.certificate("127.0.0.1")) as made:
            yield made


def url_of(port: int, authority: Authority, login: str = f":{quote(ODD, safe='')}") -> str:
    return f"rediss://{login}@127.0.0.1:{port}?ssl_ca_certs={authority.file}"


def used(store: RecordStore) -> None:
    """Reads, writes, pipelines and scripts."""
    store.ping()
    record = new_record()
    store.create(record)
    store.finish(store.claim_version(version(record, "v1")), Finished(9))
    assert record.id in {one.id for one in store.page(1000, None, UNRESTRICTED).records}
    assert store.heartbeat.server()


def test_records_behind_tls_and_a_password(front: TlsFront, authority: Authority) -> None:
    with redis_client(url_of(front.port, authority), timeout=30) as using:
        used(RecordStore(using))
        # The connection is dropped meanwhile: the next one shakes hands and logs in again.
        front.move(front.target[1])
        used(RecordStore(using))


def test_a_user_with_a_password_of_its_own(front: TlsFront, authority: Authority) -> None:
    with redis_client(url_of(front.port, authority), timeout=30) as owner:
        owner.acl_setuser("alice", enabled=True, passwords=["+pa ss"], keys=["*"], categories=["+@all"])
        owner.acl_setuser("alice", enabled=True, commands=["-info"])
    with redis_client(url_of(front.port, authority, login="alice:pa%20ss"), timeout=30) as using:
        store = RecordStore(using)
        store.ping()
        assert store.heartbeat.server() == ""


@pytest.mark.parametrize("kind", ["unknown authority", "another's address", "no TLS", "wrong", "none"])
def test_what_is_not_to_be_trusted_is_not_used(
    front: TlsFront, authority: Authority, tmp_path: Path, kind: str
) -> None:
    """A client is told the same as of any outage, and nothing of the password."""
    url = url_of(front.port, authority)
    with ExitStack() as stack:
        if kind == "unknown authority":
            url = url_of(front.port, Authority(tmp_path))
        elif kind == "another's address":
            other = stack.enter_context(TlsFront(front.target[1], authority.certificate("127.0.0.2")))
            url = url_of(other.port, authority)
        elif kind == "no TLS":
            url = url.replace("rediss:", "redis:").partition("?")[0]
        elif kind == "wrong":
            url = url_of(front.port, authority, login=":wrong")
        else:
            url = re.sub("//.*@", "//", url)
        store = RecordStore(stack.enter_context(redis_client(url, timeout=5)))
        with pytest.raises(RecordStoreUnavailable) as caught:
            store.ping()
    cause: BaseException | None = caught.value
    while cause is not None:
        assert ODD not in str(cause)
        cause = cause.__cause__


def test_a_picture_from_upload_to_download(
    front: TlsFront, authority: Authority, s3_endpoint: str, api_server: tuple[str, str]
) -> None:
    with deployed(api_server[0], url_of(front.port, authority), s3_endpoint) as deployment:
        record_id = deployment.upload(picture(16, 12))
        deployment.process_upload(record_id)
        assert deployment("GET", f"/{record_id}/download").status_code == 200
        assert deployment.reconcile().get("losses noticed", 0) == 0
        redis_of(services.store()).close()


def test_a_cluster_behind_tls_and_a_password(authority: Authority) -> None:
    certificate = authority.certificate("127.0.0.1")
    with ExitStack() as stack:
        cluster = stack.enter_context(redis_cluster.cluster())
        fronts = [stack.enter_context(TlsFront(one.port, certificate)) for one in cluster.servers]
        for server, front in zip(cluster.servers, fronts, strict=True):
            with client(server) as plain:
                plain.config_set("cluster-announce-port", front.port)
        # Each server tells clients the fronts of all: those that speak no TLS are of no use to them.
        ports = {front.port for front in fronts}
        for server in cluster.servers:
            eventually(lambda one=server: told_ports(cluster, one) == ports, 120)  # type: ignore[misc]
        for server in cluster.servers:
            with client(server) as plain:
                plain.config_set("requirepass", ODD)
        url = url_of(fronts[0].port, authority)
        store = stack.enter_context(redis_cluster.records(url))
        for _ in range(20):
            used(store)
        assert len(set(store.heartbeat.server().split(","))) == 3
        with pytest.raises(RedisClusterException), redis_cluster.records(url.replace("s3cret", "wrong")):
            pass


def told_ports(cluster: redis_cluster.Cluster, server: Any) -> set[int]:
    return {port for _, _, (_, port, *_others), *_replicas in cluster.run(server, "SLOTS")}
