"""Finds and removes what daemons that died have left on the host.

A TUN device vanishes with the process that holds it; rules, the routes of its table, the nftables table and
the forwarding that was turned on for it do not. All of them name the device by its ifindex, so whatever names only
devices that are gone is garbage, whichever daemon left it; what names a living one belongs to a running daemon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.hostnet.firewall import TableRecord, build_removal, read_records
from gateway.hostnet.records import Device, Link, Route, Rule, still_there
from gateway.hostnet.routing import TABLE_BASE, remove_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.hostnet.netlink import Netlink
    from gateway.hostnet.nft import Nft

__all__ = ["dead_claims", "dead_routing_tables", "remove_leftovers"]


def remove_leftovers(netlink: Netlink, nft: Nft, own_table: str) -> None:
    """Put the host back to where it would be, had all dead daemons stopped in good order.

    `own_table` is garbage in any case: its daemon is the one that starts now.
    """
    links = netlink.links()
    for table in dead_routing_tables(netlink.rules(), netlink.routes(), links):
        remove_table(netlink, table)
    records = read_records(nft)
    dead = {name for name, record in records.items() if name == own_table or not _is_alive(record, links)}
    for device in dead_claims(records, dead, links):
        netlink.set_forwarding(device, on=False)
    for name in sorted(dead):
        nft.apply(build_removal(name))


def dead_routing_tables(rules: Iterable[Rule], routes: Iterable[Route], links: Mapping[str, Link]) -> list[int]:
    """The numbers of our routing tables whose TUN device is gone."""
    alive = {TABLE_BASE + link.ifindex for link in links.values() if link.is_tun}
    used = {rule.table for rule in rules} | {route.table for route in routes}
    return sorted(used - alive)


def dead_claims(records: Mapping[str, TableRecord], dead: Iterable[str], links: Mapping[str, Link]) -> set[Device]:
    """The interfaces that dead daemons turned on, that still exist, and that no living daemon needs."""
    dead = set(dead)
    claimed = {claim.device for name in dead for claim in records[name].claims}
    needed = {claim.device for name, record in records.items() if name not in dead for claim in record.claims}
    return {device for device in claimed - needed if still_there(device, links)}


def _is_alive(record: TableRecord, links: Mapping[str, Link]) -> bool:
    return any(still_there(device, links) and links[device.name].is_tun for device in record.tunnels)
