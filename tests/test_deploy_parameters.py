"""Parameters of a deployment: read as they are written, and refused before anything is built or made."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chalicelib.settings import Settings, SettingsError
from deploy import ROOT, UserError, parameters, template
from tests.inside import parameter_problems

AWKWARD = "a$b`c\"d'e\\f$(g)%&;|<>*?!#~{}[]=x,é/:@+" + "0" * 32


@pytest.fixture(scope="module")
def declared() -> template.Template:
    return template.stack()


def test_pairs_are_read_to_the_letter() -> None:
    assert parameters.parse(f" A=1  RedisUrl=redis://:p=w@h/0 AuthSecret={AWKWARD} B= ") == {
        "A": "1",
        "RedisUrl": "redis://:p=w@h/0",
        "AuthSecret": AWKWARD,
        "B": "",
    }
    for text in ("A", "=1", "A=1 secret"):
        with pytest.raises(UserError, match="Name=value") as refused:
            parameters.parse(text)
        assert "secret" not in str(refused.value)


def test_a_file_is_read_to_the_letter(tmp_path: Path) -> None:
    path = tmp_path / "prod.json"
    said = {
        "AuthSecret": f" {AWKWARD} ",
        "Retention": 60,
        "KeepOriginals": False,
        "AllowedOrigins": ["a", "b"],
    }
    path.write_text(json.dumps(said))
    assert parameters.read(path) == {
        "AuthSecret": f" {AWKWARD} ",
        "Retention": "60",
        "KeepOriginals": "false",
        "AllowedOrigins": "a,b",
    }


@pytest.mark.parametrize("content", [None, "", "A=1", "[]", '{"A": null}', '{"A": {"B": 1}}', "1"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "prod.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match="PARAMETERS_FILE"):
        parameters.read(path)


@pytest.mark.parametrize("way", ["command line", "environment"])
def test_secrets_survive_make_and_stay_off_other_command_lines(tmp_path: Path, way: str) -> None:
    """`make` expands `$` and a shell quotes, in what passes through their hands."""
    spy = tmp_path / "python"
    spy.write_text(
        "#!/bin/sh\nprintf '%s' \"$PARAMETERS\" > parameters\nprintf '%s' \"$STAGE\" > stage\n"
        "printf '%s\\n' \"$@\" > arguments\n"
    )
    spy.chmod(0o755)
    (tmp_path / ".ready").touch()
    given = f"AuthSecret={AWKWARD} AuthIssuer=me"
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    arguments = ["make", "-s", "-f", str(ROOT / "Makefile"), f"BIN={tmp_path}", f"READY={tmp_path}/.ready"]
    arguments += ["-o", f"{tmp_path}/.ready", "deploy", "STAGE=prod"]
    if way == "environment":
        environment["PARAMETERS"] = given
    else:
        arguments.append(f"PARAMETERS={given}")
    done = subprocess.run(
        arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "parameters").read_text() == given
    assert (tmp_path / "stage").read_text() == "prod"
    assert "AuthSecret" not in (tmp_path / "arguments").read_text()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"NoSuchParameter": "1"}, "NoSuchParameter"),
        ({"ThumbnailFit": "stretch"}, "ThumbnailFit must be one of cover, contain"),
        ({"ThumbnailSize": "1025x100"}, "ThumbnailSize"),
        ({"ThumbnailSize": "0x100"}, "ThumbnailSize"),
        ({"ThumbnailQuality": "96"}, "ThumbnailQuality must be a whole number from 1 to 95"),
        ({"RetentionAfterDownload": "315360001"}, "RetentionAfterDownload"),
        ({"AllowedOrigins": "https://example.com:443"}, "AllowedOrigins"),
        ({"AllowedOrigins": "*,https://example.com"}, "ALLOWED_ORIGINS"),
        ({"AuthIssuer": "me"}, "AUTH_JWKS_URL"),
        ({"AuthIssuer": "me", "AuthAlgorithm": "HS256"}, "AUTH_SECRET"),
        ({"AuthSecret": AWKWARD}, "AUTH_ISSUER"),
        ({"AuthSecret": "short"}, "AuthSecret"),
        ({"RedisUrl": "http://example.com"}, "REDIS_URL"),
        ({"RedisUrl": "redis://a", "RedisUrlName": "b"}, "RedisUrl and RedisUrlName are both set"),
        ({"VpcCidr": "10.97.0.5/24"}, "VpcCidr must be a network"),
        ({"VpcCidr": "999.97.0.0/24"}, "VpcCidr must be a network"),
        ({"ZoneA": "eu-central-1a"}, "ZoneA and ZoneB"),
        ({"ZoneA": "eu-central-1a", "ZoneB": "eu-central-1a"}, "ZoneA and ZoneB"),
    ],
)
def test_what_would_fail_later_is_refused(
    declared: template.Template, given: dict[str, str], named: str
) -> None:
    with pytest.raises(UserError, match=re.escape(named)) as refused:
        parameters.check(declared, given, {})
    assert "short" not in str(refused.value)
    assert AWKWARD not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "current"),
    [
        ({}, {}),
        ({"AllowedOrigins": "https://a.example,http://localhost:3000"}, {}),
        ({"AuthIssuer": "me", "AuthAlgorithm": "HS256", "AuthSecret": AWKWARD}, {}),
        ({"AuthIssuer": "me", "AuthAlgorithm": "HS256", "AuthSecretName": "prod/auth"}, {}),
        ({"AuthAudience": "b"}, {"AuthIssuer": "me", "AuthAlgorithm": "HS256", "AuthSecret": "****"}),
        ({"VpcCidr": "10.97.0.0/24"}, {"VpcCidr": "10.97.0.0/24"}),
        ({"ZoneA": "a", "ZoneB": "b"}, {"ZoneA": ""}),
        ({"Retention": "60"}, {"RedisUrl": "****", "AuthSecret": "****"}),
        ({"RedisUrlName": "b"}, {"RedisUrl": "****"}),
    ],
)
def test_what_works_is_let_through(
    declared: template.Template, given: dict[str, str], current: dict[str, str]
) -> None:
    parameters.check(declared, given, current)


@pytest.mark.parametrize("name", sorted(parameters.FIXED))
def test_what_cannot_be_changed_is_refused_with_the_reason(declared: template.Template, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} cannot be changed from"):
        parameters.check(declared, {name: "10.98.0.0/24" if name == "VpcCidr" else "other"}, {name: "before"})


@pytest.mark.parametrize(
    ("parameter", "variable"),
    [
        ("ThumbnailSize", "THUMBNAIL_SIZE"),
        ("ThumbnailFit", "THUMBNAIL_FIT"),
        ("ThumbnailCrop", "THUMBNAIL_CROP"),
        ("ThumbnailSizes", "THUMBNAIL_SIZES"),
        ("Watermark", "WATERMARK"),
        ("WatermarkShare", "WATERMARK_SHARE"),
        ("WatermarkFor", "WATERMARK_FOR"),
        ("ThumbnailQuality", "THUMBNAIL_QUALITY"),
        ("ThumbnailBackground", "THUMBNAIL_BACKGROUND"),
        ("RetentionAfterDownload", None),
        ("AllowedOrigins", "ALLOWED_ORIGINS"),
        ("AuthAudience", "AUTH_AUDIENCE"),
        ("MaxPixels", "MAX_PIXELS"),
    ],
)
@pytest.mark.parametrize(
    "value",
    [
        *("1x1", "1024x1024", "1025x1", "1x1025", "1000x1099", "0x5", "5x0", "01x5", "1x1x1", "999x1023"),
        *("0", "1", "95", "96", "100000000", "100000001", "315360000", "315360001", "99999999", "999999999"),
        *("309999999", "319999999", "315299999", "315359999", "cover", "contain", "Cover", "#FFffff", "#fff"),
        *(
            "*",
            "https://a.b",
            "https://a.b:443",
            "http://a.b:80",
            "https://a.b:80",
            "https://a..b",
            "https://A.b",
        ),
        *("http://[::1]:3000", "https://a.b/", "a,b", "a,,b", ",", "a b"),
        *(
            "2x=200x200",
            "2x=200x200 card=400x300:contain hero=1024x1024:cover:q80:avif",
            "a=1x1:webp:q1:cover",
        ),
        *("a=1x1 a=2x2", "a=1x1 b=1x1 a=2x2", "a=1x1 ba=1x1", "A=1x1", "-a=1x1", "=1x1", "a=0x1", "a=1x1025"),
        *("a=1x1:", "a=1x1:q0", "a=1x1:q95", "a=1x1:q96", "a=1x1:png:q9", "a=1x1:q9:png", "a=1x1:gif"),
        *("a=1x1:cover:contain", "a=1x1:q1:q1", "a=1x1:png:webp", "a=1x1:png:cover", "a=1x1:png b=1x1:q9"),
        *(" ".join(f"s{n}=1x1" for n in range(8)), " ".join(f"s{n}=1x1" for n in range(9))),
        *("a=1x1:watermark", "a=1x1:q9:watermark:png", "a=1x1:watermark:watermark"),
        *("assets/logo.png", "assets/", "logo.png", "assets/a b.png", "assets/" + "a" * 201, "assets/ä.png"),
        *("plan:free", "https://a.b/plan:free", "plan:", ":free", "plan", "plan:free plan", "a" * 201 + ":b"),
        *("100", "101", "a:" + "b" * 101),
        *("0123456789abcdef=1x1", "0123456789abcdefg=1x1"),
    ],
)
def test_the_template_takes_what_the_functions_take(
    declared: template.Template, parameter: str, variable: str | None, value: str
) -> None:
    """One set of bounds: what CloudFormation lets through and the code refuses is 500 for every request."""
    said = declared["Globals"]["Function"]["Environment"]["Variables"]
    variable = variable or next(name for name, of in said.items() if of == {"Ref": parameter})
    takes = not parameter_problems(declared["Parameters"][parameter], value)
    # What else a combination needs.
    around = {"WATERMARK": "assets/logo.png", "AUTH_ISSUER": "local", "AUTH_ALGORITHM": "HS256"}
    around |= {"BUCKET": "pictures", "REDIS_URL": "redis://localhost", "AUTH_SECRET": "s" * 32}
    try:
        Settings.from_env(around | {variable: value})
    except SettingsError:
        assert not takes
    else:
        # The settings read leading zeros as the same number; the template need not.
        assert takes or re.fullmatch(r"0\d+x.*|.*x0\d+", value)


ONE, THREE = {"RedisNodes": "1", "RedisFailover": "true"}, {"RedisNodes": "3", "RedisFailover": "true"}


@pytest.mark.parametrize(
    ("given", "current", "expected"),
    [
        ({"RedisNodes": "3"}, {}, [{"RedisNodes": "3"}]),
        (
            {"RedisNodes": "3", "Retention": "60"},
            ONE,
            [
                {"RedisNodes": "3", "RedisFailover": "false", "Retention": "60"},
                {"RedisNodes": "3", "RedisFailover": "true", "Retention": "60"},
            ],
        ),
        (
            {"RedisNodes": "1"},
            THREE,
            [{"RedisNodes": "3", "RedisFailover": "false"}, {"RedisNodes": "1", "RedisFailover": "true"}],
        ),
        ({"RedisNodes": "2"}, THREE, [{"RedisNodes": "2"}]),
        ({"Retention": "60"}, ONE, [{"Retention": "60"}]),
        # The first step of an earlier change was done, and the second was not.
        ({}, THREE | {"RedisFailover": "false"}, [{"RedisFailover": "true"}]),
        ({"RedisNodes": "3"}, ONE | {"another": "Redis"}, [{"RedisNodes": "3"}]),
    ],
)
def test_a_failover_is_turned_on_and_off_while_there_are_two_nodes(
    given: dict[str, str], current: dict[str, str], expected: list[dict[str, str]]
) -> None:
    own_redis = "another" not in current
    assert parameters.steps(given, current, own_redis=own_redis) == expected
    reached: dict[str, Any] = dict(current)
    for step in expected if current and own_redis else []:
        before, reached = reached, reached | step
        moved = (before["RedisNodes"] == "1") != (reached["RedisNodes"] == "1")
        assert not moved or "false" in (before["RedisFailover"], reached["RedisFailover"])


@pytest.mark.parametrize(
    ("days", "current", "asked"),
    [
        ("2", {}, False),
        ("2", {"ExpireAfterDays": "0"}, True),
        ("2", {"ExpireAfterDays": "30"}, True),
        ("30", {"ExpireAfterDays": "2"}, False),
        ("0", {"ExpireAfterDays": "2"}, False),
    ],
)
def test_a_retention_that_ends_stored_pictures_is_confirmed_first(
    days: str, current: dict[str, str], asked: bool
) -> None:
    assert bool(parameters.shortened({"ExpireAfterDays": days}, current)) == asked
