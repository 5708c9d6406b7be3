"""Prints a line for each circle of references in a template, after SAM's macro: CloudFormation refuses one.

It runs in MiniStack's environment, which has the macro: `python circles.py template.json`.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from samtranslator.translator.transform import transform


class NoPolicies:
    """SAM's managed policies, of which the template uses none."""

    def load(self) -> dict[str, str]:
        return {}


def references(part: Any) -> Iterator[str]:
    """Names of what a part of a resource waits for."""
    if isinstance(part, list):
        for value in part:
            yield from references(value)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key == "Ref":
                yield value
            elif key == "Fn::GetAtt":
                yield value[0] if isinstance(value, list) else value.partition(".")[0]
            elif key == "DependsOn":
                yield from [value] if isinstance(value, str) else value
            else:
                if key == "Fn::Sub":
                    yield from re.findall(r"\$\{(\w+)", value[0] if isinstance(value, list) else value)
                yield from references(value)


def main(path: str) -> None:
    with open(path) as file:  # noqa: PTH123
        template = json.load(file)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": "artifacts", "Key": "code.zip"}
    defaults = {name: said.get("Default") for name, said in template["Parameters"].items()}
    resources = transform(template, defaults, NoPolicies())["Resources"]
    waits = {name: set(references(of)) & resources.keys() - {name} for name, of in resources.items()}
    sys.stdout.write(f"{len(resources)} resources\n")
    # What waits for nothing can be made; what is left when nothing can be made any more waits in a circle.
    while made := [name for name, others in waits.items() if not others & waits.keys()]:
        for name in made:
            del waits[name]
    for name in sorted(waits):
        sys.stdout.write(f"circle: {name} {sorted(waits[name] & waits.keys())}\n")


if __name__ == "__main__":
    main(sys.argv[1])
