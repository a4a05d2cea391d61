"""Words that the conversation of the conformance test uses everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.unit.gateway.api.conformance import Conversation

__all__ = ["ASK", "SUBNET", "VPC", "all_pages", "only", "tags"]

SUBNET, VPC = "subnet-1", "vpc-1"
ASK = {"MaxResults": 5}


def tags(resource_type: str) -> list[dict[str, Any]]:
    return [{"ResourceType": resource_type, "Tags": [{"Key": "Name", "Value": "office"}]}]


def only(name: str, *values: str) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": list(values)}]


def all_pages(talk: Conversation, operation: str, **parameters: Any) -> list[dict[str, Any]]:
    """Read a list with a token that leads nowhere as well, so that both are said."""
    talk.refused("InvalidNextToken", operation, **parameters, **ASK, NextToken="nonsense")
    reply = talk.say(operation, **parameters, **ASK)
    (items,) = (value for value in reply.values() if isinstance(value, list))
    return list(items)
