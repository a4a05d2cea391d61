from __future__ import annotations

from ipaddress import IPv4Network

from gateway.hostnet.firewall import Claim, TableRecord
from gateway.hostnet.leftovers import dead_claims, dead_routing_tables
from gateway.hostnet.records import Device, Link, Route, Rule
from gateway.hostnet.routing import TABLE_BASE

ETH1, ETH2 = Device("eth1", 3), Device("eth2", 4)
LINKS = {
    "eth1": Link("eth1", 3, is_tun=False, is_up=True, mtu=1500, queue_length=1000),
    "eth2": Link("eth2", 4, is_tun=False, is_up=True, mtu=1500, queue_length=1000),
    "portway0": Link("portway0", 7, is_tun=True, is_up=True, mtu=1500, queue_length=1000),
}
ANYWHERE = IPv4Network("0.0.0.0/0")


def test_a_table_is_dead_once_no_tun_device_has_its_number() -> None:
    rules = [Rule(90, TABLE_BASE + 7), Rule(90, TABLE_BASE + 6)]
    routes = [Route(TABLE_BASE + 7, ANYWHERE, 3), Route(TABLE_BASE + 5, ANYWHERE, 3)]
    assert dead_routing_tables(rules, routes, LINKS) == [TABLE_BASE + 5, TABLE_BASE + 6]


def test_an_ifindex_that_another_kind_of_interface_has_keeps_no_table_alive() -> None:
    assert dead_routing_tables([Rule(90, TABLE_BASE + 3)], [], LINKS) == [TABLE_BASE + 3]


def record(*devices: Device) -> TableRecord:
    return TableRecord(frozenset(), frozenset(Claim(device, host_forwarded=False) for device in devices))


def test_interfaces_of_the_dead_are_freed_unless_a_living_daemon_needs_them() -> None:
    records = {"portway_a": record(ETH1, ETH2), "portway_b": record(ETH2)}
    assert dead_claims(records, {"portway_a"}, LINKS) == {ETH1}
    assert dead_claims(records, {"portway_a", "portway_b"}, LINKS) == {ETH1, ETH2}


def test_a_later_interface_of_the_same_name_is_left_alone() -> None:
    assert dead_claims({"portway_a": record(Device("eth1", 2))}, {"portway_a"}, LINKS) == set()
