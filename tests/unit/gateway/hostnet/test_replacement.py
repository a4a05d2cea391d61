"""Rules are replaced under traffic: what is forbidden before and after never passes, and what is allowed always does.

Counted by a table of the test's own, before and behind the gateway's, so that nothing depends on who receives what.
"""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.unit.gateway.hostnet.hosts import CLIENT, OFFICE, TARGET, Hosts, udp_packet
from tests.unit.gateway.hostnet.test_filtered_packets import Office, allow, filtered

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

pytestmark = pytest.mark.netns

REPLACEMENTS = 200
ENOUGH = 10 * REPLACEMENTS
"""Packets of each flow, so that every replacement meets some."""
PAUSE_S = 0.0001
FORBIDDEN, ALLOWED, ANSWERS, UNASKED = 5000, 5001, 5002, 5003
FLOWS = {
    "forbidden by the groups": f"udp dport {FORBIDDEN}",
    "allowed by the groups": f"udp dport {ALLOWED}",
    "answers": f"udp sport {ANSWERS}",
    "to a client that is not reachable": f"udp sport {UNASKED}",
}
NEVER = ("forbidden by the groups", "to a client that is not reachable")
ALWAYS = ("allowed by the groups", "answers")
CHAINS = {"before": "hook prerouting priority -400", "behind": "hook postrouting priority 400"}


def observe(hosts: Hosts) -> None:
    """Count each flow before and behind everything that filters."""
    for chain, hook in CHAINS.items():
        hosts.gateway.run("nft", "add", "table", "inet", "observer")
        hosts.gateway.run("nft", f"add chain inet observer {chain} {{ type filter {hook}; }}")
        for flow, match in FLOWS.items():
            hosts.gateway.run("nft", f'add rule inet observer {chain} {match} counter comment "{flow}"')


def counted(hosts: Hosts, chain: str) -> dict[str, int]:
    listed = json.loads(hosts.gateway.run("nft", "-j", "list", "chain", "inet", "observer", chain).stdout)
    rules = [item["rule"] for item in listed["nftables"] if "rule" in item]
    return {rule["comment"]: rule["expr"][-1]["counter"]["packets"] for rule in rules}


@contextmanager
def traffic(hosts: Hosts, office: Office) -> Iterator[None]:
    """Clients and the target send all flows, until the end of the block."""
    answering, unasked = (hosts.udp(hosts.target, TARGET, port) for port in (ANSWERS, UNASKED))
    office.send(udp_packet(TARGET, b"question", port=ANSWERS))
    asker = answering.recvfrom(100)[1]
    over = threading.Event()

    def send(sender: socket.socket, to: tuple[str, int]) -> None:
        while not over.wait(PAUSE_S):
            sender.sendto(b"from the target", to)

    threads = [
        threading.Thread(target=send, args=(answering, asker)),
        threading.Thread(target=send, args=(unasked, (CLIENT, 4001))),
    ]
    packets = tuple(bytes(udp_packet(TARGET, b"from a client", port=port)) for port in (FORBIDDEN, ALLOWED))
    office.daemon.call("begin_flood", office.tun, packets)
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        office.daemon.call("end_flood")


def test_what_every_ruleset_forbids_never_passes_and_what_every_one_allows_always_does(hosts: Hosts) -> None:
    always = (allow("udp", ALLOWED, ANSWERS),)
    office = Office(hosts, filtered(*always))
    observe(hosts)
    before = hosts.nft_generation()
    with traffic(hosts, office):
        for number in range(REPLACEMENTS):
            office.change(filtered(*always, allow("udp", 6000 + number)))
    assert hosts.nft_generation() == before + 3 * REPLACEMENTS, "prepare, change, clean up"
    came, passed = counted(hosts, "before"), counted(hosts, "behind")
    assert min(came.values()) > ENOUGH
    assert {flow: passed[flow] for flow in NEVER} == dict.fromkeys(NEVER, 0)
    assert {flow: passed[flow] for flow in ALWAYS} == {flow: came[flow] for flow in ALWAYS}


def test_a_table_that_is_away_for_a_moment_would_be_noticed(hosts: Hosts) -> None:
    """What the test above concludes from seeing nothing."""
    office = Office(hosts, filtered(allow("udp", ALLOWED, ANSWERS)))
    observe(hosts)
    with traffic(hosts, office):
        hosts.gateway.run("nft", "delete", "table", "inet", "portway_a")
        office.daemon.call("reconcile")
    passed = counted(hosts, "behind")
    assert all(passed[flow] for flow in NEVER)


def table(hosts: Hosts) -> str:
    """The gateway's own, without what it has counted and without the numbers that the kernel gives."""
    return re.sub(r"packets \d+ bytes \d+", "", hosts.gateway.run("nft", "list", "table", "inet", "portway_a").stdout)


def test_what_a_change_has_made_its_undoing_removes(hosts: Hosts) -> None:
    one, other = filtered(allow("udp", 5000), allow("tcp")), filtered(allow("udp", 5001), ingress=(allow("icmp"),))
    office = Office(hosts, one)
    first = table(hosts)
    for change in (other, OFFICE, other, OFFICE):
        office.change(change)
        assert table(hosts) != first
        office.change(one)
        assert sorted(table(hosts).splitlines()) == sorted(first.splitlines())
