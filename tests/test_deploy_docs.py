"""docs/deploy.md and docs/operations.md list what the stack has, and the sums are right."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from cfnlint.api import lint_file
from chalice.package import YAMLTemplateSerializer

from chalicelib.bus import SOURCE
from chalicelib.work.relay import DETAIL_TYPE
from deploy import ROOT, template
from deploy.account import WANTED
from tests import described
from tests.receiver import SECRET, receiving

DOCS = (ROOT / "docs" / "deploy.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def rows(title: str, document: str = DOCS) -> list[list[str]]:
    """The cells of the body of the first table after a title."""
    lines = document.split(title, 1)[1].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


@pytest.fixture(scope="module")
def stack() -> template.Template:
    return template.stack()


def test_every_parameter_with_its_default(stack: template.Template) -> None:
    documented: dict[str, Any] = {}
    for names, defaults, _ in rows("## Parameters"):
        values = [value.strip("`") for value in defaults.split(", ")]
        documented |= dict(zip(re.findall(r"`(\w+)`", names), values, strict=True))
    said = dict.fromkeys(("RedisUrl", "RedisUrlName", "AuthIssuer", "AuthJwksUrl"), "none")
    said |= dict.fromkeys(("AuthSecret", "AuthSecretName", "AuthClientId"), "none")
    said |= dict.fromkeys(("AlarmEmail", "AlarmTopicArn"), "none")
    said |= dict.fromkeys(("ZoneA", "ZoneB", "BucketName", "CreateApiLogsRole", *WANTED), "by itself")
    said |= dict.fromkeys(("RetentionAfterDownload", "ThumbnailSizes", "Watermark", "WatermarkFor"), "none")
    assert documented == {
        name: said.get(name, str(parameter["Default"])) for name, parameter in stack["Parameters"].items()
    }


def test_every_alarm(stack: template.Template) -> None:
    documented = [name for names, _, _ in rows("## Alarms", OPERATIONS) for name in names.split(", ")]
    resources = stack["Resources"].items()
    assert sorted(documented) == sorted(
        f"`{name}`" for name, resource in resources if resource.get("Type") == "AWS::CloudWatch::Alarm"
    )


def test_every_metric() -> None:
    documented = {
        name for names, *_ in rows("## Metrics", OPERATIONS) for name in re.findall(r"`(\w+)`", names)
    }
    source = (ROOT / "chalicelib" / "metrics.py").read_text()
    assert documented == set(re.findall(r'Metric\("(\w+)"', source))


@pytest.mark.parametrize("title", ["**An idle month**", "**A million thumbnails**"])
def test_costs_add_up(title: str) -> None:
    prices = []
    for _, _, dollars in rows(title):
        if dollars.startswith("**"):
            break
        prices.append(float(dollars))
    assert len(prices) >= 6
    assert sum(prices) == pytest.approx(float(dollars.strip("*")))


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=[path.stem for path in PAGES])
def test_what_make_is_told_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", page.read_text(), re.MULTILINE)):
        assert re.search(rf"^([a-z-]+ )*{target}( [a-z-]+)*:", makefile, re.MULTILINE), target


RECIPES = re.findall(
    r"## ([^\n]+)\n.*?```yaml\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.DOTALL
)


def test_there_are_recipes() -> None:
    assert len(RECIPES) == 7


@pytest.mark.slow
@pytest.mark.parametrize("text", [text for _, text in RECIPES], ids=[title for title, _ in RECIPES])
def test_every_recipe_is_a_sound_template(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    assert [str(match) for match in lint_file(path)] == []


def test_rules_of_recipes_match_what_is_published(stack: template.Template) -> None:
    found = [
        YAMLTemplateSerializer().load_template(text, title) for title, text in RECIPES if "Rule:" in text
    ]
    patterns = [recipe["Resources"]["Rule"]["Properties"]["EventPattern"] for recipe in found]
    assert [pattern["source"] for pattern in patterns] == [[SOURCE]] * 3
    assert set(patterns[1]["detail-type"]) < set(DETAIL_TYPE.values())
    assert all(pattern["detail"] == {"bucket": [{"Ref": "Bucket"}]} for pattern in patterns)
    assert "BucketName" in stack["Outputs"]


def test_the_webhook_of_the_recipes_signs_and_fails_if_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = YAMLTemplateSerializer().load_template(dict(RECIPES)["Events to a webhook"], "recipe")
    function = recipe["Resources"]["Function"]["Properties"]
    detail = {"event_id": "an id", "record": {"filename": "Grüße.jpg"}}
    told = {"detail-type": "Thumbnail Ready", "time": "2026-11-27T09:30:12Z", "detail": detail}
    with receiving(500, 302) as receiver:
        monkeypatch.setenv("SECRET", SECRET)
        monkeypatch.setenv("URL", receiver.url)
        code: dict[str, Any] = {}
        exec(function["Code"]["ZipFile"], code)  # noqa: S102 - what the document shows is run
        for _ in range(2):
            with pytest.raises(HTTPError):
                code["handler"]({"Records": [{"body": json.dumps(told)}]}, None)
        code["handler"]({"Records": [{"body": json.dumps(told)}]}, None)
    body = {"type": "Thumbnail Ready", "timestamp": told["time"], "data": detail}
    assert receiver.taken == [("an id", body)]
    queue = recipe["Resources"]["Queue"]["Properties"]
    assert queue["VisibilityTimeout"] >= 6 * function["Timeout"], "as Lambda advises"
    assert queue["RedrivePolicy"]["maxReceiveCount"] * queue["VisibilityTimeout"] == 3 * 24 * 3600


def test_the_cache_of_the_recipes_tells_apart_what_the_api_does() -> None:
    recipe = YAMLTemplateSerializer().load_template(
        dict(RECIPES)["CloudFront in front of thumbnails"], "recipe"
    )
    policy = recipe["Resources"]["Downloads"]["Properties"]["CachePolicyConfig"]
    key = policy["ParametersInCacheKeyAndForwardedToOrigin"]
    taken = map(described.resolved, described.OPERATIONS["getThumbnail"].says["parameters"])
    queries = {parameter["name"] for parameter in taken if parameter["in"] == "query"}
    assert set(key["QueryStringsConfig"]["QueryStrings"]) == queries
    assert "Authorization" in key["HeadersConfig"]["Headers"]


def test_what_recipes_take_of_the_stack_is_there(stack: template.Template) -> None:
    text = (ROOT / "docs" / "recipes.md").read_text()
    assert "AlarmTopicArn" in stack["Parameters"]
    # Chalice writes the output RestAPIId, and the stage's name comes from its configuration.
    stages = json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]
    assert stages[template.CHALICE_STAGE]["api_gateway_stage"] == "live"
    assert "/stages/live" in text
    assert "Stage: live" in text


@pytest.mark.parametrize(
    "name", ["deploy", "operations", "owners", "scaling", "security", "recipes", "events"]
)
def test_every_parameter_that_a_document_names_exists(stack: template.Template, name: str) -> None:
    """Words in code that look like a parameter are one, or another thing that the stack or its code has."""
    text = (ROOT / "docs" / f"{name}.md").read_text()
    words = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-zA-Z]*)+)(?:=[^`]*)?`", text))
    known = stack["Parameters"].keys() | stack["Resources"].keys() | stack["Outputs"].keys()
    code = "".join(path.read_text() for path in [ROOT / "app.py", *(ROOT / "chalicelib").rglob("*.py")])
    unknown = {word for word in words - known if not re.search(rf"\b{word}\b", code)}
    assert unknown <= OF_AWS


OF_AWS = {
    *(
        "AdministratorAccess",
        "ApiId",
        "CertificateArn",
        "DeadLetters",
        "OriginDomain",
        "RestAPIId",
        "SecretName",
    )
}
"""What AWS, Chalice or a recipe calls so."""
