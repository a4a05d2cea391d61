"""Security groups on real packets: clients at the TUN device, targets behind veth pairs, the kernel between them.

That a packet does *not* arrive is shown by order: after it, one is sent that must arrive, and that one comes first.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Packet, Raw

from policy import SecurityGroup, SecurityGroupRule, TargetNetwork
from tests.unit.gateway.hostnet.hosts import (
    BEHIND_TARGET,
    CLIENT,
    LAB,
    OFFICE,
    SECOND,
    TARGET,
    Daemon,
    Hosts,
    make_spec,
    udp_packet,
)

if TYPE_CHECKING:
    from gateway.hostnet import Device

pytestmark = pytest.mark.netns

EVERYWHERE = "0.0.0.0/0"


def allow(protocol: str, first: int = -1, last: int | None = None, other: str = EVERYWHERE) -> SecurityGroupRule:
    return SecurityGroupRule("sgr-1", protocol, first, first if last is None else last, IPv4Network(other))


def filtered(
    *egress: SecurityGroupRule, of: TargetNetwork = OFFICE, ingress: tuple[SecurityGroupRule, ...] = ()
) -> TargetNetwork:
    return replace(of, security_groups=(SecurityGroup("sg-1", "web", egress, ingress),))


def echo_request(destination: str, identifier: int = 7) -> Packet:
    return IP(src=CLIENT, dst=destination) / ICMP(type=8, id=identifier)


class Office:
    """A daemon with an endpoint, and services on the target that tell which datagram came."""

    def __init__(self, hosts: Hosts, *targets: TargetNetwork, **settings: object) -> None:
        self.hosts = hosts
        self.daemon: Daemon = hosts.started()
        self.tun: Device = self.daemon.add(make_spec("main", *targets, **settings))  # type: ignore[arg-type]
        self._settings = settings

    def change(self, *targets: TargetNetwork, **settings: object) -> None:
        """Bring the endpoint to other groups, live."""
        spec = make_spec("main", *targets, **(self._settings | settings))  # type: ignore[arg-type]
        assert self.daemon.call("update", "main", spec) == ()

    def send(self, *packets: Packet) -> None:
        for packet in packets:
            self.daemon.send(self.tun, packet)

    def receive(self) -> Packet:
        return self.daemon.receive(self.tun)

    def dropped(self) -> int:
        return self.hosts.drops("security group")


@pytest.mark.parametrize("nat", [False, True])
def test_what_a_rule_allows_passes_and_is_answered_and_nothing_else_passes(hosts: Hosts, nat: bool) -> None:
    office = Office(hosts, filtered(allow("udp", 5000, 5001), of=replace(OFFICE, nat=nat)))
    allowed, refused = hosts.udp(hosts.target, TARGET, 5001), hosts.udp(hosts.target, TARGET, 5002)
    office.send(udp_packet(TARGET, b"no", port=5002), udp_packet(TARGET, b"yes", port=5001))
    question, sender = allowed.recvfrom(100)
    assert question == b"yes"
    allowed.sendto(b"answer", sender)
    assert office.receive()[Raw].load == b"answer"
    refused.setblocking(False)
    with pytest.raises(BlockingIOError):
        refused.recv(100)
    assert office.dropped() == 1


def test_no_group_and_a_group_without_rules_let_nothing_pass(hosts: Hosts) -> None:
    office = Office(hosts, replace(OFFICE, security_groups=()))
    office.send(udp_packet(TARGET, b"to no group"), echo_request(TARGET))
    office.change(filtered())
    office.send(udp_packet(TARGET, b"to an empty group"), echo_request("10.80.0.1"))
    assert office.receive().src == "10.80.0.1"
    assert office.dropped() == 1


def test_several_groups_add_up(hosts: Hosts) -> None:
    groups = tuple(
        SecurityGroup(f"sg-{port}", f"port {port}", (allow("udp", port, other=other),))
        for port, other in ((5000, EVERYWHERE), (5000, f"{TARGET}/32"), (5001, "10.20.0.0/16"), (5002, "10.20.0.0/24"))
    )
    office = Office(hosts, replace(OFFICE, security_groups=groups))
    services = {port: hosts.udp(hosts.target, TARGET, port) for port in (5000, 5001, 5002)}
    office.send(*(udp_packet(TARGET, b"question", port=port) for port in services))
    assert [service.recv(100) for service in services.values()] == [b"question"] * 3
    assert office.dropped() == 0


def test_icmp_goes_by_type_and_code(hosts: Hosts) -> None:
    office = Office(hosts, filtered(allow("icmp", 8, -1), allow("icmp", 13, 0)))
    office.send(echo_request(TARGET))
    assert office.receive()[ICMP].type == 0
    timestamp = IP(src=CLIENT, dst=TARGET) / ICMP(type=13, id=9)
    office.send(timestamp)
    assert office.receive()[ICMP].type == 14
    office.change(filtered(allow("icmp", 13, 0)))
    office.send(echo_request(TARGET), timestamp)
    assert office.receive()[ICMP].type == 14
    assert office.dropped() == 1


def test_a_protocol_without_ports_goes_by_its_number(hosts: Hosts) -> None:
    office = Office(hosts, filtered(allow("47"), allow("udp", 5000)))
    service = hosts.udp(hosts.target, TARGET, 5000)
    for protocol in (47, 50):
        office.send(IP(src=CLIENT, dst=TARGET, proto=protocol) / Raw(bytes(20)))
    office.send(udp_packet(TARGET, b"after"))
    assert service.recv(100) == b"after"
    assert office.dropped() == 1


def test_errors_about_allowed_connections_reach_the_client(hosts: Hosts) -> None:
    office = Office(hosts, filtered(allow("udp", 9), allow("tcp", 9), of=replace(OFFICE, nat=True)))
    office.send(udp_packet(TARGET, b"to a closed port", port=9))
    error = office.receive()
    assert (error[ICMP].type, error[ICMP].code) == (3, 3)
    office.send(IP(src=CLIENT, dst=TARGET) / TCP(sport=4000, dport=9, flags="S"))
    assert "R" in office.receive()[TCP].flags
    assert office.dropped() == 0


def test_a_stream_from_the_target_ends_with_the_rule_that_allowed_its_connection(hosts: Hosts) -> None:
    office = Office(hosts, filtered(allow("udp", 5000), allow("udp", 5001)))
    stream, other = hosts.udp(hosts.target, TARGET, 5000), hosts.udp(hosts.target, TARGET, 5001)
    office.send(udp_packet(TARGET, b"start", port=5000), udp_packet(TARGET, b"start", port=5001))
    listener, bystander = stream.recvfrom(100)[1], other.recvfrom(100)[1]
    stream.sendto(b"one", listener)
    assert office.receive()[Raw].load == b"one"
    office.change(filtered(allow("udp", 5001)))
    stream.sendto(b"two", listener)
    other.sendto(b"still here", bystander)
    assert office.receive()[Raw].load == b"still here"
    assert office.dropped() == 1
    office.change(filtered(allow("udp", 5000)))
    stream.sendto(b"three", listener)
    assert office.receive()[Raw].load == b"three"


def test_connections_from_the_target_pass_by_ingress_rules_and_are_answered(hosts: Hosts) -> None:
    ingress = (allow("udp", 4000, other=f"{TARGET}/32"),)
    office = Office(hosts, filtered(ingress=ingress), clients_reachable=True)
    caller, refused = hosts.udp(hosts.target, TARGET, 5000), hosts.udp(hosts.target, "10.20.0.53", 5001)
    refused.sendto(b"to a port that no rule names", (CLIENT, 4001))
    caller.sendto(b"call", (CLIENT, 4000))
    call = office.receive()
    assert (call[Raw].load, call[UDP].dport) == (b"call", 4000)
    office.send(udp_packet(TARGET, b"answer", port=5000))
    assert caller.recv(100) == b"answer"
    assert office.dropped() == 1


def test_the_answers_to_a_target_end_with_the_ingress_rule(hosts: Hosts) -> None:
    ingress = (allow("udp", 4000),)
    office = Office(hosts, filtered(allow("icmp"), ingress=ingress), clients_reachable=True)
    caller = hosts.udp(hosts.target, TARGET, 5000)
    caller.sendto(b"call", (CLIENT, 4000))
    office.receive()
    office.change(filtered(allow("icmp")))
    office.send(udp_packet(TARGET, b"answer", port=5000), echo_request(TARGET))
    assert ICMP in office.receive()
    assert office.dropped() == 1


def test_a_source_that_no_route_leads_to_counts_for_the_network_of_its_interface(hosts: Hosts) -> None:
    office = Office(hosts, filtered(ingress=(allow("udp", 4000, other="10.20.0.0/24"),)), clients_reachable=True)
    hosts.udp(hosts.target, BEHIND_TARGET, 5000).sendto(b"from behind", (CLIENT, 4000))
    hosts.udp(hosts.target, TARGET, 5000).sendto(b"from the target", (CLIENT, 4000))
    assert office.receive()[Raw].load == b"from the target"
    assert office.dropped() == 1


def test_the_most_specific_route_decides_whose_groups_count(hosts: Hosts) -> None:
    behind = replace(LAB, name="behind", interface="eth1", cidr=OFFICE.cidr, gateway=IPv4Address(TARGET))
    routes = [("10.20.0.0/24", "office"), ("10.30.0.0/16", "office"), (f"{BEHIND_TARGET}/32", "behind")]
    office = Office(
        hosts,
        filtered(allow("udp", 5000), of=replace(OFFICE, gateway=IPv4Address(TARGET))),
        filtered(allow("udp", 5001), of=behind),
        routes=routes,
    )
    on_link, further = hosts.udp(hosts.target, TARGET, 5000), hosts.udp(hosts.target, BEHIND_TARGET, 5001)
    office.send(
        udp_packet(TARGET, b"no", port=5001),
        udp_packet(BEHIND_TARGET, b"no", port=5000),
        udp_packet(TARGET, b"yes", port=5000),
        udp_packet(BEHIND_TARGET, b"yes", port=5001),
    )
    assert on_link.recv(100) == b"yes"
    assert further.recv(100) == b"yes"
    assert office.dropped() == 2


def test_another_target_network_is_not_filtered_along(hosts: Hosts) -> None:
    office = Office(hosts, filtered(), LAB)
    service = hosts.udp(hosts.second, SECOND, 5000)
    office.send(udp_packet(TARGET, b"no"), udp_packet(SECOND, b"yes"))
    assert service.recv(100) == b"yes"
    assert office.dropped() == 1


def test_each_endpoint_has_its_own_groups(hosts: Hosts) -> None:
    daemon = hosts.started()
    one = daemon.add(make_spec("one", filtered(allow("udp", 5000))))
    other = daemon.add(make_spec("other", filtered(allow("udp", 5001)), clients="10.90.0.0/22"))
    first, second = hosts.udp(hosts.target, TARGET, 5000), hosts.udp(hosts.target, TARGET, 5001)
    daemon.send(other, udp_packet(TARGET, b"no", port=5000, source="10.90.0.5"))
    daemon.send(one, udp_packet(TARGET, b"no", port=5001))
    daemon.send(one, udp_packet(TARGET, b"yes", port=5000))
    daemon.send(other, udp_packet(TARGET, b"yes", port=5001, source="10.90.0.5"))
    assert (first.recv(100), second.recv(100)) == (b"yes", b"yes")
    assert hosts.drops("security group") == 2


def test_the_hosts_own_address_on_a_target_network_is_part_of_that_network(hosts: Hosts) -> None:
    office = Office(hosts, filtered(allow("udp", 5000)))
    service = hosts.udp(hosts.gateway, "10.20.0.1", 5000)
    office.send(echo_request("10.20.0.1"), udp_packet("10.20.0.1", b"question", port=5000))
    assert service.recvfrom(100) == (b"question", (CLIENT, 4000))
    assert office.dropped() == 1


def test_the_default_route_takes_neither_clients_nor_the_gateways_own_address_along(hosts: Hosts) -> None:
    target = filtered(allow("udp", 5000), of=replace(OFFICE, gateway=IPv4Address(TARGET)))
    office = Office(hosts, target, routes=[(EVERYWHERE, "office")])
    office.send(echo_request("192.0.2.1"), echo_request("10.80.0.1"))
    assert office.receive().src == "10.80.0.1"
    assert office.dropped() == 1


def test_what_is_not_tracked_does_not_pass(hosts: Hosts) -> None:
    office = Office(hosts, filtered(allow("udp", 5000)), LAB)
    hosts.gateway.run("nft", "add table inet other")
    hosts.gateway.run("nft", "add chain inet other raw { type filter hook prerouting priority raw; }")
    hosts.gateway.run("nft", "add rule inet other raw udp dport 5000 notrack")
    service = hosts.udp(hosts.second, SECOND, 5000)
    office.send(udp_packet(TARGET, b"no", port=5000), udp_packet(SECOND, b"yes", port=5000))
    assert service.recv(100) == b"yes"
    assert office.dropped() == 1


def test_a_thousand_rules_are_taken_and_mean_what_they_say(hosts: Hosts) -> None:
    rules = [allow("udp", 2 * port, other=f"10.20.{port % 100}.0/24") for port in range(1000, 2000)]
    rules += [allow("tcp", port, port + 7, other=f"10.{port % 200}.0.0/16") for port in range(1000)]
    office = Office(hosts, filtered(*rules))
    service = hosts.udp(hosts.target, TARGET, 3000)
    office.send(*(udp_packet(TARGET, b"no", port=port) for port in (2998, 2999, 3001, 3002, 2200 + 2)))
    office.send(udp_packet(TARGET, b"yes", port=3000))
    assert service.recv(100) == b"yes"
    assert office.dropped() == 5


def test_a_table_that_nobody_has_touched_is_not_written_again(hosts: Hosts) -> None:
    rules = [allow("udp", port, port + 1, f"10.{port}.0.0/{16 + port % 9}") for port in range(200)]
    office = Office(hosts, filtered(*rules, allow("47"), ingress=tuple(rules)))
    handles = hosts.gateway.run("nft", "-a", "list", "ruleset").stdout
    for _ in range(3):
        office.daemon.call("reconcile")
    assert hosts.gateway.run("nft", "-a", "list", "ruleset").stdout == handles


def test_what_stays_allowed_does_not_notice_that_rules_are_replaced(hosts: Hosts) -> None:
    staying = allow("udp", 5000)
    office = Office(hosts, filtered(staying))
    stream = hosts.udp(hosts.target, TARGET, 5000)
    office.send(udp_packet(TARGET, b"start", port=5000))
    listener = stream.recvfrom(100)[1]
    ended = threading.Event()

    def flow() -> None:
        while not ended.is_set():
            stream.sendto(bytes(100), listener)

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        for port in range(20):
            office.change(filtered(staying, allow("tcp", port)))
            assert office.dropped() == 0
    finally:
        ended.set()
        thread.join()
