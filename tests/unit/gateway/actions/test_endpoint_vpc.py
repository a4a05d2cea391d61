from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from gateway.actions.settings import Quotas
from gateway.store.schema import association_security_group
from tests.unit.gateway.actions.endpoint_calls import create, modify, shown
from tests.unit.gateway.actions.harness import SETTINGS, refused
from tests.unit.gateway.actions.rows import add_association, add_network, add_security_group

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns

GROUPS = [f"sg-{number}" for number in range(6)]


@pytest.fixture(autouse=True)
def vpcs(store: Store) -> None:
    add_network(store, "subnet-1", vpc_id="vpc-1")
    add_network(store, "subnet-2", vpc_id="vpc-2", cidr="192.168.20.0/24")
    for group_id in GROUPS:
        add_security_group(store, group_id)
    add_security_group(store, "sg-far", vpc_id="vpc-2")


def groups_of(store: Store, association_id: str) -> list[str]:
    table = association_security_group
    with store.read() as connection:
        return list(
            connection.scalars(
                select(table.c.group_id).where(table.c.association_id == association_id).order_by(table.c.position)
            )
        )


def test_an_endpoint_is_made_in_a_vpc_with_its_groups(store: Store, arns: Arns) -> None:
    one = shown(store, create(store, arns, VpcId="vpc-1", SecurityGroupIds=["sg-2", "sg-1"]))
    assert (one["VpcId"], one["SecurityGroupIds"]) == ("vpc-1", ["sg-2", "sg-1"])


def test_groups_need_their_vpc(store: Store, arns: Arns) -> None:
    with refused("InvalidParameterValue", "VpcId"):
        create(store, arns, SecurityGroupIds=["sg-1"])
    endpoint_id = create(store, arns, VpcId="vpc-1")
    with refused("InvalidParameterValue", "VpcId"):
        modify(store, endpoint_id, SecurityGroupIds=["sg-1"])


def test_a_vpc_that_is_not_there_is_refused(store: Store, arns: Arns) -> None:
    with refused("InvalidVpcID.NotFound", "'vpc-9'"):
        create(store, arns, VpcId="vpc-9")
    endpoint_id = create(store, arns)
    with refused("InvalidVpcID.NotFound", "'vpc-9'"):
        modify(store, endpoint_id, VpcId="vpc-9")


@pytest.mark.parametrize("group_id", ["sg-none", "sg-far"])
def test_a_group_that_the_vpc_does_not_have_is_refused(store: Store, arns: Arns, group_id: str) -> None:
    with refused("InvalidSecurityGroupID.NotFound", repr(group_id)):
        create(store, arns, VpcId="vpc-1", SecurityGroupIds=["sg-1", group_id])


def test_there_are_only_so_many_groups(store: Store, arns: Arns) -> None:
    with refused("InvalidParameterValue", "6 are too many; the limit is 5"):
        create(store, arns, VpcId="vpc-1", SecurityGroupIds=GROUPS)
    unlimited = replace(SETTINGS, quotas=Quotas(security_groups_per_association=0))
    assert create(store, arns, VpcId="vpc-1", SecurityGroupIds=GROUPS, settings=unlimited)


def test_a_group_is_there_once(store: Store, arns: Arns) -> None:
    with refused("InvalidParameterValue", "twice"):
        create(store, arns, VpcId="vpc-1", SecurityGroupIds=["sg-1", "sg-1"])


def test_the_vpc_changes_while_there_is_no_target_network_and_groups_stay_behind(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns, VpcId="vpc-1", SecurityGroupIds=["sg-1"])
    add_association(store, "cvpn-assoc-old", endpoint_id=endpoint_id, ended_at=1.0)
    modify(store, endpoint_id, VpcId="vpc-2")
    one = shown(store, endpoint_id)
    assert (one["VpcId"], one["SecurityGroupIds"]) == ("vpc-2", [])


def test_the_vpc_does_not_change_under_target_networks(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns, VpcId="vpc-1")
    add_association(store, endpoint_id=endpoint_id)
    with refused("InvalidParameterValue", "Disassociate them first"):
        modify(store, endpoint_id, VpcId="vpc-2")
    modify(store, endpoint_id, VpcId="vpc-1")


def test_new_groups_are_those_of_all_target_networks(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns, VpcId="vpc-1", SecurityGroupIds=["sg-1"])
    add_association(store, "cvpn-assoc-1", endpoint_id=endpoint_id)
    add_association(store, "cvpn-assoc-2", endpoint_id=endpoint_id, subnet_id="subnet-3", zone="other")
    add_association(store, "cvpn-assoc-0", endpoint_id=endpoint_id, ended_at=1.0)
    for groups in (["sg-3", "sg-2"], ["sg-4"]):
        modify(store, endpoint_id, VpcId="vpc-1", SecurityGroupIds=groups)
        assert shown(store, endpoint_id)["SecurityGroupIds"] == groups
        assert groups_of(store, "cvpn-assoc-1") == groups_of(store, "cvpn-assoc-2") == groups
    assert groups_of(store, "cvpn-assoc-0") == []


def test_groups_stay_where_only_the_same_vpc_is_named(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns, VpcId="vpc-1", SecurityGroupIds=["sg-1"])
    modify(store, endpoint_id, VpcId="vpc-1")
    assert shown(store, endpoint_id)["SecurityGroupIds"] == ["sg-1"]
