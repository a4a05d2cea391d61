from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

import gateway.actions.associations  # noqa: F401 - registers them, and security groups
from gateway.store.schema import association, endpoint, route
from tests.unit.gateway.actions.harness import NOW, invoke, invoke_for_audit, limited_to, refused
from tests.unit.gateway.actions.racing import outcomes_at_once
from tests.unit.gateway.actions.rows import (
    ENDPOINT_ID,
    FILE_ENDPOINT_ID,
    add_association,
    add_endpoint,
    add_file_endpoint,
    add_network,
    add_route,
    add_security_group,
)

if TYPE_CHECKING:
    from gateway.store import Store


NO_TARGETS: list[tuple[dict[str, str], str]] = [
    ({}, "MissingParameter"),
    ({"SubnetId": ""}, "MissingParameter"),
    ({"SubnetId": "subnet-1", "AvailabilityZone": "a"}, "InvalidParameterCombination"),
    ({"SubnetId": "subnet-1", "AvailabilityZoneId": "a"}, "InvalidParameterCombination"),
    ({"AvailabilityZone": "a", "AvailabilityZoneId": "a"}, "InvalidParameterCombination"),
    ({"AvailabilityZone": "a"}, "UnsupportedOperation"),
    ({"AvailabilityZoneId": "a"}, "UnsupportedOperation"),
    ({"SubnetId": "office"}, "InvalidSubnetID.Malformed"),
    ({"SubnetId": "subnet-1\n"}, "InvalidSubnetID.Malformed"),
    ({"SubnetId": "subnet-2"}, "InvalidSubnetID.NotFound"),
]


def associate(store: Store, subnet_id: str = "subnet-1", **given: Any) -> str:
    return str(associated(store, SubnetId=subnet_id, **given)["AssociationId"])


def associated(store: Store, **given: Any) -> dict[str, Any]:
    return invoke(store, "AssociateClientVpnTargetNetwork", **({"ClientVpnEndpointId": ENDPOINT_ID} | given))


def disassociate(store: Store, association_id: str, **given: Any) -> dict[str, Any]:
    given = {"ClientVpnEndpointId": ENDPOINT_ID, "AssociationId": association_id} | given
    return invoke(store, "DisassociateClientVpnTargetNetwork", **given)


def described(store: Store, **given: Any) -> list[dict[str, Any]]:
    given = {"ClientVpnEndpointId": ENDPOINT_ID} | given
    return list(invoke(store, "DescribeClientVpnTargetNetworks", **given)["ClientVpnTargetNetworks"])


def routes(store: Store) -> set[tuple[str, str, str, str, str]]:
    columns = (route.c.destination_cidr, route.c.subnet_id, route.c.origin, route.c.description, route.c.status_code)
    with store.read() as connection:
        return {tuple(row) for row in connection.execute(select(*columns))}


def set_status(store: Store, association_id: str, code: str, **values: Any) -> None:
    with store.write() as connection:
        chosen = update(association).where(association.c.id == association_id)
        connection.execute(chosen.values(status_code=code, **values))


def test_an_association_begins_with_a_route_to_its_subnet(store: Store) -> None:
    add_endpoint(store)
    add_network(store)
    reply, call = invoke_for_audit(
        store, "AssociateClientVpnTargetNetwork", ClientVpnEndpointId=ENDPOINT_ID, SubnetId="subnet-1"
    )
    assert reply == {"AssociationId": reply["AssociationId"], "Status": {"Code": "associating"}}
    assert reply["AssociationId"].startswith("cvpn-assoc-")
    groups = invoke(store, "DescribeSecurityGroups")["SecurityGroups"]
    assert [group["GroupName"] for group in groups] == ["default"]
    assert described(store) == [
        {
            "AssociationId": reply["AssociationId"],
            "VpcId": "vpc-1",
            "TargetNetworkId": "subnet-1",
            "ClientVpnEndpointId": ENDPOINT_ID,
            "Status": {"Code": "associating"},
            "SecurityGroups": [groups[0]["GroupId"]],
            "AvailabilityZones": ["subnet-1"],
            "AvailabilityZoneIds": ["subnet-1"],
        }
    ]
    assert routes(store) == {("192.168.10.0/24", "subnet-1", "associate", "Default Route", "creating")}
    assert (call.before, call.after, call.affects_gateways) == (None, described(store)[0], True)


