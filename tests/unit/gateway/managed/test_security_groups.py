"""Security groups from the store to what runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.store import schema
from policy import HostFacts
from tests.unit.gateway.managed.world import LAB, LAB_ID, OFFICE, ManagedWorld, managed_world

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from gateway.store import Store
    from policy import TargetNetwork

HTTPS = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.20.0.0/24"}]}


def make_group(world: ManagedWorld, name: str) -> str:
    """A group without rules."""
    made = world.call("CreateSecurityGroup", GroupName=name, Description=name)
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    world.call("RevokeSecurityGroupEgress", GroupId=made["GroupId"], IpPermissions=[everything])
    return str(made["GroupId"])


def apply(world: ManagedWorld, endpoint_id: str, *group_ids: str) -> None:
    (row,) = world.call("DescribeClientVpnEndpoints", ClientVpnEndpointIds=[endpoint_id])["ClientVpnEndpoints"]
    world.call(
        "ApplySecurityGroupsToClientVpnTargetNetwork",
        ClientVpnEndpointId=endpoint_id,
        VpcId=row["VpcId"],
        SecurityGroupIds=list(group_ids),
    )


def others(target: TargetNetwork, group_id: str) -> list[str]:
    """The other sides of a group's egress rules."""
    (group,) = [group for group in target.security_groups or () if group.id == group_id]
    return [str(rule.destination) for rule in group.egress]


async def test_a_new_association_is_filtered_by_a_group_that_allows_everything(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        await world.round()
        (target,) = world.spec(endpoint_id).target_networks
        (group,) = target.security_groups or ()
        assert group.name == "default"
        assert [(rule.protocol, str(rule.destination)) for rule in group.egress] == [("-1", "0.0.0.0/0")]
        assert group.ingress == ()


async def test_a_rule_that_comes_or_goes_is_in_what_runs(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        group_id = make_group(world, "web")
        apply(world, endpoint_id, group_id)
        await world.round()
        (target,) = world.spec(endpoint_id).target_networks
        assert others(target, group_id) == []
        world.call("AuthorizeSecurityGroupEgress", GroupId=group_id, IpPermissions=[HTTPS])
        await world.round()
        (target,) = world.spec(endpoint_id).target_networks
        assert others(target, group_id) == ["10.20.0.0/24"]
        world.call("RevokeSecurityGroupEgress", GroupId=group_id, IpPermissions=[HTTPS])
        await world.round()
        (target,) = world.spec(endpoint_id).target_networks
        assert others(target, group_id) == []


async def test_a_rule_that_becomes_another_one_is_in_what_runs(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        group_id = make_group(world, "web")
        apply(world, endpoint_id, group_id)
        made = world.call("AuthorizeSecurityGroupEgress", GroupId=group_id, IpPermissions=[HTTPS])
        (rule,) = made["SecurityGroupRules"]
        wanted = {"IpProtocol": "udp", "FromPort": 53, "ToPort": 53, "CidrIpv4": "10.20.0.53/32"}
        update = {"SecurityGroupRuleId": rule["SecurityGroupRuleId"], "SecurityGroupRule": wanted}
        world.call("ModifySecurityGroupRules", GroupId=group_id, SecurityGroupRules=[update])
        await world.round()
        (target,) = world.spec(endpoint_id).target_networks
        assert others(target, group_id) == ["10.20.0.53/32"]


async def test_a_group_in_a_rule_stands_for_its_members(tmp_path: Path, store: Store) -> None:
    networks = (OFFICE, LAB | {"nat": False})
    async with managed_world(tmp_path, store, networks=networks) as world:
        behind_nat, routed = world.create(), world.create(ClientCidrBlock="10.91.0.0/22", VpnPort=1194)
        world.associate(behind_nat)
        world.associate(routed, LAB_ID)
        group_id, members, nobody = (make_group(world, name) for name in ("web", "members", "nobody"))
        pairs = [{"GroupId": members}, {"GroupId": nobody}]
        permission = {"IpProtocol": "-1", "UserIdGroupPairs": pairs}
        world.call("AuthorizeSecurityGroupEgress", GroupId=group_id, IpPermissions=[permission])
        apply(world, behind_nat, group_id, members)
        apply(world, routed, members)
        await world.round()
        (target,) = world.spec(behind_nat).target_networks
        assert others(target, group_id) == ["10.20.0.1/32", "10.91.0.0/22"]


async def no_interfaces() -> HostFacts:
    return HostFacts(())


async def test_a_rule_comes_and_goes_while_an_interface_is_away(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        association_id = world.associate(endpoint_id)
        group_id = make_group(world, "web")
        apply(world, endpoint_id, group_id)
        await world.round()
        monkeypatch.setattr(world.fleet.host, "facts", no_interfaces)
        world.call("AuthorizeSecurityGroupEgress", GroupId=group_id, IpPermissions=[HTTPS])
        await world.round()
        (target,) = world.spec(endpoint_id).target_networks
        assert others(target, group_id) == ["10.20.0.0/24"]
        assert world.statuses(schema.association) == {association_id: ("associated", "")}


async def test_groups_that_a_host_cannot_take_fail_their_association_and_nothing_passes(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("policy.validate_groups.MAX_GROUP_RULES", 1)
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        association_id = world.associate(endpoint_id)
        await world.round()
        group_id = make_group(world, "web")
        ping = {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "10.20.0.0/24"}]}
        world.call("AuthorizeSecurityGroupEgress", GroupId=group_id, IpPermissions=[HTTPS, ping])
        apply(world, endpoint_id, group_id)
        await world.round()
        status, message = world.statuses(schema.association)[association_id]
        assert (status, message) == ("association-failed", "2 rules of security groups are too many; the limit is 1.")
        assert world.fleet.running == []
        world.call("RevokeSecurityGroupEgress", GroupId=group_id, IpPermissions=[ping])
        await world.round()
        assert world.statuses(schema.association)[association_id] == ("associated", "")
