"""The life of a VPN as Terraform's AWS provider leads it, against the API and the gateway as they run.

After each step what is read is what was written: a plan would be empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.object_ids import vpc_id
from gateway.store import schema
from tests.lab import OFFICE_HOST, eventually
from tests.lab.api import Api
from tests.lab.managed import OFFICE_ID, PORT, ManagedSite
from tests.lab.network import OFFICE_NETWORK
from tests.lab.terraform import Association, AuthorizationRule, Endpoint, Provider, Route
from tests.lab.terraform_groups import GroupRule, SecurityGroup, read_vpc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.terraform import Attributes, Resource

pytestmark = pytest.mark.interop

HTTP = {"ip_protocol": "tcp", "from_port": 8080, "to_port": 8080, "cidr_ipv4": OFFICE_NETWORK}
PING = {"ip_protocol": "icmp", "from_port": 8, "to_port": 0, "cidr_ipv4": OFFICE_NETWORK}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[ManagedSite]:
    with ManagedSite(tmp_path_factory.mktemp("site"), pki) as site:
        yield site


@pytest.fixture(scope="module")
def provider(site: ManagedSite) -> Iterator[Provider]:
    with Api(site.lab.gateway, site.config_file, log=site.lab.log("api")) as api:
        yield Provider(api.client())


class State:
    """What has been made, in its order, and what it was made from."""

    def __init__(self) -> None:
        self._made: list[tuple[Resource, str, Attributes]] = []

    def create(self, resource: Resource, wanted: Attributes) -> str:
        """Make it; a plan is empty then, and so it is after an import by its id."""
        resource_id = resource.create(wanted)
        self._made.append((resource, resource_id, wanted))
        self.check_plan_is_empty()
        return resource_id

    def update(self, resource: Any, resource_id: str, **changes: Any) -> None:
        (index,) = [index for index, (_, made, _) in enumerate(self._made) if made == resource_id]
        wanted = self._made[index][2] | changes
        resource.update(resource_id, resource.read(resource_id), wanted)
        self._made[index] = (resource, resource_id, wanted)
        self.check_plan_is_empty()

    def check_plan_is_empty(self) -> None:
        for resource, resource_id, wanted in self._made:
            found = resource.read(resource_id)
            assert found is not None
            assert {name: said_of(found.get(name), value) for name, value in wanted.items()} == wanted

    def destroy(self) -> None:
        while self._made:
            resource, resource_id, _ = self._made.pop()
            resource.delete(resource_id)
            assert resource.read(resource_id) is None


def said_of(found: Any, wanted: Any) -> Any:
    """What is found, as far as it is written down: within blocks, the provider takes over the rest."""
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        return [said_of(*pair) for pair in zip(found, wanted, strict=True)]
    if isinstance(found, dict) and isinstance(wanted, dict) and wanted.keys() <= found.keys():
        return {name: found[name] for name in wanted}
    return found


@pytest.fixture
def state() -> Iterator[State]:
    state = State()
    yield state
    state.destroy()


def minimal(site: ManagedSite) -> Attributes:
    """What an endpoint has to have."""
    certificates = site.rows(schema.certificate)
    root = next(row.arn for row in certificates if row.private_key is None)
    return {
        "client_cidr_block": "10.90.0.0/22",
        "server_certificate_arn": next(row.arn for row in certificates if row.private_key is not None),
        "authentication_options": [{"type": "certificate-authentication", "root_certificate_chain_arn": root}],
        "connection_log_options": [{"enabled": False}],
        "vpn_port": PORT,
    }


def test_a_vpn_is_applied_used_changed_and_destroyed(site: ManagedSite, provider: Provider, state: State) -> None:
    vpc = read_vpc(provider, Name="main")
    assert vpc["id"] == vpc_id("main")
    group_id = state.create(SecurityGroup(provider), {"name": "staff", "vpc_id": vpc["id"], "tags": {"a": "1"}})
    rules = GroupRule(provider, "Egress")
    rule_id = state.create(rules, {**HTTP, "security_group_id": group_id, "description": "web", "tags": {"b": "2"}})
    endpoints = Endpoint(provider)
    endpoint_id = state.create(
        endpoints,
        minimal(site)
        | {
            "description": "staff",
            "vpc_id": vpc["id"],
            "security_group_ids": [group_id],
            "dns_servers": ["10.20.0.53", "10.20.0.10"],
            "split_tunnel": True,
            "transport_protocol": "udp",
            "session_timeout_hours": 12,
            "self_service_portal": "disabled",
            "connection_log_options": [{"enabled": True, "cloudwatch_log_group": "default"}],
            "client_connect_options": [{"enabled": False}],
            "client_route_enforcement_options": [{"enforced": False}],
            "client_login_banner_options": [{"enabled": True, "banner_text": "Welcome."}],
            "tags": {"Name": "staff", "team": "network"},
        },
    )
    of = {"client_vpn_endpoint_id": endpoint_id}
    authorization = {**of, "target_network_cidr": OFFICE_NETWORK}
    state.create(AuthorizationRule(provider), authorization | {"access_group_id": "engineering", "description": "them"})
    state.create(Association(provider), {**of, "subnet_id": OFFICE_ID, "vpc_id": vpc["id"]})
    through = {"destination_cidr_block": f"{OFFICE_HOST}/32", "target_vpc_subnet_id": OFFICE_ID}
    state.create(Route(provider), {**of, **through, "description": "the host"})

    with site.connect(endpoint_id, "alice") as alice:
        alice.wait_connected()
        assert site.lab.fetch(OFFICE_HOST, "/whoami") is not None
        assert not alice.ping(OFFICE_HOST, within_s=1)
        state.update(rules, rule_id, **PING, description="ping", tags={"b": "3", "c": "4"})
        eventually(lambda: alice.ping(OFFICE_HOST, within_s=1), within_s=10, what="what the rule has become passes")
        assert site.lab.fetch(OFFICE_HOST, "/whoami", within_s=1) is None
    state.update(
        endpoints,
        endpoint_id,
        description="",
        dns_servers=[],
        session_timeout_hours=24,
        disconnect_on_session_timeout=True,
        client_login_banner_options=[{"enabled": False}],
        client_connect_options=[{"enabled": False}],
        connection_log_options=[{"enabled": False}],
        split_tunnel=False,
        tags={"Name": "everybody"},
    )


def test_what_is_not_written_down_has_the_provider_s_defaults(
    site: ManagedSite, provider: Provider, state: State
) -> None:
    endpoint_id = state.create(Endpoint(provider), minimal(site))
    defaults = {
        "arn": f"arn:aws:ec2:::client-vpn-endpoint/{endpoint_id}",
        "client_connect_options": [{"enabled": False}],
        "client_login_banner_options": [{"enabled": False}],
        "client_route_enforcement_options": [{"enforced": False}],
        "connection_log_options": [{"enabled": False}],
        "description": "",
        "dns_servers": [],
        "endpoint_ip_address_type": "ipv4",
        "security_group_ids": [],
        "self_service_portal": "disabled",
        "session_timeout_hours": 24,
        "split_tunnel": False,
        "tags": {},
        "traffic_ip_address_type": "ipv4",
        "transport_protocol": "udp",
        "vpc_id": "",
    }
    found = Endpoint(provider).read(endpoint_id)
    assert found is not None
    assert {name: found[name] for name in defaults} == defaults
    of = {"client_vpn_endpoint_id": endpoint_id, "target_network_cidr": OFFICE_NETWORK}
    state.create(AuthorizationRule(provider), of | {"authorize_all_groups": True, "access_group_id": ""})


def test_a_group_with_its_rules_inside_is_applied_changed_and_destroyed(provider: Provider, state: State) -> None:
    groups = SecurityGroup(provider)
    everywhere = {"protocol": "-1", "from_port": 0, "to_port": 0, "cidr_blocks": ["0.0.0.0/0"], "description": ""}
    web = {
        "protocol": "tcp",
        "from_port": 443,
        "to_port": 444,
        "cidr_blocks": ["10.20.0.0/24", "10.30.0.0/24"],
        "description": "web",
    }
    group_id = state.create(
        groups,
        {
            "name": "inside",
            "description": "Managed by Terraform",
            "vpc_id": vpc_id("main"),
            "egress": [everywhere],
            "ingress": [web],
        },
    )
    state.update(groups, group_id, egress=[web], ingress=[], tags={"team": "network"})
    state.update(groups, group_id, egress=[], ingress=[everywhere, web], tags={})


def test_what_is_gone_already_is_deleted_once_more(site: ManagedSite, provider: Provider) -> None:
    """Somebody has deleted it elsewhere: reading finds nothing, and deleting is no error."""
    state = State()
    endpoint_id = state.create(Endpoint(provider), minimal(site))
    of = {"client_vpn_endpoint_id": endpoint_id}
    association = state.create(Association(provider), of | {"subnet_id": OFFICE_ID})
    rule = state.create(AuthorizationRule(provider), of | {"target_network_cidr": OFFICE_NETWORK})
    through = {"destination_cidr_block": f"{OFFICE_HOST}/32", "target_vpc_subnet_id": OFFICE_ID}
    route = state.create(Route(provider), of | through)
    group = state.create(SecurityGroup(provider), {"name": "gone", "vpc_id": vpc_id("main")})
    group_rule = state.create(GroupRule(provider, "Ingress"), {**HTTP, "security_group_id": group})
    state.destroy()
    gone: list[tuple[Resource, str]] = [
        (Endpoint(provider), endpoint_id),
        (Association(provider), association),
        (AuthorizationRule(provider), rule),
        (Route(provider), route),
        (SecurityGroup(provider), group),
        (GroupRule(provider, "Ingress"), group_rule),
    ]
    for resource, resource_id in gone:
        assert resource.read(resource_id) is None
        resource.delete(resource_id)


def test_what_data_sources_look_up_is_there(provider: Provider) -> None:
    main = vpc_id("main")
    assert [one["VpcId"] for one in provider.find("DescribeVpcs", Filters=[by("isDefault", "true")])] == [main]
    subnets = provider.find("DescribeSubnets", Filters=[by("vpc-id", main)])
    assert {one["CidrBlock"] for one in subnets} >= {OFFICE_NETWORK}
    (office,) = provider.find("DescribeSubnets", SubnetIds=[OFFICE_ID], Filters=[by("availabilityZone", "office")])
    assert office["SubnetArn"].endswith(OFFICE_ID)
    tags = provider.find("DescribeTags", Filters=[by("resource-id", OFFICE_ID)])
    assert [(one["Key"], one["Value"]) for one in tags] == [("Name", "office")]
    zones = provider.find("DescribeAvailabilityZones", Filters=[by("state", "available")])
    assert "office" in {one["ZoneName"] for one in zones}
    (region,) = provider.find("DescribeRegions", Filters=[by("opt-in-status", "opt-in-not-required")])
    (attribute,) = provider.find("DescribeAccountAttributes", AttributeNames=["supported-platforms"])
    assert (region["RegionName"], attribute["AttributeValues"]) == ("on-premises-1", [{"AttributeValue": "VPC"}])


def by(name: str, value: str) -> dict[str, Any]:
    return {"Name": name, "Values": [value]}
