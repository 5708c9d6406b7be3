"""Settings of a deployment, read from the environment here and nowhere else, and checked before use."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import urlsplit

from chalicelib.naming import MOST_PARTITIONS
from chalicelib.spec import LONGEST_SIDE, Crop, Fit, NamedSize, ThumbnailSpec, parse_sizes

# S3's rule for buckets: 3 to 63 characters, no empty label, nothing that reads as an IPv4 address.
_BUCKET_NAME = r"(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
# As browsers spell them: in lower case, without a path, and without the scheme's default port.
_ORIGIN = (
    r"(?!https://.*:443$)(?!http://.*:80$)"
    r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:[0-9]{1,5})?"
)
_WATERMARK = r"(assets/[A-Za-z0-9!_.*'()/-]{1,200})?"
# Names may be URLs, so that the last colon counts.
_CLAIM = r"([\x21-\x7e]{1,200}:[\x21-\x39\x3b-\x7e]{1,100})?"
_HTTP_HOST = r"(https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?)?"
_TEN_YEARS = 10 * 365 * 24 * 3600
# A key of HS256 must not be shorter than its hash: RFC 7518, 3.2.
_SECRET_BYTES = 32
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class SettingsError(ValueError):
    """A variable is missing or out of bounds; the message names it and says what would do."""


class Algorithm(StrEnum):
    """How tokens are signed (RFC 7518, RFC 8037)."""

    RS256 = "RS256"
    """RSA; what most issuers use."""
    ES256 = "ES256"
    """ECDSA on the curve P-256."""
    EDDSA = "EdDSA"
    """Ed25519."""
    HS256 = "HS256"
    """A secret that the issuer and this service share."""


@dataclass(frozen=True, slots=True)
class Auth:
    """Whose tokens let clients in; each sees the pictures of its `sub` alone."""

    issuer: str
    """What tokens must have as `iss`."""
    audiences: frozenset[str]
    """Of these, tokens must name one as `aud`."""
    algorithm: Algorithm
    """The one algorithm that counts."""
    jwks_url: str | None
    """Where the issuer shows its public keys; None for HS256."""
    secret: bytes = field(repr=False)
    """What is shared with the issuer for HS256, at least 32 bytes; empty for the others."""
    client_id: str | None = None
    """The page's id as a client of the issuer, so that people can sign in there; None if it has none."""


