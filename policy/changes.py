"""What a new spec changes, as exactly as the gateway can make use of it: sessions that it does not touch do not notice.

One table says what each field touches. A field that is not in it fails a test, so that none is forgotten; a field that
touches nothing but text (a description) is there with an empty set.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from policy.routes import blocks_local_networks, pushed_routes, redirects_gateway

if TYPE_CHECKING:
    from collections.abc import Callable

    from policy.spec import EndpointSpec, GatewaySpec, TargetNetwork

__all__ = ["Aspect", "EndpointChange", "GatewayChange", "compare"]


class Aspect(enum.Enum):
    """A part of a running endpoint that a change may touch."""

    RESTART = "restart"
    """Sockets, device or address pool: the endpoint must be taken down and put up again."""
    ACCESS = "access"
    """Routes or rules: compile the access tables anew and hand them to the plane."""
    HOST = "host"
    """Target networks, security groups, routes, NAT or the guard: update the host's networking."""
    PUSHED = "pushed"
    """What clients were told: ask those who are connected to connect again."""
    CREDENTIALS = "credentials"
    """The server certificate: new handshakes use the new one."""
    TRUST = "trust"
    """Client CA, CRL or groups: look again at who is connected."""
    CONTROL_CHANNEL = "control-channel"
    """Protections, TLS version or key derivation: new handshakes meet the new terms."""
    DATA_CHANNEL = "data-channel"
    """Ciphers and key life: new keys follow them."""
    LIMITS = "limits"
    """How many clients, how long, and what they may cost before they have proved themselves."""


_NOTHING: frozenset[Aspect] = frozenset()
_RESTART = frozenset({Aspect.RESTART})
_PUSHED = frozenset({Aspect.PUSHED})
_LIMITS = frozenset({Aspect.LIMITS})
_CONTROL = frozenset({Aspect.CONTROL_CHANNEL})
_DATA = frozenset({Aspect.DATA_CHANNEL})
_HOST = frozenset({Aspect.HOST})

TOUCHES: dict[str, frozenset[Aspect]] = {
    "name": _NOTHING,
    "description": _NOTHING,
    "public_hostname": _NOTHING,
    "listen": _RESTART,
    "transport_protocol": _RESTART,
    "vpn_port": _RESTART,
    "client_cidr_block": _RESTART,
    "server_certificate": frozenset({Aspect.CREDENTIALS}),
    "authentication": frozenset({Aspect.TRUST}),
    "control_channel": _CONTROL,
    "tls_version_min": _CONTROL,
    "split_tunnel": _PUSHED,
    "dns_servers": _PUSHED,
    "search_domains": _PUSHED,
    "session_timeout_hours": _LIMITS,
    "disconnect_on_session_timeout": _LIMITS,
    "login_banner": _NOTHING,  # whoever connects from now on is shown it
    "client_route_enforcement": _NOTHING,
    "connection_log": _NOTHING,  # the next record goes where the new spec says
    "max_clients": _LIMITS,
    "sessions_per_client": _LIMITS,
    "handshake.timeout_s": _LIMITS,
    "handshake.max_half_open": _RESTART,  # the plane counts streams by it
    "handshake.max_half_open_per_prefix": _RESTART,
    "handshake.max_stateless_replies": _LIMITS,
    "handshake.stateless_reply_window_s": _LIMITS,
    "keepalive": _PUSHED,
    "clients_reachable": _HOST,
    "target_networks": _HOST,
    "routes": frozenset({Aspect.ACCESS, Aspect.HOST}),
    "authorization_rules": frozenset({Aspect.ACCESS}),
    "data_channel.data_ciphers": _DATA,
    "data_channel.auth": _DATA,
    "data_channel.tls_ekm": _DATA,
    "data_channel.renegotiate_after_s": _DATA,
    "data_channel.renegotiate_after_bytes": _RESTART,  # the plane is made with it
    "data_channel.renegotiate_after_packets": _RESTART,
    "data_channel.transition_window_s": _DATA,
    "data_channel.mtu": _RESTART,
    "data_channel.mssfix": _DATA,
    "data_channel.udp_offload": _RESTART,
    "data_channel.tun_offload": _RESTART,
}
"""What each field of an endpoint touches. What is pushed about routes is compared by itself, in `_pushed`."""

