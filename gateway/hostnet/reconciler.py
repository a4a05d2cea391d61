"""Brings the host to what the endpoints want: reads everything, compares, and touches only what differs.

Blocking and single-threaded; `network` runs it in a worker thread. It remembers which interfaces it has turned
forwarding on for, and nothing else: whatever another hand does to the host, the next round puts right.

One round, in an order that never forwards a packet that should not be:

    1. plan every endpoint with the interfaces that exist now
    2. write the nftables table, claims included: the guards stand before anything is turned on. Where nftables refuses,
       the devices whose former rules may let pass what is not to pass are set down, and nothing else is done
    3. per endpoint: the TUN device, its rules, its routes; then forwarding for the device
    4. forwarding for the interfaces of target networks, on and off
    5. write the table again, without the claims that were given back
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.hostnet.errors import HostNetworkError, KernelRefusedError, NftablesError
from gateway.hostnet.firewall import Claim, Firewall, Ruleset, TunnelRules, table_name
from gateway.hostnet.forwarding import ForwardingPlan, plan_forwarding
from gateway.hostnet.leftovers import remove_leftovers
from gateway.hostnet.netlink import Netlink
from gateway.hostnet.records import Device, ForwardingState, HostProblem, Link, still_there
from gateway.hostnet.routing import TABLE_BASE, RoutingPlan, apply_plan, plan_routing, remove_table
from gateway.hostnet.tunnel_device import build_alias, set_up_device, take_down_device

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.hostnet.nft import Nft
    from policy import EndpointSpec

__all__ = ["Endpoint", "Reconciler"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint and the TUN device that its data plane has made."""

    device: Device
    spec: EndpointSpec


@dataclass(frozen=True, slots=True)
class _Planned:
    endpoint: Endpoint
    routing: RoutingPlan


class Reconciler:
    """The blocking core of `HostNetwork`; every method raises `HostNetworkError`."""

    def __init__(self, nft: Nft, daemon_id: str) -> None:
        self._nft = nft
        self._daemon_id = daemon_id
        self._firewall = Firewall(nft, daemon_id)
        self._claims: frozenset[Claim] = frozenset()
        self._host_owned: frozenset[Device] = frozenset()
        self._closed: frozenset[str] = frozenset()

    @property
    def closed(self) -> frozenset[str]:
        """The endpoints whose devices are down, since the rules that they need cannot be written."""
        return self._closed

    @property
    def drops(self) -> Counter[str]:
        """What the firewall has dropped, by cause."""
        return self._firewall.drops

    def remove_leftovers(self) -> None:
        """Clean up after daemons that died, this one's former run included."""
        with Netlink() as netlink:
            remove_leftovers(netlink, self._nft, table_name(self._daemon_id))

    def reconcile(self, endpoints: Sequence[Endpoint]) -> tuple[HostProblem, ...]:
        """One round. What concerns single endpoints or target networks is returned; the others work."""
        with Netlink() as netlink:
            links = netlink.links()
            state = netlink.forwarding()
            planned = [_Planned(one, plan_routing(one.device, one.spec, links)) for one in endpoints]
            forwarding = self._plan_forwarding(planned, links, state)
            tunnels = tuple(_build_tunnel_rules(one) for one in planned)
            try:
                self._firewall.apply(Ruleset(tunnels, forwarding.claims))
            except NftablesError as error:
                self._close_exposed(netlink, planned, tunnels, links)
                raise NftablesError(f"{error}{self._consequence()}") from error
            self._closed = frozenset()
            self._claims = forwarding.claims
            problems = [problem for one in planned for problem in self._apply_endpoint(netlink, one, links, state)]
            problems += _turn_on(netlink, forwarding, planned)
            self._give_back(netlink, forwarding, tunnels)
        return tuple(problems)

    def remove(self, devices: Iterable[Device]) -> None:
        """Stop the devices and remove their tables; to be followed by `reconcile` without their endpoints."""
        with Netlink() as netlink:
            links = netlink.links()
            for device in devices:
                take_down_device(netlink, device, links)
                remove_table(netlink, TABLE_BASE + device.ifindex)

    def _close_exposed(
        self, netlink: Netlink, planned: Sequence[_Planned], tunnels: Sequence[TunnelRules], links: dict[str, Link]
    ) -> None:
        """Stop what former rules may let pass: a device that is down needs none. The next round tries again."""
        names = {one.endpoint.spec.name for one in planned}
        pairs = zip(planned, tunnels, strict=True)
        exposed = [one.endpoint for one, rules in pairs if self._firewall.may_allow_more(rules)]
        self._closed = (self._closed & names) | {endpoint.spec.name for endpoint in exposed}
        for endpoint in exposed:
            if still_there(endpoint.device, links):
                with contextlib.suppress(KernelRefusedError):  # one that has just gone must not leave others open
                    netlink.set_link(endpoint.device, state="down")

    def _consequence(self) -> str:
        names = ", ".join(sorted(self._closed))
        return f". Until it does, nothing passes through the tunnel of {names}" if names else ""

    def _plan_forwarding(
        self, planned: Sequence[_Planned], links: dict[str, Link], state: ForwardingState
    ) -> ForwardingPlan:
        return plan_forwarding(
            wanted=frozenset(links[name].device for one in planned for name in one.routing.interfaces),
            claims=frozenset(claim for claim in self._claims if still_there(claim.device, links)),
            host_owned=frozenset(device for device in self._host_owned if still_there(device, links)),
            state=state,
            others=self._firewall.claimed_by_others,
        )

    def _apply_endpoint(
        self, netlink: Netlink, planned: _Planned, links: dict[str, Link], state: ForwardingState
    ) -> Iterator[HostProblem]:
        device, spec = planned.endpoint.device, planned.endpoint.spec
        yield from planned.routing.problems
        try:
            set_up_device(netlink, device, spec, build_alias(self._daemon_id, spec.name), links)
            yield from apply_plan(netlink, planned.routing, spec.name)
            if device.ifindex not in state.interfaces:
                netlink.set_forwarding(device, on=True)
        except HostNetworkError as error:
            yield HostProblem(spec.name, None, str(error))

    def _give_back(self, netlink: Netlink, forwarding: ForwardingPlan, tunnels: tuple[TunnelRules, ...]) -> None:
        for device in forwarding.turn_off:
            netlink.set_forwarding(device, on=False)
        if forwarding.claims_after != forwarding.claims:
            self._firewall.apply(Ruleset(tunnels, forwarding.claims_after))
        self._claims, self._host_owned = forwarding.claims_after, forwarding.host_owned
        if forwarding.left_on:
            for device in forwarding.left_on - self._firewall.claimed_by_others():
                netlink.set_forwarding(device, on=False)


def _turn_on(netlink: Netlink, forwarding: ForwardingPlan, planned: Sequence[_Planned]) -> Iterator[HostProblem]:
    for device in sorted(forwarding.turn_on, key=lambda device: device.name):
        try:
            netlink.set_forwarding(device, on=True)
        except KernelRefusedError as error:
            for one in planned:
                for target in one.endpoint.spec.target_networks:
                    if target.interface == device.name:
                        yield HostProblem(one.endpoint.spec.name, target.name, str(error))


def _build_tunnel_rules(planned: _Planned) -> TunnelRules:
    spec = planned.endpoint.spec
    return TunnelRules(
        device=planned.endpoint.device,
        client_range=spec.client_cidr_block,
        clients_reachable=spec.clients_reachable,
        routes=tuple(wanted for wanted, _ in planned.routing.target_routes),
    )
