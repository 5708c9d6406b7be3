"""The stack's parameters: read, checked and completed before anything is built or made."""

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chalicelib.settings import Algorithm, Settings, SettingsError
from deploy import UserError
from deploy.template import Template

FIXED = {
    "VpcCidr": "the network and Redis would have to be made anew",
    "ZoneA": "the network and Redis would have to be made anew",
    "ZoneB": "the network and Redis would have to be made anew",
    "BucketName": "the pictures are in the bucket that there is",
}
"""Parameters that a stack keeps from its first deployment on -> why."""
MASKED = "****"
"""What CloudFormation shows of a parameter that is secret, also of an empty one."""
_DAY = 24 * 3600
# Stand-ins for secrets that only the stack knows; they pass the settings' checks if what is around them does.
_SOME_REDIS, _SOME_SECRET = "redis://localhost", "a secret of at least thirty-two bytes"

Values = dict[str, str]


def parse(text: str) -> Values:
    """Read `Name=value Name=value`. Everything but white space is part of a value, quotes and `$` included.

    Raises:
        UserError: a part is not of that form. The message shows no values: they may be secret.

    """
    parts = [part.partition("=") for part in text.split()]
    for number, (name, equals, _) in enumerate(parts, 1):
        if not (name and equals):
            raise UserError(f"PARAMETERS must be Name=value pairs with spaces between; pair {number} is not.")
    return {name: value for name, _, value in parts}


def read(path: Path) -> Values:
    """Read a JSON file `{"Name": "value"}`; lists stand for values with commas between them.

    Raises:
        UserError: there is no such file, or it is of another form.

    """
    try:
        said = json.loads(path.read_text())
        return {name: _text(value) for name, value in said.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f'PARAMETERS_FILE must be JSON of the form {{"Name": "value"}}: {error}') from error


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int):
        return str(value)
    raise TypeError(f"a value is neither text nor a number but {type(value).__name__}")


def check(template: Template, given: Values, current: Mapping[str, str]) -> None:
    """Refuse what CloudFormation or the functions would refuse later.

    Args:
        template: its parameters, and what the functions get of them.
        given: what the user names.
        current: what the stack has; empty for a first deployment.

    Raises:
        UserError: a name is unknown, a value is out of its bounds, or the settings refuse a combination.

    """
    declared = template["Parameters"]
    unknown = given.keys() - declared.keys()
    if unknown:
        raise UserError(f"the stack has no such parameters: {', '.join(sorted(unknown))}.")
    for name, value in given.items():
        for problem in _problems(declared[name], value):
            shown = "what is given" if declared[name].get("NoEcho") else repr(value)
            raise UserError(f"{name} {problem}, not {shown}. {declared[name]['Description']}")
        if name in FIXED and current and current.get(name, "") not in {"", value}:
            raise UserError(
                f"{name} cannot be changed from {current[name]}: {FIXED[name]}. Deploy another stage."
            )
    _check_network(given)
    _check_settings(template, given, current)


def _problems(declared: Mapping[str, Any], value: str) -> Iterator[str]:
    if "AllowedValues" in declared and value not in map(str, declared["AllowedValues"]):
        yield f"must be one of {', '.join(map(str, declared['AllowedValues']))}"
    if declared["Type"] == "Number":
        low, high = declared.get("MinValue", 0), declared.get("MaxValue", 2**31)
        if not re.fullmatch(r"\d{1,12}", value, re.ASCII) or not low <= int(value) <= high:
            yield f"must be a whole number from {low:,} to {high:,}"
    elif "AllowedPattern" in declared:
        parts = value.split(",") if declared["Type"] == "CommaDelimitedList" else [value]
        if not all(re.fullmatch(declared["AllowedPattern"], part) for part in parts):
            yield f"must be of the form {declared['AllowedPattern']}"


def _check_network(given: Values) -> None:
    if "VpcCidr" in given:
        try:
            ipaddress.IPv4Network(given["VpcCidr"])
        except ValueError as error:
            raise UserError(f"VpcCidr must be a network such as 10.97.0.0/24: {error}.") from error
    if bool(given.get("ZoneA")) != bool(given.get("ZoneB")) or (
        given.get("ZoneA") and given["ZoneA"] == given["ZoneB"]
    ):
        raise UserError("ZoneA and ZoneB must be named together, and be two availability zones.")


def _check_settings(template: Template, given: Values, current: Mapping[str, str]) -> None:
    """Let the functions' own settings judge: what they refuse would be 500 for every request."""
    values = effective(template, given, current)
    environment: Values = {}
    functions = template["Resources"]
    for variables in (
        template["Globals"]["Function"]["Environment"]["Variables"],
        # It alone has all that is about tokens.
        functions["Authorize"]["Properties"]["Environment"]["Variables"],
    ):
        for name, value in variables.items():
            of = value.get("Ref") if isinstance(value, dict) else value
            if isinstance(value, dict) and "Fn::Join" in value:
                of = value["Fn::Join"][1]["Ref"]
            if of in values:
                environment[name] = values[of]
    environment["BUCKET"] = "pictures"
    environment["REDIS_URL"] = values["RedisUrl"] if values["RedisUrl"] not in {"", MASKED} else _SOME_REDIS
    if values.get("AuthSecretName") or (values["AuthSecret"] == MASKED and _by_secret(environment)):
        environment["AUTH_SECRET"] = _SOME_SECRET
    else:
        environment["AUTH_SECRET"] = values["AuthSecret"].replace(MASKED, "")
    try:
        Settings.from_env(environment)
    except SettingsError as error:
        raise UserError(f"the functions would refuse these parameters: {error}") from error
    for one, other in (("RedisUrl", "RedisUrlName"), ("AuthSecret", "AuthSecretName")):
        if values[one] not in {"", MASKED} and values.get(other):
            raise UserError(f"{one} and {other} are both set; empty one of them.")


def _by_secret(environment: Mapping[str, str]) -> bool:
    return bool(environment["AUTH_ISSUER"]) and environment["AUTH_ALGORITHM"] == Algorithm.HS256


def effective(template: Template, given: Mapping[str, str], current: Mapping[str, str]) -> Values:
    """All parameters as they will be: given, or as they are, or their defaults."""
    return {
        name: given.get(name, current.get(name, str(declared.get("Default", ""))))
        for name, declared in template["Parameters"].items()
    }


def shortened(given: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    """What S3 would remove of an existing deployment, a line each; empty if nothing."""
    after, before = int(given.get("ExpireAfterDays", 0)), int(current.get("ExpireAfterDays", 0))
    if not current or not after or (before and before <= after):
        return []
    return [
        f"S3 removes every original and thumbnail older than {after} days for good, those of before included "
        "(ExpireAfterDays)"
    ]


def steps(given: Values, current: Mapping[str, str], *, own_redis: bool) -> list[Values]:
    """Split a change that ElastiCache refuses in one: a failover needs a second node before and after.

    Args:
        given: what is to be set.
        current: what the stack has.
        own_redis: whether the stack has a Redis of its own, and keeps it.

    Returns:
        what to set in each update, in order; `RedisFailover` is false between two of them.

    """
    nodes, before = int(given.get("RedisNodes", 0)), int(current.get("RedisNodes", 0))
    on, off = {"RedisFailover": "true"}, {"RedisFailover": "false"}
    if not before or not own_redis:
        return [given]
    if nodes > 1 and before == 1:
        return [given | off, given | on]
    if nodes == 1 and before > 1:
        return [given | off | {"RedisNodes": str(before)}, given | on]
    # An earlier change may have stopped half-way.
    return [given | on] if current.get("RedisFailover") == "false" else [given]
