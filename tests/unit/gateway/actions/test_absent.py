from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import gateway.actions.absent  # noqa: F401 - registers them
from tests.unit.gateway.actions.harness import invoke, refused
from tests.unit.gateway.actions.rows import add_association, add_endpoint, add_network

if TYPE_CHECKING:
    from gateway.store import Store

KINDS = [
    ("DescribeNetworkInterfaces", "NetworkInterfaceIds", "InvalidNetworkInterfaceID.NotFound", "NetworkInterfaces"),
    ("DescribeNetworkAcls", "NetworkAclIds", "InvalidNetworkAclID.NotFound", "NetworkAcls"),
]


@pytest.mark.parametrize(("name", "ids", "code", "member"), KINDS)
def test_there_are_none_whatever_is_asked_for(store: Store, name: str, ids: str, code: str, member: str) -> None:
    add_network(store)
    add_endpoint(store, vpc_id="vpc-1")
    add_association(store)
    assert invoke(store, name) == {member: []}
    any_filter = [{"Name": "group-id", "Values": ["sg-1"]}, {"Name": "whatever", "Values": ["AWS Lambda VPC ENI*"]}]
    assert invoke(store, name, Filters=any_filter, MaxResults=5) == {member: []}
    with refused(code, "one-1"):
        invoke(store, name, **{ids: ["one-1"]})
    with refused("InvalidNextToken"):
        invoke(store, name, NextToken="nonsense")
