"""Owners for trials on this machine: `make run OWNERS=1`, and `make token SUB=alice` for a token."""

import os
import sys
import time
from collections.abc import Mapping

import jwt

from chalicelib.settings import Algorithm, Settings, SettingsError

TRIAL = {
    "AUTH_ISSUER": "make-token",
    "AUTH_ALGORITHM": "HS256",
    "AUTH_SECRET": "no secret at all, for trials on this machine only",
}
TOKEN_SECONDS = 24 * 3600


def with_trial_owners(env: Mapping[str, str]) -> dict[str, str]:
    """An environment in which tokens of `make token` are asked for, unless it names another issuer."""
    return dict(env) | ({} if env.get("AUTH_ISSUER") else TRIAL)


def token(subject: str, env: Mapping[str, str]) -> str:
    """Make a token that the service takes for `subject`'s for a day, if it runs with this environment.

    Raises:
        SettingsError: the environment names another issuer, which makes its tokens itself.

    """
    places = {"BUCKET": "any", "REDIS_URL": "redis://any"}
    auth = Settings.from_env(with_trial_owners(env) | places).auth
    if auth is None or auth.algorithm is not Algorithm.HS256:
        raise SettingsError(
            "AUTH_ALGORITHM must be HS256 for tokens to be made here; ask the issuer for one."
        )
    claims = {
        "iss": auth.issuer,
        "aud": min(auth.audiences),
        "sub": subject,
        "exp": int(time.time()) + TOKEN_SECONDS,
    }
    return jwt.encode(claims, auth.secret, algorithm=auth.algorithm.value)


def main(arguments: list[str]) -> None:
    """Print a token; exit with one sentence if that cannot be done."""
    subject = " ".join(arguments)
    if not subject:
        sys.exit("token: say for whom, as in: make token SUB=alice")
    try:
        print(token(subject, os.environ))
    except SettingsError as error:
        sys.exit(f"token: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
