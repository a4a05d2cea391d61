"""What the clients of an endpoint reach, and who they are, as boto3 sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from gateway.actions import Role
from tests.unit.gateway.actions.rows import (
    ENDPOINT_ID,
    add_association,
    add_connection,
    add_endpoint,
    add_network,
    add_route,
    add_rule,
)

if TYPE_CHECKING:
    from tests.unit.gateway.api.site import ApiSite


@pytest.fixture
def ec2(site: ApiSite) -> Any:
    """boto3's client, where there are an endpoint and a network that leads on."""
    add_endpoint(site.store)
    add_network(site.store, next_hop="192.168.10.1")
    return site.client()


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def test_a_target_network_is_found_associated_used_and_let_go(ec2: Any) -> None:
    (zone,) = ec2.describe_availability_zones()["AvailabilityZones"]
    (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    in_vpc = {"Name": "vpc-id", "Values": [vpc["VpcId"]]}
    (subnet,) = ec2.describe_subnets(Filters=[in_vpc])["Subnets"]
    assert subnet["AvailabilityZone"] == zone["ZoneName"]

    made = ec2.associate_client_vpn_target_network(ClientVpnEndpointId=ENDPOINT_ID, SubnetId=subnet["SubnetId"])
    through = {"ClientVpnEndpointId": ENDPOINT_ID, "TargetVpcSubnetId": subnet["SubnetId"]}
    ec2.create_client_vpn_route(DestinationCidrBlock="0.0.0.0/0", **through)
    routes = ec2.describe_client_vpn_routes(ClientVpnEndpointId=ENDPOINT_ID)["Routes"]
    assert [(one["DestinationCidr"], one["Origin"]) for one in routes] == [
        ("0.0.0.0/0", "add-route"),
        (vpc["CidrBlock"], "associate"),
    ]
    assert ec2.delete_client_vpn_route(DestinationCidrBlock="0.0.0.0/0", **through)["Status"]["Code"] == "deleting"

    ec2.disassociate_client_vpn_target_network(ClientVpnEndpointId=ENDPOINT_ID, AssociationId=made["AssociationId"])
    (shown,) = ec2.describe_client_vpn_target_networks(
        ClientVpnEndpointId=ENDPOINT_ID, AssociationIds=[made["AssociationId"]]
    )["ClientVpnTargetNetworks"]
    assert (shown["TargetNetworkId"], shown["VpcId"]) == (subnet["SubnetId"], vpc["VpcId"])
    assert shown["Status"]["Code"] == "disassociating"


def test_groups_and_everyone_are_authorised_and_revoked(ec2: Any) -> None:
    for whom in ({"AccessGroupId": "S-1-5-21-1, <staff> & co"}, {"AuthorizeAllGroups": True}):
        made = ec2.authorize_client_vpn_ingress(
            ClientVpnEndpointId=ENDPOINT_ID, TargetNetworkCidr="10.1.2.3/16", Description="x < y", **whom
        )
        assert made["Status"]["Code"] == "authorizing"
    ec2.revoke_client_vpn_ingress(
        ClientVpnEndpointId=ENDPOINT_ID, TargetNetworkCidr="10.1.0.0/16", RevokeAllGroups=True
    )
    rules = ec2.describe_client_vpn_authorization_rules(ClientVpnEndpointId=ENDPOINT_ID)["AuthorizationRules"]
    assert [(one["AccessAll"], one["GroupId"], one["Status"]["Code"]) for one in rules] == [
        (True, "", "revoking"),
        (False, "S-1-5-21-1, <staff> & co", "authorizing"),
    ]
    assert {(one["Description"], one["DestinationCidr"]) for one in rules} == {("x < y", "10.1.0.0/16")}


def test_connections_are_shown_and_terminated(site: ApiSite, ec2: Any) -> None:
    for number in range(2):
        add_connection(site.store, f"cvpn-connection-{number}", username="joe")
    ended = ec2.terminate_client_vpn_connections(ClientVpnEndpointId=ENDPOINT_ID, Username="joe")
    changes = [(one["PreviousStatus"]["Code"], one["CurrentStatus"]["Code"]) for one in ended["ConnectionStatuses"]]
    assert (ended["Username"], changes) == ("joe", [("active", "terminating")] * 2)
    shown = ec2.describe_client_vpn_connections(ClientVpnEndpointId=ENDPOINT_ID)["Connections"]
    assert [one["Status"]["Code"] for one in shown] == ["terminating"] * 2


def test_botos_paginators_see_everything_once(site: ApiSite, ec2: Any) -> None:
    for number in range(12):
        name = f"{number:02}"
        add_association(site.store, f"cvpn-assoc-{name}", subnet_id=f"subnet-x{name}", zone=name)
        add_route(site.store, destination_cidr=f"10.1.{number}.0/24", association_id=f"cvpn-assoc-{name}")
        add_rule(site.store, group_id=name)
        add_connection(site.store, f"cvpn-connection-{name}")
    for operation, expression in (
        ("describe_client_vpn_target_networks", "ClientVpnTargetNetworks[].AssociationId"),
        ("describe_client_vpn_routes", "Routes[].DestinationCidr"),
        ("describe_client_vpn_authorization_rules", "AuthorizationRules[].GroupId"),
        ("describe_client_vpn_connections", "Connections[].ConnectionId"),
    ):
        pages = ec2.get_paginator(operation).paginate(ClientVpnEndpointId=ENDPOINT_ID, PaginationConfig={"PageSize": 5})
        seen = list(pages.search(expression))
        assert len(seen) == len(set(seen)) == 12


def test_with_its_token_an_association_is_made_once(ec2: Any) -> None:
    wanted = {"ClientVpnEndpointId": ENDPOINT_ID, "SubnetId": "subnet-1"}
    first, second = (ec2.associate_client_vpn_target_network(**wanted, ClientToken="once") for _ in range(2))
    assert first["AssociationId"] == second["AssociationId"]
    with pytest.raises(ClientError) as caught:
        ec2.associate_client_vpn_target_network(**wanted, ClientToken="again")
    assert code_of(caught) == "InvalidClientVpnDuplicateAssociationException"


def test_a_key_for_another_endpoint_learns_nothing_of_this_one(site: ApiSite, ec2: Any) -> None:
    stranger = site.client("ec2", Role.ADMIN, "cvpn-endpoint-0000000000000000a")
    ec2.associate_client_vpn_target_network(ClientVpnEndpointId=ENDPOINT_ID, SubnetId="subnet-1")
    with pytest.raises(ClientError) as caught:
        stranger.describe_client_vpn_target_networks(ClientVpnEndpointId=ENDPOINT_ID)
    with pytest.raises(ClientError) as of_nothing:
        stranger.describe_client_vpn_target_networks(ClientVpnEndpointId="cvpn-endpoint-0000000000000000b")
    assert code_of(caught) == code_of(of_nothing)
