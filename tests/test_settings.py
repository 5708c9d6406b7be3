"""Every variable: its default, what it takes, and what stops the start."""

import dataclasses

import pytest

from chalicelib.settings import Algorithm, Auth, Settings, SettingsError
from chalicelib.spec import Crop, Fit, ThumbnailSpec

REQUIRED = {"BUCKET": "pictures", "REDIS_URL": "redis://localhost:6379"}
OPTIONAL = (
    "REDIS_CLUSTER",
    "INDEX_PARTITIONS",
    "THUMBNAIL_SIZE",
    "THUMBNAIL_FIT",
    "THUMBNAIL_SIZES",
    "THUMBNAIL_QUALITY",
    "THUMBNAIL_BACKGROUND",
    "THUMBNAIL_CROP",
    "MAX_UPLOAD_BYTES",
    "MAX_ORIGINAL_BYTES",
    "MAX_PIXELS",
    "RETENTION",
    "RETENTION_AFTER_DOWNLOAD",
    "KEEP_ORIGINALS",
    "ALLOWED_ORIGINS",
    "AUTH_ISSUER",
    "AUTH_AUDIENCE",
    "AUTH_ALGORITHM",
    "AUTH_JWKS_URL",
    "AUTH_SECRET",
    "PUBLIC_STORAGE_URL",
    "AUTH_CLIENT_ID",
    "EVENTS",
    "OUTBOX_FUNCTION",
)
SECRET = "s" * 32
BY_KEYS = {"AUTH_ISSUER": "https://issuer.example.com", "AUTH_JWKS_URL": "https://issuer.example.com/jwks"}
BY_SECRET = {"AUTH_ISSUER": "local", "AUTH_ALGORITHM": "HS256", "AUTH_SECRET": SECRET}