class Claim(NamedTuple):
    """A claim of a token: it is there, and is this value or holds it."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class WatermarkSettings:
    """The watermark, and what gets it."""

    key: str
    """The PNG's key in the bucket, below `assets/`."""
    share: int
    """Its width in percent of a thumbnail's, 1 to 100."""
    claim: Claim | None
    """Only pictures that were uploaded with a token of this claim get it; None: all pictures."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that differs between deployments; `from_env` is the way to get one.

    The AWS SDK reads its own variables (`AWS_ENDPOINT_URL`, credentials, region) by itself.
    """

    bucket: str
    """Name of the S3 bucket that holds originals and thumbnails."""
    redis_url: str
    """`redis://`, `rediss://` (TLS) or `unix://` URL of the server that holds the records."""
    redis_cluster: bool
    """Whether that server is one of a cluster."""
    index_partitions: int
    """Into how many sorted sets each index and the schedule are divided."""
    spec: ThumbnailSpec
    """How the default thumbnail looks."""
    sizes: tuple[NamedSize, ...]
    """What else is made of each picture, and how it looks."""
    watermark: WatermarkSettings | None
    """What is drawn on thumbnails; None for nothing."""
    max_upload_bytes: int
    """Largest picture, in bytes, that the API takes in a request."""
    max_original_bytes: int
    """Largest picture, in bytes, that the pipeline takes from the bucket."""
    max_pixels: int
    """Most pixels, width x height, of a picture."""
    retention: int
    """How many seconds a picture is kept; 0 stands for ever."""
    retention_after_download: int | None
    """How many seconds a picture is kept after its thumbnail was first downloaded; None for no end."""
    keep_originals: bool
    """Whether an original stays once its thumbnail is stored."""
    allowed_origins: tuple[str, ...]
    """Web origins whose pages may use the API; `("*",)` stands for all."""
    events: bool
    """Whether the end of each record is published."""
    outbox_function: str | None
    """Name of the function that reads the outbox for the one that publishes; None for all others."""
    auth: Auth | None
    """Whose tokens are asked for; None where there are no owners, and everybody sees everything."""
    public_storage_url: str | None
    """Where clients reach S3, if not where this process does: an emulator in a container; None on AWS."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Settings":
        """Read and check every setting. An empty variable counts as unset.

        Args:
            env: where to read from; the process's environment when left out.

        Raises:
            SettingsError: a variable is missing or out of its bounds.

        """
        env = os.environ if env is None else env
        spec = ThumbnailSpec(
            *_size(env),
            fit=_fit(env),
            quality=_integer(env, "THUMBNAIL_QUALITY", 85, 1, 95),
            background=_colour(env),
            crop=_crop(env),
        )
        auth, sizes = _auth(env), _sizes(env, spec)
        return cls(
            bucket=_matching(env, "BUCKET", None, _BUCKET_NAME, "an S3 bucket name"),
            redis_url=_redis_url(env),
            redis_cluster=_redis_cluster(env),
            index_partitions=_integer(env, "INDEX_PARTITIONS", 1, 1, MOST_PARTITIONS),
            spec=spec,
            sizes=sizes,
            watermark=_watermark(env, sizes, has_owners=auth is not None),
            # API Gateway hands a request to Lambda as JSON of at most 6,291,456 bytes with the body in
            # base64: 4.5 million bytes of picture leave room for the headers and the multipart frame.
            max_upload_bytes=_integer(env, "MAX_UPLOAD_BYTES", 4_500_000, 1, 4_500_000),
            max_original_bytes=_integer(env, "MAX_ORIGINAL_BYTES", 50_000_000, 1, 200_000_000),
            max_pixels=_integer(env, "MAX_PIXELS", 100_000_000, 1, 100_000_000),
            retention=_integer(env, "RETENTION", 0, 0, _TEN_YEARS),
            retention_after_download=_integer(env, "RETENTION_AFTER_DOWNLOAD", 0, 0, _TEN_YEARS)
            if env.get("RETENTION_AFTER_DOWNLOAD", "").strip()
            else None,
            keep_originals=_matching(env, "KEEP_ORIGINALS", "true", "true|false", "true or false") == "true",
            allowed_origins=_origins(env),
            events=_matching(env, "EVENTS", "false", "true|false", "true or false") == "true",
            outbox_function=_matching(
                env, "OUTBOX_FUNCTION", "", "[A-Za-z0-9_-]{0,64}", "the name of a Lambda function"
            )
            or None,
            auth=auth,
            public_storage_url=_matching(env, "PUBLIC_STORAGE_URL", "", _HTTP_HOST, "a URL without a path")
            or None,
        )


def _value(env: Mapping[str, str], name: str, default: str | None) -> str:
    value = env.get(name, "").strip() or default
    if value is None:
        raise SettingsError(f"{name} is not set.")
    return value


def _optional(env: Mapping[str, str], name: str) -> str:
    return env.get(name, "").strip()


def _matching(env: Mapping[str, str], name: str, default: str | None, pattern: str, wanted: str) -> str:
    value = _value(env, name, default)
    if not re.fullmatch(pattern, value):
        raise SettingsError(f"{name} must be {wanted}, not {value!r}.")
    return value


def _integer(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    value = _value(env, name, str(default))
    if not re.fullmatch(r"\d{1,12}", value, re.ASCII) or not low <= int(value) <= high:
        raise SettingsError(f"{name} must be a whole number from {low:,} to {high:,}, not {value!r}.")
    return int(value)


def _origins(env: Mapping[str, str]) -> tuple[str, ...]:
    value = _value(env, "ALLOWED_ORIGINS", "*")
    origins = tuple(origin.strip() for origin in value.split(","))
    if origins != ("*",) and not all(re.fullmatch(_ORIGIN, origin) for origin in origins):
        raise SettingsError(
            "ALLOWED_ORIGINS must be * or origins as browsers send them, with commas between, such as "
            f"https://example.com,http://localhost:3000, not {value!r}."
        )
    return origins


def _redis_url(env: Mapping[str, str]) -> str:
    value = _value(env, "REDIS_URL", None)
    try:
        url = urlsplit(value)
        place = url.path if url.scheme == "unix" else url.hostname
        usable = url.scheme in {"redis", "rediss", "unix"} and bool(place) and url.port != 0
    except ValueError:  # a port that is none, a bracket left open
        usable = False
    if not usable:
        # Without the value: it may hold a password.
        raise SettingsError("REDIS_URL must be a URL such as redis://localhost:6379.")
    return value


def _redis_cluster(env: Mapping[str, str]) -> bool:
    is_cluster = _matching(env, "REDIS_CLUSTER", "false", "true|false", "true or false") == "true"
    url = urlsplit(_redis_url(env))
    if is_cluster and (url.scheme == "unix" or url.path not in {"", "/", "/0"} or "db=" in url.query):
        raise SettingsError(
            "REDIS_URL must lead to a server of the cluster by TCP, and name no database, "
            "where REDIS_CLUSTER is true."
        )
    return is_cluster


def _auth(env: Mapping[str, str]) -> Auth | None:
    issuer = _optional(env, "AUTH_ISSUER")
    audiences = frozenset(
        _matching(
            env, "AUTH_AUDIENCE", "thumbnails", r"[^\s,]+(,[^\s,]+)*", "names with commas between them"
        ).split(",")
    )
    algorithm = Algorithm(
        _matching(env, "AUTH_ALGORITHM", Algorithm.RS256, "|".join(Algorithm), " or ".join(Algorithm))
    )
    jwks_url, secret, client_id = _jwks_url(env), _secret(env), _client_id(env)
    by_secret = algorithm is Algorithm.HS256
    if not issuer:
        # Whoever sets one of these wants owners; without the issuer, everybody would be let in.
        if jwks_url or secret or client_id:
            raise SettingsError(
                "AUTH_ISSUER must be set where AUTH_JWKS_URL, AUTH_SECRET or AUTH_CLIENT_ID is."
            )
        return None
    if re.search(r"\s", issuer):
        raise SettingsError(f"AUTH_ISSUER must be one name or URL, not {issuer!r}.")
    if bool(secret) != by_secret:
        raise SettingsError("AUTH_SECRET must be set for HS256, and for no other AUTH_ALGORITHM.")
    if bool(jwks_url) == by_secret:
        raise SettingsError("AUTH_JWKS_URL must be set for every AUTH_ALGORITHM but HS256.")
    if client_id and (by_secret or not _is_secure_url(issuer) or re.search("[?#;,]", issuer)):
        raise SettingsError(
            "AUTH_ISSUER must be an https:// URL where AUTH_CLIENT_ID is set, and AUTH_ALGORITHM not HS256."
        )
    return Auth(issuer, audiences, algorithm, jwks_url or None, secret, client_id or None)


def _jwks_url(env: Mapping[str, str]) -> str:
    value = _optional(env, "AUTH_JWKS_URL")
    if value and not _is_secure_url(value):
        raise SettingsError(f"AUTH_JWKS_URL must be an https:// URL, not {value!r}.")
    return value


def _is_secure_url(value: str) -> bool:
    """Tell whether `value` is an `https://` URL, or `http://` of this machine."""
    try:
        url = urlsplit(value)
        schemes = {"https", "http"} if url.hostname in _LOOPBACK else {"https"}
        usable = url.scheme in schemes and bool(url.hostname) and url.port != 0 and url.username is None
    except ValueError:  # a port that is none, a bracket left open
        return False
    return usable and value.isascii() and not re.search(r"[\s\0-\x1f]", value)


def _client_id(env: Mapping[str, str]) -> str:
    value = _optional(env, "AUTH_CLIENT_ID")
    # RFC 6749, appendix A.1: visible characters of ASCII.
    if not re.fullmatch(r"[\x21-\x7e]{0,255}", value):
        raise SettingsError(f"AUTH_CLIENT_ID must be the id of a client at the issuer, not {value!r}.")
    return value


def _secret(env: Mapping[str, str]) -> bytes:
    secret = _optional(env, "AUTH_SECRET").encode()
    # A public key is no secret: every client that knows it could sign.
    if secret and (len(secret) < _SECRET_BYTES or b"-----BEGIN" in secret):
        # Without the value, which is secret.
        raise SettingsError(
            f"AUTH_SECRET must have at least {_SECRET_BYTES} bytes, and be no key in PEM form."
        )
    return secret


def _size(env: Mapping[str, str]) -> tuple[int, int]:
    value = _matching(
        env, "THUMBNAIL_SIZE", "100x100", r"[0-9]{1,4}x[0-9]{1,4}", "WIDTHxHEIGHT such as 100x100"
    )
    width, height = (int(side) for side in value.split("x"))
    if not (1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE):
        raise SettingsError(f"THUMBNAIL_SIZE must be from 1x1 to 1024x1024 pixels, not {value!r}.")
    return width, height


def _sizes(env: Mapping[str, str], default: ThumbnailSpec) -> tuple[NamedSize, ...]:
    try:
        return parse_sizes(_optional(env, "THUMBNAIL_SIZES"), default)
    except ValueError as error:
        raise SettingsError(
            f"THUMBNAIL_SIZES must be sizes such as card=400x300:contain; {error}."
        ) from error


def _watermark(
    env: Mapping[str, str], sizes: tuple[NamedSize, ...], *, has_owners: bool
) -> WatermarkSettings | None:
    key = _matching(env, "WATERMARK", "", _WATERMARK, "the key of a PNG such as assets/logo.png")
    share = _integer(env, "WATERMARK_SHARE", 30, 1, 100)
    claim = _matching(env, "WATERMARK_FOR", "", _CLAIM, "a claim and its value such as plan:free")
    if not key:
        asking = [size.name for size in sizes if size.spec.watermark]
        if asking or claim:
            what = "WATERMARK_FOR is" if claim else f"THUMBNAIL_SIZES asks for it ({', '.join(asking)})"
            raise SettingsError(f"WATERMARK must be set where {what}.")
        return None
    if claim and not has_owners:
        raise SettingsError("AUTH_ISSUER must be set where WATERMARK_FOR is: only tokens have claims.")
    name, _, value = claim.rpartition(":")
    return WatermarkSettings(key, share, Claim(name, value) if claim else None)


def _fit(env: Mapping[str, str]) -> Fit:
    return Fit(_matching(env, "THUMBNAIL_FIT", Fit.COVER, "|".join(Fit), " or ".join(Fit)))


def _crop(env: Mapping[str, str]) -> Crop:
    return Crop(_matching(env, "THUMBNAIL_CROP", Crop.CENTER, "|".join(Crop), " or ".join(Crop)))


def _colour(env: Mapping[str, str]) -> tuple[int, int, int]:
    value = _matching(env, "THUMBNAIL_BACKGROUND", "#ffffff", "#[0-9a-fA-F]{6}", "a colour such as #ffffff")
    red, green, blue = bytes.fromhex(value[1:])
    return red, green, blue
