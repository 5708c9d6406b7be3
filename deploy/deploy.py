"""`make deploy`: the repository -> a stack that has answered one upload.

All that can be refused is refused before packaging, which takes minutes, and before anything is made.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from deploy import ARCHITECTURES, BUILD, UserError, changes, package, parameters, rollback, smoke, template
from deploy.account import Account, reservations
from deploy.artifacts import Artifacts, Version
from deploy.emulators import TARGETS, localstack_urls, show_s3_at
from deploy.stack import UPDATABLE, Stack, stack_of

_BUCKET = "Bucket"


class Plan(NamedTuple):
    """What a deployment will do."""

    steps: list[parameters.Values]
    """Parameters to set in each update; a first deployment has one."""
    adopted: str | None
    """A bucket of an earlier deployment that the stack takes over."""


def main() -> None:
    """Deploy, print the URL, and try it; exit with one sentence if anything fails."""
    parser = argparse.ArgumentParser(prog="python -m deploy.deploy", description=__doc__)
    parser.add_argument("--stage", help="names the deployment, the stack is thumbnails-STAGE; else STAGE")
    parser.add_argument("--parameters", help='the stack\'s parameters: "Name=value ..."; else PARAMETERS')
    parser.add_argument("--target", choices=sorted(TARGETS), default="aws")
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="arm64")
    parser.add_argument("--build", type=Path, help="deploy what `make package` has put there")
    parser.add_argument("--shown-at", help="the emulator's URL for others than this process")
    chosen = parser.parse_args()
    try:
        stage = os.environ.get("STAGE", "") if chosen.stage is None else chosen.stage
        stack = stack_of(stage, chosen.target)
        given = _given(chosen.parameters)
        account = Account.find(stack.endpoint)
        before = None if chosen.build is None else _built(chosen.build)
        plan = prepare(stack, account, before or template.stack(), given)
        if chosen.build is None:
            package.build(chosen.architecture, BUILD)
        artifacts = Artifacts(account.number, endpoint=stack.endpoint)
        whole = TARGETS[chosen.target](_built(chosen.build or BUILD))
        if chosen.shown_at:
            show_s3_at(whole, chosen.shown_at)
        code = (chosen.build or BUILD) / package.CODE_ZIP
        deploy(stack, artifacts, whole, code, plan)
        if chosen.target == "localstack":
            stack.redeploy()
        _show(stack, chosen.shown_at)
        try_it(stack, artifacts, whole)
    except (UserError, BotoCoreError, ClientError) as error:
        sys.exit(f"deploy: {error}")


def _given(text: str | None) -> parameters.Values:
    file = os.environ.get("PARAMETERS_FILE")
    text = os.environ.get("PARAMETERS", "") if text is None else text
    return (parameters.read(Path(file)) if file else {}) | parameters.parse(text)


def _built(build: Path) -> dict[str, Any]:
    if not (build / package.TEMPLATE).exists():
        raise UserError("nothing is built; run `make package` first.")
    found: dict[str, Any] = json.loads((build / package.TEMPLATE).read_text())
    return found


def prepare(stack: Stack, account: Account, declared: template.Template, given: parameters.Values) -> Plan:
    """Check what is to be deployed against the account and what is there, and complete the parameters.

    Args:
        stack: where to.
        account: whose.
        declared: the template, or as much of it as the repository has.
        given: the parameters that the user names.

    Raises:
        UserError: it cannot be deployed, or the user does not agree.

    """
    status = stack.status()
    if status is not None and status not in UPDATABLE:
        raise UserError(_not_updatable(stack.name, status))
    current = stack.parameters()
    parameters.check(declared, given, current | _found(stack, account, given, current))
    own_redis = _own_redis(stack, given, current)
    planned, sentence = reservations(account.concurrency(), given, current)
    given = planned | given
    if sentence:
        print(sentence, flush=True)
    if own_redis and not (given.get("ZoneA") or current.get("ZoneA")):
        given |= _zones(stack, account)
    adopted = None
    if not current:
        if "CreateApiLogsRole" not in given:
            given["CreateApiLogsRole"] = str(not account.gateway_may_log()).lower()
        adopted = _adopted(stack, account, given)
    lost = parameters.shortened(given, current)
    if lost:
        changes.confirm(lost, question="Go on?")
    return Plan(parameters.steps(given, current, own_redis=own_redis and stack.has_own_redis()), adopted)


def _found(
    stack: Stack, account: Account, given: Mapping[str, str], current: Mapping[str, str]
) -> parameters.Values:
    """What a stack has chosen by itself of what is named now."""
    places = {"BucketName": "Bucket", "ZoneA": "SubnetA", "ZoneB": "SubnetB"}
    found = {}
    for name in places.keys() & given.keys():
        if current and not current.get(name) and (resource := stack.resource(places[name])):
            found[name] = resource if name == "BucketName" else account.zone_of(resource)
    return found


def _not_updatable(name: str, status: str) -> str:
    if status.endswith("_IN_PROGRESS"):
        return f"another operation on the stack {name} is under way ({status}); wait for its end."
    if status == "UPDATE_ROLLBACK_FAILED":
        return (
            f"the stack {name} is {status}: repair what CloudFormation names, then run "
            f"`aws cloudformation continue-update-rollback --stack-name {name}`."
        )
    return f"the stack {name} is {status} and takes no update; `make destroy` finishes its removal."


def _own_redis(stack: Stack, given: Mapping[str, str], current: Mapping[str, str]) -> bool:
    """Tell whether the stack will have a Redis of its own."""
    if "RedisUrl" not in given and "RedisUrlName" not in given and current:
        return stack.has_own_redis()
    return not (given.get("RedisUrl") or given.get("RedisUrlName", current.get("RedisUrlName")))


def _zones(stack: Stack, account: Account) -> parameters.Values:
    """The zones that the network is in already, or two for a new one: the order of zones may change later."""
    subnets = [stack.resource(name) for name in ("SubnetA", "SubnetB")]
    first, second = account.zones() if None in subnets else (account.zone_of(str(one)) for one in subnets)
    return {"ZoneA": first, "ZoneB": second}


def _adopted(stack: Stack, account: Account, given: Mapping[str, str]) -> str | None:
    """The bucket that a new stack takes over, None if it makes its own."""
    named = given.get("BucketName", "")
    name = named or f"{stack.name}-{account.number}-{account.region()}"
    if stack.exists() or not account.has_bucket(name):
        return None
    if not named:
        raise UserError(
            f"there is a bucket {name} of an earlier deployment. To take it over with its pictures: "
            f'PARAMETERS="BucketName={name}", then `make rebuild`. Otherwise empty and delete it.'
        )
    return name


def deploy(stack: Stack, artifacts: Artifacts, whole: template.Template, code: Path, plan: Plan) -> None:
    """Bring a stack up to a template, whose functions get the code of an archive.

    Raises:
        UserError: CloudFormation failed.

    """
    artifacts.ensure()
    artifacts.put_code(whole, code)
    url = artifacts.put_template(whole)
    if plan.adopted:
        print(f"Taking over the bucket {plan.adopted} ...", flush=True)
        stack.adopt(_BUCKET, artifacts.put_template(_nothing_but(plan.adopted)), plan.adopted)
    known = [
        {name: value for name, value in step.items() if name in whole["Parameters"]} for step in plan.steps
    ]
    if stack.exists():
        for step in known:
            print(f"Updating {stack.name} ...", flush=True)
            stack.update(whole, url, step)
        stack.protect(on=True)
    else:
        print(f"Making {stack.name}; on AWS, that takes some 15 minutes ...", flush=True)
        stack.create(url, known[0])
    if plan.adopted:
        print("`make rebuild` makes the records of the pictures that are in the bucket.", flush=True)


def _nothing_but(bucket: str) -> template.Template:
    """A template with the bucket alone; as it is, since an import changes nothing of it."""
    resource = {
        "Type": "AWS::S3::Bucket",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {"BucketName": bucket},
    }
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {_BUCKET: resource}}


def _show(stack: Stack, shown_at: str | None) -> None:
    urls = localstack_urls(shown_at) if shown_at else [stack.url()]
    for url in urls:
        print(f"API: {url}/api/v1/thumbnail")
    print(f"Bucket: {stack.output('BucketName')}\nBuild: {stack.output('Build')}", flush=True)


def try_it(stack: Stack, artifacts: Artifacts, whole: template.Template) -> None:
    """Try the API, and remember what was deployed as good; else go back with `ROLLBACK=1`, or say how."""
    try:
        smoke.run(stack)
    except UserError as error:
        if artifacts.remembered(stack.name) is None:
            raise
        if not os.environ.get("ROLLBACK"):
            stage = stack.name.removeprefix("thumbnails-")
            raise UserError(
                f"{error}\nThe new version is in place. `make rollback STAGE={stage}` goes back to the last "
                "one that passed; with ROLLBACK=1, `make deploy` does so by itself."
            ) from error
        print(f"{error}\nGoing back to the last version that passed ...", flush=True)
        rollback.roll_back(stack, artifacts)
        raise UserError("the new version failed its smoke test; the one before is back.") from error
    told = {
        name: value
        for name, value in stack.parameters().items()
        if not whole["Parameters"].get(name, {}).get("NoEcho")
    }
    artifacts.remember(stack.name, Version(whole, told))


if __name__ == "__main__":
    main()
