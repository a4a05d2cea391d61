from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from gateway.managed.group_references import Carrier, group_members

CLIENTS = IPv4Network("10.80.0.0/22")
HOST = (IPv4Address("192.168.10.1"), IPv4Address("192.168.10.2"))


def test_members_of_a_routed_network_are_the_clients() -> None:
    assert group_members([Carrier(("sg-1",), CLIENTS, nat=False, interface_addresses=HOST)]) == {"sg-1": (CLIENTS,)}


def test_behind_nat_the_host_stands_for_its_clients() -> None:
    members = group_members([Carrier(("sg-1",), CLIENTS, nat=True, interface_addresses=HOST)])
    assert members == {"sg-1": tuple(IPv4Network(address) for address in HOST)}


def test_a_group_has_the_members_of_all_that_carry_it_and_each_of_a_network_s_groups_has_them() -> None:
    neighbours = IPv4Network("10.80.4.0/22")
    members = group_members(
        [
            Carrier(("sg-1", "sg-2"), CLIENTS, nat=False),
            Carrier(("sg-1",), neighbours, nat=False),
            Carrier(("sg-1",), CLIENTS, nat=False),
        ]
    )
    assert members == {"sg-1": (IPv4Network("10.80.0.0/21"),), "sg-2": (CLIENTS,)}


def test_a_group_without_an_address_has_no_members() -> None:
    assert group_members([]) == {}
    assert group_members([Carrier(("sg-1",), CLIENTS, nat=True)]) == {}