_MEANING: dict[str, Callable[[Any], object]] = {
    "routes": lambda routes: frozenset((route.destination, route.target) for route in routes),
    "authorization_rules": lambda rules: frozenset((rule.destination, rule.group) for rule in rules),
    "target_networks": lambda networks: frozenset(map(_target_meaning, networks)),
}
"""Fields in which neither order nor descriptions mean anything."""


@dataclass(frozen=True, slots=True)
class EndpointChange:
    """An endpoint that is there before and after, and what is different about it."""

    old: EndpointSpec
    new: EndpointSpec
    fields: frozenset[str]
    """The changed fields by the names of `TOUCHES`."""
    aspects: frozenset[Aspect]
    """What they touch; empty where nothing that runs has to be told, as with a description."""

    @property
    def needs_restart(self) -> bool:
        """`Aspect.RESTART`; the other aspects then go with it."""
        return Aspect.RESTART in self.aspects

    @property
    def access_changed(self) -> bool:
        """`Aspect.ACCESS`."""
        return Aspect.ACCESS in self.aspects

    @property
    def host_changed(self) -> bool:
        """`Aspect.HOST`."""
        return Aspect.HOST in self.aspects

    @property
    def pushed_changed(self) -> bool:
        """`Aspect.PUSHED`."""
        return Aspect.PUSHED in self.aspects

    @property
    def credentials_changed(self) -> bool:
        """`Aspect.CREDENTIALS`."""
        return Aspect.CREDENTIALS in self.aspects

    @property
    def trust_changed(self) -> bool:
        """`Aspect.TRUST`."""
        return Aspect.TRUST in self.aspects

    @property
    def control_channel_changed(self) -> bool:
        """`Aspect.CONTROL_CHANNEL`."""
        return Aspect.CONTROL_CHANNEL in self.aspects

    @property
    def data_channel_changed(self) -> bool:
        """`Aspect.DATA_CHANNEL`."""
        return Aspect.DATA_CHANNEL in self.aspects

    @property
    def limits_changed(self) -> bool:
        """`Aspect.LIMITS`."""
        return Aspect.LIMITS in self.aspects


@dataclass(frozen=True, slots=True)
class GatewayChange:
    """What has to happen to get from one spec to the next. Remove before adding: a new endpoint may reuse a port."""

    removed: tuple[EndpointSpec, ...] = ()
    added: tuple[EndpointSpec, ...] = ()
    changed: tuple[EndpointChange, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether both specs are the same, but for their endpoints' order."""
        return not (self.removed or self.added or self.changed)


def compare(old: GatewaySpec, new: GatewaySpec) -> GatewayChange:
    """The difference between two specs; endpoints with the same name are the same endpoint."""
    before = {endpoint.name: endpoint for endpoint in old.endpoints}
    after = {endpoint.name: endpoint for endpoint in new.endpoints}
    return GatewayChange(
        removed=tuple(endpoint for name, endpoint in before.items() if name not in after),
        added=tuple(endpoint for name, endpoint in after.items() if name not in before),
        changed=tuple(
            _compare_endpoint(before[name], endpoint)
            for name, endpoint in after.items()
            if name in before and before[name] != endpoint
        ),
    )


def _compare_endpoint(old: EndpointSpec, new: EndpointSpec) -> EndpointChange:
    changed = frozenset(key for key in TOUCHES if _meaning(old, key) != _meaning(new, key))
    aspects = frozenset[Aspect]().union(*(TOUCHES[key] for key in changed))
    return EndpointChange(old, new, changed, aspects | _PUSHED if _pushed(old) != _pushed(new) else aspects)


def _meaning(endpoint: EndpointSpec, key: str) -> object:
    value = attrgetter(key)(endpoint)
    return _MEANING[key](value) if key in _MEANING else value


def _target_meaning(target: TargetNetwork) -> object:
    """A target network with what its groups let pass in the place of the groups."""
    if target.security_groups is None:
        return target
    rules = frozenset(
        (is_egress, rule.protocol, rule.from_port, rule.to_port, rule.destination)
        for group in target.security_groups
        for is_egress, of_group in ((True, group.egress), (False, group.ingress))
        for rule in of_group
    )
    return replace(target, security_groups=()), rules


def _pushed(endpoint: EndpointSpec) -> object:
    """What clients are told of routes: with full tunnel, changing a route tells them nothing."""
    return redirects_gateway(endpoint), blocks_local_networks(endpoint), pushed_routes(endpoint)
