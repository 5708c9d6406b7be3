"""The stack's template: what Chalice generates of app.py, completed by .chalice/stack/*.yaml."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from chalice.package import YAMLTemplateSerializer

from deploy import ROOT, UserError

STACK = ROOT / ".chalice" / "stack"
CHALICE_STAGE = "release"
ANY_METHOD = "x-amazon-apigateway-any-method"
INTEGRATION = "x-amazon-apigateway-integration"
SECURITY = "security"
API_KEY = "api_key"
SECTIONS = ("Globals", "Parameters", "Conditions", "Metadata", "Resources", "Outputs")

_USUAL_BUCKET = "${AWS::StackName}-${AWS::AccountId}-${AWS::Region}"

Template = dict[str, Any]


def stack() -> Template:
    """Join the files of .chalice/stack; each says something of its own.

    Raises:
        UserError: two files say something of the same resource, parameter, condition or output.

    """
    joined: Template = {}
    for path in sorted(STACK.glob("*.yaml")):
        # Chalice's own reader: it knows CloudFormation's tags (!Ref, !Sub and so on).
        piece = YAMLTemplateSerializer().load_template(path.read_text(), str(path))
        for section, entries in piece.items():
            into = joined.setdefault(section, {})
            twice = into.keys() & entries.keys()
            if section not in SECTIONS or twice:
                raise UserError(f"{path.name} says again, or in a wrong place: {section} {sorted(twice)}")
            into.update(entries)
    return joined


def run_chalice(tools: Path, project: Path, architecture: str, out: Path) -> Template:
    """Let `chalice package` write its archive and the merged template into `out`.

    Args:
        tools: the interpreter of the environment that packages.
        project: a copy of the project, with `vendor/` filled; its configuration is adapted.
        architecture: Lambda's name of it.
        out: an empty folder.

    Returns:
        the template (AWS SAM); its functions' code is what Chalice's archive holds.

    """
    config_path = project / ".chalice" / "config.json"
    config = json.loads(config_path.read_text()) | {"lambda_architecture": architecture}
    config_path.write_text(json.dumps(config))
    merge = project / ".chalice" / "merge.json"
    merge.write_text(json.dumps(stack()))
    command: list[str | Path] = [
        tools.parent / "chalice",
        "package",
        "--stage",
        CHALICE_STAGE,
        "--merge-template",
        merge,
        out,
    ]
    done = subprocess.run(
        command,
        cwd=project,
        # Chalice asks for a region, and writes nothing of it into the template.
        env={"PATH": "/usr/bin:/bin", "AWS_DEFAULT_REGION": "us-east-1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise UserError("chalice package failed; its message stands above.")
    shutil.rmtree(project / ".chalice" / "deployments", ignore_errors=True)
    template: Template = json.loads((out / "sam.json").read_text())
    _ask_who_it_is_where_it_matters(template)
    _hand_over_other_methods(template)
    for section in ("Globals", "Resources"):
        template[section] = _name_bucket(template[section])
    return template


def _ask_who_it_is_where_it_matters(template: Template) -> None:
    """Let parameters decide whether the authorizer is asked, and whether clients need a key.

    Chalice writes that the authorizer is asked, and nothing of keys.
    """
    definition = template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    definition["securityDefinitions"][API_KEY] = {"type": "apiKey", "name": "x-api-key", "in": "header"}
    for methods in definition["paths"].values():
        for method in methods.values():
            if SECURITY in method:
                (token,) = method[SECURITY]
                key: dict[str, list[str]] = {API_KEY: []}
                method[SECURITY] = {
                    "Fn::If": [
                        "OwnersOn",
                        {"Fn::If": ["LimitsClients", [token | key], [token]]},
                        {"Fn::If": ["LimitsClients", [key], {"Ref": "AWS::NoValue"}]},
                    ]
                }


def _hand_over_other_methods(template: Template) -> None:
    """Let the app answer methods that a path does not take: it says 405, where the gateway would say 403."""
    for methods in template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]["paths"].values():
        some = next(iter(methods.values()))
        methods[ANY_METHOD] = {name: some[name] for name in (INTEGRATION, "parameters") if name in some}


def _name_bucket(part: Any) -> Any:
    """Let a parameter name the bucket wherever its usual name stands.

    Nothing may refer to the bucket itself: it refers to the function that it notifies, and so around.
    """
    if isinstance(part, list):
        return [_name_bucket(value) for value in part]
    if not isinstance(part, dict):
        return part
    text = part.get("Fn::Sub")
    if not isinstance(text, str) or _USUAL_BUCKET not in text:
        return {name: _name_bucket(value) for name, value in part.items()}
    named = {"Fn::If": ["NamesBucket", {"Ref": "BucketName"}, {"Fn::Sub": _USUAL_BUCKET}]}
    if text == _USUAL_BUCKET:
        return named
    return {"Fn::Sub": [text.replace(_USUAL_BUCKET, "${PicturesBucket}"), {"PicturesBucket": named}]}


def functions(template: Template) -> dict[str, dict[str, Any]]:
    """Logical name -> properties of each function in a template."""
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