def test_the_first_association_decides_about_the_vpc(store: Store) -> None:
    add_endpoint(store)
    add_network(store)
    add_network(store, "subnet-2", cidr="192.168.20.0/24", vpc_id="vpc-2", vpc_name="other")
    associate(store)
    with store.read() as connection:
        assert connection.scalar(select(endpoint.c.vpc_id)) == "vpc-1"
    with refused("InvalidClientVpnSubnetId.NotFound", "vpc-2"):
        associate(store, "subnet-2")


def test_an_endpoint_with_a_vpc_keeps_it(store: Store) -> None:
    add_endpoint(store, vpc_id="vpc-2")
    add_network(store)
    with refused("InvalidClientVpnSubnetId.NotFound", "vpc-2"):
        associate(store)
    assert described(store) == []


def test_a_vpc_can_have_many_networks(store: Store) -> None:
    add_endpoint(store)
    for number in range(3):
        add_network(store, f"subnet-{number}", cidr=f"192.168.{number}.0/24")
        associate(store, f"subnet-{number}", now=NOW + number)
    assert [one["TargetNetworkId"] for one in described(store)] == ["subnet-0", "subnet-1", "subnet-2"]
    assert len(routes(store)) == 3


def test_associations_share_the_default_group_of_their_vpc(store: Store) -> None:
    add_endpoint(store)
    for number in range(2):
        add_network(store, f"subnet-{number}", cidr=f"192.168.{number}.0/24")
        associate(store, f"subnet-{number}")
    groups = [one["SecurityGroups"] for one in described(store)]
    assert len(groups[0]) == 1
    assert groups[0] == groups[1]


def test_an_association_has_the_security_groups_of_its_endpoint_in_their_order(store: Store) -> None:
    for group in ("sg-1", "sg-2"):
        add_security_group(store, group)
    add_endpoint(store, default_security_group_ids=["sg-2", "sg-1"])
    add_network(store)
    associate(store)
    assert described(store)[0]["SecurityGroups"] == ["sg-2", "sg-1"]


def test_a_target_network_is_a_subnet_that_there_is(store: Store) -> None:
    add_endpoint(store)
    add_network(store)
    for given, code in NO_TARGETS:
        with refused(code):
            associated(store, **given)


def test_a_subnet_is_associated_once(store: Store) -> None:
    add_endpoint(store)
    add_network(store)
    first = associate(store)
    for status in ("associating", "associated", "association-failed"):
        set_status(store, first, status)
        with refused("InvalidClientVpnDuplicateAssociationException", first):
            associate(store)


def test_a_zone_has_one_association(store: Store) -> None:
    add_endpoint(store)
    add_network(store, zone="a")
    add_network(store, "subnet-2", cidr="192.168.20.0/24", zone="a")
    first = associate(store)
    with refused("InvalidClientVpnSubnetId.DuplicateAz", first):
        associate(store, "subnet-2")


def test_what_leaves_a_zone_gives_way_to_what_comes(store: Store) -> None:
    add_endpoint(store)
    add_network(store, zone="a")
    add_network(store, "subnet-2", cidr="192.168.20.0/24", zone="a")
    first = associate(store)
    add_route(store, destination_cidr="0.0.0.0/0", association_id=first)
    disassociate(store, first)
    associate(store, "subnet-2", now=NOW + 1)
    assert [one["TargetNetworkId"] for one in described(store)] == ["subnet-2"]
    assert {subnet for _, subnet, *_ in routes(store)} == {"subnet-2"}
    with store.read() as connection:
        ended = connection.execute(select(association).where(association.c.id == first)).one()
    assert (ended.status_code, ended.ended_at) == ("disassociated", NOW + 1)


def test_a_network_that_comes_back_has_the_groups_of_the_endpoint(store: Store) -> None:
    add_endpoint(store)
    add_network(store)
    add_security_group(store, "sg-1")
    first = associate(store)
    disassociate(store, first)
    with store.write() as connection:
        connection.execute(update(endpoint).values(default_security_group_ids=["sg-1"]))
    assert associate(store) == first
    assert described(store)[0]["SecurityGroups"] == ["sg-1"]


@pytest.mark.parametrize("cidr", ["10.20.0.0/22", "10.20.1.0/24", "10.0.0.0/8"])
def test_a_subnet_keeps_out_of_the_client_range(store: Store, cidr: str) -> None:
    add_endpoint(store)
    add_network(store, cidr=cidr)
    with refused("InvalidClientVpnSubnetId.OverlappingCidr", cidr):
        associate(store)