def test_defaults_are_the_documented_ones() -> None:
    assert Settings.from_env(REQUIRED) == Settings(
        bucket="pictures",
        redis_url="redis://localhost:6379",
        redis_cluster=False,
        index_partitions=1,
        spec=ThumbnailSpec(width=100, height=100, fit=Fit.COVER, quality=85, background=(255, 255, 255)),
        sizes=(),
        watermark=None,
        max_upload_bytes=4_500_000,
        max_original_bytes=50_000_000,
        max_pixels=100_000_000,
        retention=0,
        retention_after_download=None,
        keep_originals=True,
        allowed_origins=("*",),
        events=False,
        outbox_function=None,
        auth=None,
        public_storage_url=None,
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("BUCKET", "abc", {"bucket": "abc"}),
        ("PUBLIC_STORAGE_URL", "http://localhost:4566", {"public_storage_url": "http://localhost:4566"}),
        ("BUCKET", "my-pictures.example.com", {"bucket": "my-pictures.example.com"}),
        ("BUCKET", "0" * 63, {"bucket": "0" * 63}),
        ("REDIS_URL", "rediss://user:secret@cache.example.com:6380/2", None),
        ("REDIS_URL", "redis://[::1]:6379", None),
        ("REDIS_URL", "redis://cache", None),
        ("REDIS_URL", "unix:///run/valkey.sock", None),
        ("REDIS_CLUSTER", "true", {"redis_cluster": True}),
        ("INDEX_PARTITIONS", "16", {"index_partitions": 16}),
        ("THUMBNAIL_SIZE", "1x1", {"spec": ThumbnailSpec(width=1, height=1)}),
        ("THUMBNAIL_SIZE", "320x240", {"spec": ThumbnailSpec(width=320, height=240)}),
        ("THUMBNAIL_SIZE", "1024x1024", {"spec": ThumbnailSpec(width=1024, height=1024)}),
        ("THUMBNAIL_FIT", "cover", {"spec": ThumbnailSpec(fit=Fit.COVER)}),
        ("THUMBNAIL_FIT", "contain", {"spec": ThumbnailSpec(fit=Fit.CONTAIN)}),
        ("THUMBNAIL_CROP", "center", {"spec": ThumbnailSpec()}),
        ("THUMBNAIL_CROP", "attention", {"spec": ThumbnailSpec(crop=Crop.ATTENTION)}),
        ("THUMBNAIL_QUALITY", "1", {"spec": ThumbnailSpec(quality=1)}),
        ("THUMBNAIL_QUALITY", "95", {"spec": ThumbnailSpec(quality=95)}),
        ("THUMBNAIL_BACKGROUND", "#0180fF", {"spec": ThumbnailSpec(background=(1, 128, 255))}),
        ("MAX_UPLOAD_BYTES", "1", {"max_upload_bytes": 1}),
        ("MAX_UPLOAD_BYTES", "4500000", {"max_upload_bytes": 4_500_000}),
        ("MAX_ORIGINAL_BYTES", "200000000", {"max_original_bytes": 200_000_000}),
        ("MAX_PIXELS", "100000000", {"max_pixels": 100_000_000}),
        ("MAX_PIXELS", " 12 ", {"max_pixels": 12}),
        ("RETENTION", "0", {"retention": 0}),
        ("RETENTION", "315360000", {"retention": 315_360_000}),
        ("RETENTION_AFTER_DOWNLOAD", "0", {"retention_after_download": 0}),
        ("RETENTION_AFTER_DOWNLOAD", "60", {"retention_after_download": 60}),
        ("KEEP_ORIGINALS", "false", {"keep_originals": False}),
        ("KEEP_ORIGINALS", "true", {"keep_originals": True}),
        ("EVENTS", "true", {"events": True}),
        ("EVENTS", "false", {"events": False}),
        ("OUTBOX_FUNCTION", "thumbnails-prod-outbox", {"outbox_function": "thumbnails-prod-outbox"}),
        ("ALLOWED_ORIGINS", "*", {"allowed_origins": ("*",)}),
        ("ALLOWED_ORIGINS", "https://a.example", {"allowed_origins": ("https://a.example",)}),
        (
            "ALLOWED_ORIGINS",
            "https://a.example, http://localhost:3000,http://[::1]:8443",
            {"allowed_origins": ("https://a.example", "http://localhost:3000", "http://[::1]:8443")},
        ),
    ],
)
def test_a_good_value_is_taken_and_changes_nothing_else(
    name: str, value: str, expected: dict[str, object] | None
) -> None:
    wanted = dataclasses.asdict(Settings.from_env(REQUIRED))
    wanted |= {"redis_url": value} if expected is None else {}
    for field, content in (expected or {}).items():
        wanted[field] = dataclasses.asdict(content) if isinstance(content, ThumbnailSpec) else content
    assert dataclasses.asdict(Settings.from_env(REQUIRED | {name: value})) == wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BUCKET", "ab"),
        ("BUCKET", "a" * 64),
        ("BUCKET", "Pictures"),
        ("BUCKET", "my_pictures"),
        ("BUCKET", "-pictures"),
        ("BUCKET", "pictures."),
        ("BUCKET", "my..pictures"),
        ("BUCKET", "192.168.0.1"),
        ("BUCKET", "s3://pictures"),
        ("BUCKET", "pictures\nmore"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "http://localhost:6379"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis:///0"),
        ("REDIS_URL", "redis://:6379"),
        ("REDIS_URL", "redis://localhost:port"),
        ("REDIS_URL", "redis://localhost:65536"),
        ("REDIS_URL", "redis://localhost:0"),
        ("REDIS_URL", "redis://[::1"),
        ("REDIS_URL", "unix://"),
        ("REDIS_CLUSTER", "1"),
        ("REDIS_CLUSTER", "yes"),
        ("INDEX_PARTITIONS", "0"),
        ("INDEX_PARTITIONS", "17"),
        ("THUMBNAIL_SIZE", "100"),
        ("THUMBNAIL_SIZE", "100X100"),
        ("THUMBNAIL_SIZE", "100 x 100"),
        ("THUMBNAIL_SIZE", "0x100"),
        ("THUMBNAIL_SIZE", "100x0"),
        ("THUMBNAIL_SIZE", "1025x100"),
        ("THUMBNAIL_SIZE", "100x1025"),
        ("THUMBNAIL_SIZE", "-1x100"),
        ("THUMBNAIL_SIZE", "10000x1"),
        ("THUMBNAIL_SIZE", "\u0661\u0660x10"),
        ("THUMBNAIL_FIT", "Cover"),
        ("THUMBNAIL_FIT", "fill"),
        ("THUMBNAIL_CROP", "centre"),
        ("THUMBNAIL_CROP", "0.5,0.2"),
        ("THUMBNAIL_FIT", "cover|contain"),
        ("THUMBNAIL_QUALITY", "0"),
        ("THUMBNAIL_QUALITY", "96"),
        ("THUMBNAIL_QUALITY", "-1"),
        ("THUMBNAIL_QUALITY", "85.0"),
        ("THUMBNAIL_QUALITY", "high"),
        ("THUMBNAIL_QUALITY", "8_5"),
        ("THUMBNAIL_QUALITY", "\u0668\u0665"),
        ("THUMBNAIL_BACKGROUND", "white"),
        ("THUMBNAIL_BACKGROUND", "ffffff"),
        ("THUMBNAIL_BACKGROUND", "#fff"),
        ("THUMBNAIL_BACKGROUND", "#fffffg"),
        ("THUMBNAIL_BACKGROUND", "#ffffffff"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("MAX_UPLOAD_BYTES", "4500001"),
        ("MAX_UPLOAD_BYTES", "4.5e6"),
        ("MAX_UPLOAD_BYTES", "4,500,000"),
        ("MAX_ORIGINAL_BYTES", "0"),
        ("MAX_ORIGINAL_BYTES", "200000001"),
        ("MAX_ORIGINAL_BYTES", "9" * 5000),
        ("MAX_PIXELS", "0"),
        ("MAX_PIXELS", "100000001"),
        ("MAX_PIXELS", "10000x10000"),
        ("ALLOWED_ORIGINS", "a.example"),
        ("ALLOWED_ORIGINS", "ftp://a.example"),
        ("ALLOWED_ORIGINS", "https://a.example/"),
        ("ALLOWED_ORIGINS", "https://a.example/page"),
        ("ALLOWED_ORIGINS", "https://A.example"),
        ("ALLOWED_ORIGINS", "https://a.example:443"),
        ("ALLOWED_ORIGINS", "http://a.example:80"),
        ("ALLOWED_ORIGINS", "https://*.a.example"),
        ("ALLOWED_ORIGINS", "https://user@a.example"),
        ("ALLOWED_ORIGINS", "https://a.example\r\nX: y"),
        ("ALLOWED_ORIGINS", "https://a.example,"),
        ("ALLOWED_ORIGINS", "https://a.example,*"),
        ("ALLOWED_ORIGINS", "null"),
        ("EVENTS", "on"),
        ("OUTBOX_FUNCTION", "not a name"),
        ("OUTBOX_FUNCTION", "n" * 65),
    ],
)
def test_a_bad_value_is_refused_by_the_variables_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(REQUIRED | {name: value})
    assert str(caught.value).startswith(f"{name} must be ")


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("empty", [None, "", "  "])
def test_what_has_no_default_has_to_be_set(name: str, empty: str | None) -> None:
    env = {key: value for key, value in REQUIRED.items() if key != name}
    with pytest.raises(SettingsError, match=f"^{name} is not set"):
        Settings.from_env(env if empty is None else env | {name: empty})


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_variable_counts_as_unset(name: str, empty: str) -> None:
    assert Settings.from_env(REQUIRED | {name: empty}) == Settings.from_env(REQUIRED)


