"""The shapes of requests and replies: botocore's own models of EC2 and STS, and one for what Portway adds.

EC2's model has 830 operations, of which one in twenty concerns us. It is cut down as soon as it is read: of 14.5 MB,
0.5 MB stay. Reading takes less than 0.1 s at the start, so nothing is kept on disk that could grow old.

Portway's own model is written in files of one topic each, `models/portway/*.json`, in botocore's format but without
what all operations have and what follows from their names:

    {"operations": {"ListThings": {"input": {"shape": "ListThingsRequest"}, "output": {"shape": "ListThingsResult"}}},
     "shapes": {"ListThingsRequest": {"type": "structure", "members": {…}}, …}}

The files share one space of names; `common.json` has the plain types. Every request may have `DryRun`, and one that
names endpoints calls them `ClientVpnEndpointId` or `ClientVpnEndpointIds`. A shape with `"sensitive": true` stays out
of the audit log. Must not know what any operation does.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from botocore.loaders import Loader
from botocore.model import ListShape, ServiceModel, StructureShape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from botocore.model import Shape

__all__ = ["EC2_VERSION", "PORTWAY_VERSION", "STS_VERSION", "load_services", "merge_topics", "referenced_shapes"]

EC2_VERSION = "2016-11-15"
STS_VERSION = "2011-06-15"
PORTWAY_VERSION = "2026-11-01"

_EC2_BESIDES_CLIENT_VPN = frozenset(
    {
        *("CreateTags", "DeleteTags", "DescribeTags"),
        *("DescribeAccountAttributes", "DescribeRegions", "DescribeAvailabilityZones"),
        *("DescribeVpcs", "DescribeVpcAttribute", "DescribeSubnets", "DescribeRouteTables"),
        *("DescribeNetworkAcls", "DescribeNetworkInterfaces"),
        *("CreateSecurityGroup", "DeleteSecurityGroup", "DescribeSecurityGroups", "DescribeSecurityGroupRules"),
        "GetSecurityGroupsForVpc",
        *("AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"),
        *("RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress", "ModifySecurityGroupRules"),
        *("UpdateSecurityGroupRuleDescriptionsIngress", "UpdateSecurityGroupRuleDescriptionsEgress"),
    }
)
_STS = frozenset({"GetCallerIdentity"})
_PORTWAY_METADATA = {
    "apiVersion": PORTWAY_VERSION,
    "endpointPrefix": "portway",
    "protocol": "query",
    "protocols": ["query"],
    "serviceFullName": "Portway",
    "serviceId": "Portway",
    "signatureVersion": "v4",
    "signingName": "portway",
    "xmlNamespace": f"urn:portway:{PORTWAY_VERSION}",
}


@cache
def load_services() -> Mapping[str, ServiceModel]:
    """Return the services by the version that requests name: EC2's, STS's and Portway's own."""
    loader = Loader()
    ec2 = loader.load_service_model("ec2", "service-2", EC2_VERSION)
    ec2_names = {name for name in ec2["operations"] if "ClientVpn" in name} | _EC2_BESIDES_CLIENT_VPN
    return {
        EC2_VERSION: ServiceModel(_cut_down(ec2, ec2_names), "ec2"),
        STS_VERSION: ServiceModel(_cut_down(loader.load_service_model("sts", "service-2", STS_VERSION), _STS), "sts"),
        PORTWAY_VERSION: ServiceModel(merge_topics(_read_topics()), "portway"),
    }


def merge_topics(topics: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Make one model of the topics, each with the name of its file. ValueError where two of them contradict."""
    operations: dict[str, Any] = {}
    shapes: dict[str, Any] = {}
    for file, topic in topics:
        for merged, part in ((operations, "operations"), (shapes, "shapes")):
            for name, value in topic.get(part, {}).items():
                if merged.setdefault(name, value) != value:
                    raise ValueError(f"{file} says of {name} something else than a file before it")
    missing = set(_reached(shapes, operations.values())) - shapes.keys()
    if missing:
        raise ValueError(f"no file describes these shapes: {', '.join(sorted(missing))}")
    for operation in operations.values():
        if "input" in operation:
            name = operation["input"]["shape"]
            shapes[name] = {**shapes[name], "members": {**shapes[name]["members"], "DryRun": {"shape": "Boolean"}}}
    completed = {name: _completed(name, operation) for name, operation in operations.items()}
    return {"version": "2.0", "metadata": _PORTWAY_METADATA, "operations": completed, "shapes": shapes}


def referenced_shapes(shape: Shape | None) -> Iterator[Shape]:
    """Yield a shape and all that it is made of, each once."""
    seen: set[str] = set()
    waiting = [shape] if shape is not None else []
    while waiting:
        current = waiting.pop()
        if current.name in seen:
            continue
        seen.add(current.name)
        yield current
        if isinstance(current, StructureShape):
            waiting.extend(current.members.values())
        elif isinstance(current, ListShape):
            waiting.append(current.member)


def _read_topics() -> Iterator[tuple[str, dict[str, Any]]]:
    directory = resources.files(__package__) / "models" / "portway"
    for file in sorted(directory.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".json"):
            yield file.name, json.loads(file.read_text("utf-8"))


def _completed(name: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    """The operation with what the query protocol derives from its name."""
    completed = {"name": name, "http": {"method": "POST", "requestUri": "/"}, **operation}
    if "output" in operation:
        completed["output"] = {"resultWrapper": f"{name}Result", **operation["output"]}
    return completed


def _cut_down(model: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The part of a model that these operations need."""
    operations = {name: _undocumented(model["operations"][name]) for name in sorted(names)}
    reached = _reached(model["shapes"], operations.values())
    shapes = {name: _undocumented(model["shapes"][name]) for name in reached}
    return {"version": "2.0", "metadata": model["metadata"], "operations": operations, "shapes": shapes}


def _reached(shapes: Mapping[str, Any], operations: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of all shapes that operations refer to, directly or through others."""
    reached: dict[str, None] = {}
    waiting = [
        operation[kind]["shape"] for operation in operations for kind in ("input", "output") if kind in operation
    ]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached[name] = None
            waiting.extend(_referred(shapes.get(name, {})))
    return list(reached)


def _referred(shape: Mapping[str, Any]) -> Iterator[str]:
    for member in shape.get("members", {}).values():
        yield member["shape"]
    for part in ("member", "key", "value"):
        if part in shape:
            yield shape[part]["shape"]


def _undocumented(part: Any) -> Any:
    if isinstance(part, dict):
        # A member may itself be called `documentation`, and is then a record and no text.
        return {
            key: _undocumented(value)
            for key, value in part.items()
            if not (key == "documentation" and isinstance(value, str))
        }
    return part