def test_networks_of_files_endpoints_are_theirs(store: Store) -> None:
    add_endpoint(store)
    add_file_endpoint(store)
    add_network(store, file_endpoint_id=FILE_ENDPOINT_ID)
    with refused("UnsupportedOperation", "[[network]]"):
        associate(store)
    with refused("InvalidSubnetID.NotFound"):
        associate(store, caller=limited_to(ENDPOINT_ID))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("AssociateClientVpnTargetNetwork", {"SubnetId": "subnet-1"}),
        ("DisassociateClientVpnTargetNetwork", {"AssociationId": "cvpn-assoc-1"}),
    ],
)
def test_only_endpoints_that_last_and_are_not_a_files_change(store: Store, name: str, given: dict[str, str]) -> None:
    add_endpoint(store, status_code="deleting")
    add_file_endpoint(store)
    with refused("IncorrectState"):
        invoke(store, name, ClientVpnEndpointId=ENDPOINT_ID, **given)
    with refused("UnsupportedOperation", "/etc/portway/config.toml"):
        invoke(store, name, ClientVpnEndpointId=FILE_ENDPOINT_ID, **given)
    with refused("InvalidClientVpnEndpointId.NotFound"):
        invoke(store, name, ClientVpnEndpointId="cvpn-endpoint-2", **given)


def test_an_association_ends_with_all_its_routes_and_no_others(store: Store) -> None:
    add_endpoint(store)
    add_network(store)
    add_network(store, "subnet-2", cidr="192.168.20.0/24")
    first, second = associate(store), associate(store, "subnet-2", now=NOW + 1)
    add_route(store, destination_cidr="0.0.0.0/0", association_id=first)
    add_route(store, destination_cidr="0.0.0.0/0", association_id=second, subnet_id="subnet-2")
    assert disassociate(store, first) == {"AssociationId": first, "Status": {"Code": "disassociating"}}
    assert {(subnet, status) for _, subnet, _, _, status in routes(store)} == {
        ("subnet-1", "deleting"),
        ("subnet-2", "active"),
        ("subnet-2", "creating"),
    }
    assert [one["Status"] for one in described(store)] == [{"Code": "disassociating"}, {"Code": "associating"}]


def test_disassociating_twice_changes_nothing(store: Store) -> None:
    add_endpoint(store)
    add_network(store)
    first = associate(store)
    before = disassociate(store, first)
    reply, call = invoke_for_audit(
        store, "DisassociateClientVpnTargetNetwork", ClientVpnEndpointId=ENDPOINT_ID, AssociationId=first
    )
    assert (reply, call.affects_gateways) == (before, False)
    assert call.before == call.after == described(store)[0]


def test_what_has_ended_is_not_found_and_not_shown(store: Store) -> None:
    add_endpoint(store)
    add_association(store, status_code="disassociated", ended_at=NOW)
    assert described(store) == []
    with refused("InvalidClientVpnAssociationIdNotFound"):
        described(store, AssociationIds=["cvpn-assoc-1"])
    with refused("InvalidClientVpnAssociationIdNotFound"):
        disassociate(store, "cvpn-assoc-1")


def test_associations_of_other_endpoints_are_not_found(store: Store) -> None:
    other = add_endpoint(store, "cvpn-endpoint-2", client_cidr_block="10.30.0.0/22")
    add_endpoint(store)
    add_association(store)
    with refused("InvalidClientVpnAssociationIdNotFound"):
        disassociate(store, "cvpn-assoc-1", ClientVpnEndpointId=other)
    assert described(store, ClientVpnEndpointId=other) == []


def test_a_subnet_that_is_being_disassociated_comes_back_with_its_id_and_its_automatic_route(store: Store) -> None:
    add_endpoint(store)
    add_network(store)
    first = associate(store)
    add_route(store, destination_cidr="0.0.0.0/0", association_id=first)
    disassociate(store, first)
    assert associated(store, SubnetId="subnet-1") == {"AssociationId": first, "Status": {"Code": "associating"}}
    assert {(destination, status) for destination, _, _, _, status in routes(store)} == {
        ("192.168.10.0/24", "creating"),
        ("0.0.0.0/0", "deleting"),
    }


