"""The one stack, as emulators understand it. Each change stands beside the behaviour that needs it.

Neither emulator gets a Redis of its own: `RedisUrl` names one.
"""

import copy
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from deploy.template import ANY_METHOD, Template

_API_ID = "thumbnails"
_OWN_REDIS = ("OwnRedis", "OwnPlainRedis", "OwnRedisCluster", "OwnRedisWithStandby")


def for_localstack(template: Template) -> Template:
    """Adapt the template to LocalStack 4.14, the last that runs without a token.

    Its gateway responses count from the next deployment on: `Stack.redeploy` after it was made.
    It never takes `*/*` for a binary type: with two more types, it sends bytes to browsers, and to clients
    that accept any image; curl has to name one.
    """
    changed = _without_own_redis(template)
    _without_tls_only(changed)
    _with_gateway_responses_of_their_own(changed)
    # It knows no dashboards.
    del changed["Resources"]["Dashboard"]
    _without_metric_math(changed)
    # And it lets an API choose its id, so that the URL can be known beforehand.
    properties = changed["Resources"]["RestAPI"]["Properties"]
    properties["Tags"] |= {"_custom_id_": _API_ID}
    properties["PropagateTags"] = True  # to the API; SAM gives them to its stage only
    properties["BinaryMediaTypes"] = [*properties["BinaryMediaTypes"], "image~1*", "text~1html"]
    return changed


def localstack_urls(base: str) -> list[str]:
    """Where clients find the API on LocalStack, whose own URL is `base`.

    Under the first, which needs no name to be looked up, paths that the API itself tells (`Location`, `Link`)
    lead nowhere; under the second they work.
    """
    port = urlsplit(base).port
    return [
        f"{base}/_aws/execute-api/{_API_ID}/live",
        f"http://{_API_ID}.execute-api.localhost:{port}/live",
    ]


def show_s3_at(template: Template, url: str) -> None:
    """Let presigned uploads name LocalStack as clients reach it.

    The functions reach it by an address in Docker's network, which Docker Desktop does not route to the host.
    """
    template["Globals"]["Function"]["Environment"]["Variables"]["PUBLIC_STORAGE_URL"] = url


def for_ministack(template: Template) -> Template:
    """Adapt the template to MiniStack 1.5."""
    changed = copy.deepcopy(template)
    _without_tls_only(changed)
    _with_plain_binary_types(changed)
    _with_gateway_responses_of_their_own(changed)
    _with_each_method_named(changed)
    _without_metric_math(changed)
    return changed


def _without_own_redis(template: Template) -> Template:
    """ElastiCache is none of LocalStack's free services: leave out it and its network, not just unmade.

    The account's setting for logs goes, too: the tag that orders it would make a circle with an API that is
    tagged itself, and LocalStack needs no such setting.
    """
    changed = _as_if_not(template, *_OWN_REDIS, "AllowsApiLogs")
    for name in (
        "RedisNodeType",
        "RedisNodes",
        "RedisFailover",
        "RedisShards",
        "VpcCidr",
        "ZoneA",
        "ZoneB",
        "CreateApiLogsRole",
    ):
        del changed["Parameters"][name]
    for name in (*_OWN_REDIS, "ClusterMode", "HasStandby", "ZonesNamed", "AllowsApiLogs"):
        del changed["Conditions"][name]
    del changed["Metadata"]
    return changed


def _as_if_not(template: Template, *conditions: str) -> Template:
    """A copy without what stands under conditions that never hold."""

    def chosen(part: Any) -> Any:
        if isinstance(part, dict):
            if list(part) == ["Fn::If"] and part["Fn::If"][0] in conditions:
                return chosen(part["Fn::If"][2])
            return {name: chosen(value) for name, value in part.items()}
        return [chosen(value) for value in part] if isinstance(part, list) else part

    changed: Template = chosen(copy.deepcopy(template))
    for name, resource in template["Resources"].items():
        if resource.get("Condition") in conditions:
            del changed["Resources"][name]
    return changed


def _without_tls_only(template: Template) -> None:
    """Emulators speak plain HTTP, so the bucket's rule that refuses it would refuse everybody."""
    del template["Resources"]["BucketPolicy"]


def _without_metric_math(template: Template) -> None:
    """MiniStack refuses alarms that are computed; LocalStack's are not known to work."""
    resources = template["Resources"]
    for name in [name for name, resource in resources.items() if "Metrics" in resource.get("Properties", {})]:
        del resources[name]


def _with_plain_binary_types(template: Template) -> None:
    """MiniStack compares media types as they stand here; SAM's spelling of the slash never matches.

    Where nothing matches, a picture is decoded as text on its way in, and damaged.
    """
    properties = template["Resources"]["RestAPI"]["Properties"]
    properties["BinaryMediaTypes"] = [name.replace("~1", "/") for name in properties["BinaryMediaTypes"]]


def _with_gateway_responses_of_their_own(template: Template) -> None:
    """Neither reads gateway responses from the API's definition, both from resources."""
    properties = template["Resources"]["RestAPI"]["Properties"]
    for kind, response in properties.pop("GatewayResponses").items():
        headers = response["ResponseParameters"]["Headers"]
        resource: dict[str, Any] = {
            "Type": "AWS::ApiGateway::GatewayResponse",
            "Properties": {
                "RestApiId": {"Ref": "RestAPI"},
                "ResponseType": kind,
                "ResponseTemplates": response["ResponseTemplates"],
                "ResponseParameters": {
                    f"gatewayresponse.header.{name}": value for name, value in headers.items()
                },
            },
        }
        if "StatusCode" in response:
            resource["Properties"]["StatusCode"] = str(response["StatusCode"])
        name = "".join(part.capitalize() for part in kind.split("_"))
        template["Resources"][f"GatewayResponse{name}"] = resource


def _with_each_method_named(template: Template) -> None:
    """MiniStack passes over the method that stands for all others."""
    for methods in template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]["paths"].values():
        others = methods.pop(ANY_METHOD)
        for method in ("get", "head", "post", "put", "patch", "delete", "options"):
            methods.setdefault(method, others)


TARGETS: dict[str, Callable[[Template], Template]] = {
    "aws": copy.deepcopy,
    "localstack": for_localstack,
    "ministack": for_ministack,
}