def test_a_password_stays_out_of_the_message() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(REQUIRED | {"REDIS_URL": "redis://user:secret@cache:port"})
    assert "secret" not in str(caught.value)


def test_the_environment_is_read_when_nothing_is_handed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*REQUIRED, *OPTIONAL):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BUCKET", "from-the-environment")
    monkeypatch.setenv("REDIS_URL", "redis://cache")
    assert Settings.from_env().bucket == "from-the-environment"


def test_settings_do_not_change_after_the_start() -> None:
    settings = Settings.from_env(REQUIRED)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.bucket = "another"  # type: ignore[misc]  # what is tested is that it cannot be done
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.spec.width = 1  # type: ignore[misc]  # likewise


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (
            BY_KEYS,
            Auth(
                issuer="https://issuer.example.com",
                audiences=frozenset({"thumbnails"}),
                algorithm=Algorithm.RS256,
                jwks_url="https://issuer.example.com/jwks",
                secret=b"",
            ),
        ),
        (BY_SECRET, Auth("local", frozenset({"thumbnails"}), Algorithm.HS256, None, SECRET.encode())),
        (
            BY_SECRET | {"AUTH_AUDIENCE": "web,https://api.example.com/"},
            Auth(
                "local",
                frozenset({"web", "https://api.example.com/"}),
                Algorithm.HS256,
                None,
                SECRET.encode(),
            ),
        ),
        (
            BY_KEYS | {"AUTH_CLIENT_ID": "page"},
            Auth(
                BY_KEYS["AUTH_ISSUER"],
                frozenset({"thumbnails"}),
                Algorithm.RS256,
                BY_KEYS["AUTH_JWKS_URL"],
                b"",
                "page",
            ),
        ),
        # Parts that say nothing by themselves may stand there while there are no owners.
        ({"AUTH_AUDIENCE": "web", "AUTH_ALGORITHM": "HS256"}, None),
    ],
)
def test_whose_tokens_are_asked_for(env: dict[str, str], expected: Auth | None) -> None:
    assert Settings.from_env(REQUIRED | env).auth == expected