def test_the_automatic_route_of_what_comes_back_is_that_of_the_network_as_it_is_now(store: Store) -> None:
    add_endpoint(store)
    add_network(store, cidr="192.168.11.0/24")
    add_association(store, status_code="disassociating")
    add_route(store, origin="associate", status_code="deleting")
    add_route(store, destination_cidr="192.168.11.0/24", status_code="deleting")
    associate(store)
    assert routes(store) == {("192.168.11.0/24", "subnet-1", "associate", "Default Route", "creating")}


def test_associations_are_found_by_filters(store: Store) -> None:
    add_endpoint(store)
    add_association(store)
    add_association(store, "cvpn-assoc-2", subnet_id="subnet-2", zone="subnet-2")
    for name, value, found in (
        ("association-id", "cvpn-assoc-1", ["cvpn-assoc-1"]),
        ("target-network-id", "subnet-2", ["cvpn-assoc-2"]),
        ("vpc-id", "vpc-1", ["cvpn-assoc-1", "cvpn-assoc-2"]),
        ("vpc-id", "vpc-2", []),
    ):
        filters = [{"Name": name, "Values": [value]}]
        assert [one["AssociationId"] for one in described(store, Filters=filters)] == found, name


def test_associations_are_found_by_their_ids(store: Store) -> None:
    add_endpoint(store)
    add_association(store)
    add_association(store, "cvpn-assoc-2", subnet_id="subnet-2", zone="subnet-2")
    chosen = described(store, AssociationIds=["cvpn-assoc-2"])
    assert [one["AssociationId"] for one in chosen] == ["cvpn-assoc-2"]
    with refused("InvalidClientVpnAssociationIdNotFound", "cvpn-assoc-3"):
        described(store, AssociationIds=["cvpn-assoc-1", "cvpn-assoc-3"])


def test_associations_come_in_pages_from_the_oldest(store: Store) -> None:
    add_endpoint(store)
    for number in range(7):
        names = {"subnet_id": f"subnet-{number}", "zone": f"{number}"}
        add_association(store, f"cvpn-assoc-{number}", created_at=NOW - number, **names)
    parameters = {"ClientVpnEndpointId": ENDPOINT_ID, "MaxResults": 5}
    first = invoke(store, "DescribeClientVpnTargetNetworks", **parameters)
    second = invoke(store, "DescribeClientVpnTargetNetworks", NextToken=first["NextToken"], **parameters)
    pages = first["ClientVpnTargetNetworks"], second["ClientVpnTargetNetworks"]
    assert [[one["AssociationId"][-1] for one in page] for page in pages] == [list("65432"), list("10")]
    assert second["NextToken"] is None


def test_the_message_of_a_failure_is_shown(store: Store) -> None:
    add_endpoint(store)
    add_association(store, status_code="association-failed", status_message="There is no interface eth1.")
    status = {"Code": "association-failed", "Message": "There is no interface eth1."}
    assert described(store)[0]["Status"] == status


def test_of_two_who_associate_a_subnet_at_once_one_does(store: Store) -> None:
    add_endpoint(store)
    add_network(store)
    calls = [("AssociateClientVpnTargetNetwork", {"ClientVpnEndpointId": ENDPOINT_ID, "SubnetId": "subnet-1"})] * 2
    assert outcomes_at_once(store, *calls) == ["InvalidClientVpnDuplicateAssociationException", "ok"]
    assert len(described(store)) == len(routes(store)) == 1


def test_of_two_who_associate_in_a_zone_at_once_one_does(store: Store) -> None:
    add_endpoint(store)
    names = ["subnet-1", "subnet-2"]
    for number, name in enumerate(names):
        add_network(store, name, cidr=f"192.168.{number}.0/24", zone="a")
    calls = [
        ("AssociateClientVpnTargetNetwork", {"ClientVpnEndpointId": ENDPOINT_ID, "SubnetId": name}) for name in names
    ]
    assert outcomes_at_once(store, *calls) == ["InvalidClientVpnSubnetId.DuplicateAz", "ok"]


def test_of_two_vpcs_that_come_first_at_once_one_stays(store: Store) -> None:
    add_endpoint(store)
    names = ["subnet-1", "subnet-2"]
    for number, name in enumerate(names):
        add_network(store, name, cidr=f"192.168.{number}.0/24", vpc_id=f"vpc-{number}")
    calls = [
        ("AssociateClientVpnTargetNetwork", {"ClientVpnEndpointId": ENDPOINT_ID, "SubnetId": name}) for name in names
    ]
    assert outcomes_at_once(store, *calls) == ["InvalidClientVpnSubnetId.NotFound", "ok"]