@pytest.mark.parametrize(
    "url",
    ["https://a", "https://a:8443/b?c=d", "http://127.0.0.1:9/keys", "http://localhost", "http://[::1]:9"],
)
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_where_keys_may_be(url: str, algorithm: str) -> None:
    auth = Settings.from_env(REQUIRED | BY_KEYS | {"AUTH_ALGORITHM": algorithm, "AUTH_JWKS_URL": url}).auth
    assert auth is not None
    assert (auth.algorithm, auth.jwks_url) == (algorithm, url)


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"AUTH_JWKS_URL": BY_KEYS["AUTH_JWKS_URL"]}, "AUTH_ISSUER"),
        ({"AUTH_SECRET": SECRET}, "AUTH_ISSUER"),
        ({"AUTH_CLIENT_ID": "page"}, "AUTH_ISSUER"),
        (BY_SECRET | {"AUTH_CLIENT_ID": "page"}, "AUTH_ISSUER"),
        (BY_KEYS | {"AUTH_CLIENT_ID": "page", "AUTH_ISSUER": "a name"}, "AUTH_ISSUER"),
        (BY_KEYS | {"AUTH_CLIENT_ID": "page", "AUTH_ISSUER": "http://issuer.example.com"}, "AUTH_ISSUER"),
        (BY_KEYS | {"AUTH_CLIENT_ID": "page", "AUTH_ISSUER": "https://a.example;script-src"}, "AUTH_ISSUER"),
        (BY_KEYS | {"AUTH_CLIENT_ID": "two words"}, "AUTH_CLIENT_ID"),
        (BY_KEYS | {"AUTH_CLIENT_ID": "p" * 256}, "AUTH_CLIENT_ID"),
        (BY_KEYS | {"AUTH_ISSUER": "two words"}, "AUTH_ISSUER"),
        (BY_KEYS | {"AUTH_JWKS_URL": ""}, "AUTH_JWKS_URL"),
        (BY_KEYS | {"AUTH_JWKS_URL": "http://issuer.example.com/jwks"}, "AUTH_JWKS_URL"),
        (BY_KEYS | {"AUTH_JWKS_URL": "https://"}, "AUTH_JWKS_URL"),
        (BY_KEYS | {"AUTH_JWKS_URL": "https://a:port"}, "AUTH_JWKS_URL"),
        (BY_KEYS | {"AUTH_JWKS_URL": "https://[a"}, "AUTH_JWKS_URL"),
        (BY_KEYS | {"AUTH_JWKS_URL": "https://user:word@a"}, "AUTH_JWKS_URL"),
        (BY_KEYS | {"AUTH_JWKS_URL": "https://a/b c"}, "AUTH_JWKS_URL"),
        (BY_KEYS | {"AUTH_JWKS_URL": "https://a/\u00fc"}, "AUTH_JWKS_URL"),
        (BY_KEYS | {"AUTH_JWKS_URL": "file:///etc/passwd"}, "AUTH_JWKS_URL"),
        (BY_SECRET | {"AUTH_JWKS_URL": "https://a"}, "AUTH_JWKS_URL"),
        (BY_KEYS | {"AUTH_SECRET": SECRET}, "AUTH_SECRET"),
        (BY_SECRET | {"AUTH_SECRET": ""}, "AUTH_SECRET"),
        (BY_SECRET | {"AUTH_SECRET": "s" * 31}, "AUTH_SECRET"),
        (BY_SECRET | {"AUTH_SECRET": f"-----BEGIN PUBLIC KEY-----\n{SECRET}"}, "AUTH_SECRET"),
        (BY_KEYS | {"AUTH_ALGORITHM": "none"}, "AUTH_ALGORITHM"),
        (BY_KEYS | {"AUTH_ALGORITHM": "RS512"}, "AUTH_ALGORITHM"),
        (BY_KEYS | {"AUTH_ALGORITHM": "rs256"}, "AUTH_ALGORITHM"),
        (BY_KEYS | {"AUTH_AUDIENCE": "a,"}, "AUTH_AUDIENCE"),
        (BY_KEYS | {"AUTH_AUDIENCE": "a b"}, "AUTH_AUDIENCE"),
    ],
)
def test_what_does_not_go_together_is_refused_by_the_variables_name(env: dict[str, str], name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(REQUIRED | env)
    assert str(caught.value).startswith(f"{name} must ")
    assert SECRET not in str(caught.value)


def test_the_secret_is_not_shown() -> None:
    assert SECRET not in repr(Settings.from_env(REQUIRED | BY_SECRET))


@pytest.mark.parametrize(
    "url", ["unix:///run/valkey.sock", "redis://cache/1", "rediss://:p@cache:6379/15", "redis://cache?db=2"]
)
def test_a_cluster_has_no_databases_and_no_socket(url: str) -> None:
    Settings.from_env(REQUIRED | {"REDIS_URL": url})
    with pytest.raises(SettingsError, match=r"REDIS_URL must .* where REDIS_CLUSTER is true") as caught:
        Settings.from_env(REQUIRED | {"REDIS_URL": url, "REDIS_CLUSTER": "true"})
    assert url not in str(caught.value)
