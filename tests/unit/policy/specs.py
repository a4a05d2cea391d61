"""Specs for the policy tests: a small valid one to vary, short ways to write routes and rules, and random ones."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from hypothesis import strategies as st

from policy.spec import (
    LOCAL,
    AuthorizationRule,
    CertificateAuthentication,
    ControlChannel,
    ControlChannelProtection,
    EndpointSpec,
    GatewaySpec,
    Route,
    SecurityGroup,
    SecurityGroupRule,
    ServerCertificate,
    TargetNetwork,
)

GROUPS = ("engineering", "sales", "ops")

OFFICE = TargetNetwork("office", "eth1", IPv4Network("10.20.0.0/24"), gateway=IPv4Address("10.20.0.1"))

ENDPOINT = EndpointSpec(
    name="main",
    client_cidr_block=IPv4Network("10.80.0.0/22"),
    server_certificate=ServerCertificate(b"certificate", b"key"),
    authentication=CertificateAuthentication(b"ca", groups_from="subject.OU"),
    control_channel=ControlChannel((ControlChannelProtection.TLS_CRYPT,), tls_crypt_key=bytes(256)),
    target_networks=(OFFICE,),
    routes=(Route(IPv4Network("10.20.0.0/24"), "office"),),
    authorization_rules=(AuthorizationRule(IPv4Network("10.20.0.0/24"), "engineering"),),
)


def endpoint(**changes: object) -> EndpointSpec:
    """The small valid endpoint with some fields changed."""
    return replace(ENDPOINT, **changes)  # type: ignore[arg-type]  # the dataclass checks the names


def gateway(*endpoints: EndpointSpec) -> GatewaySpec:
    return GatewaySpec(endpoints or (ENDPOINT,))


def route(destination: str, target: str = "office") -> Route:
    return Route(IPv4Network(destination), target)


def rule(destination: str, group: str | None = None) -> AuthorizationRule:
    return AuthorizationRule(IPv4Network(destination), group)


def allow(protocol: str = "-1", ports: tuple[int, int] = (-1, -1), other: str = "0.0.0.0/0") -> SecurityGroupRule:
    """A rule of a security group; its id says what it is about."""
    return SecurityGroupRule(f"sgr-{protocol}-{ports[0]}", protocol, *ports, IPv4Network(other))


def group(*egress: SecurityGroupRule, name: str = "web", ingress: tuple[SecurityGroupRule, ...] = ()) -> SecurityGroup:
    return SecurityGroup(f"sg-{name}", name, egress, ingress)


def filtered(*groups: SecurityGroup) -> EndpointSpec:
    """The small valid endpoint, open to everyone, with these security groups before its target network."""
    return endpoint(
        target_networks=(replace(OFFICE, security_groups=groups),),
        authorization_rules=(AuthorizationRule(IPv4Network("10.20.0.0/24"), None),),
    )


def ip(address: str) -> IPv4Address:
    return IPv4Address(address)


_ANCHORS = tuple(
    int(IPv4Address(address))
    for address in ("0.0.0.0", "10.20.0.0", "10.80.0.0", "10.80.3.255", "127.0.0.1", "172.16.0.200", "224.0.0.1")
)

addresses = st.one_of(
    st.integers(0, 2**32 - 1),
    st.sampled_from(_ANCHORS),
    st.builds(lambda anchor, offset: (anchor + offset) % 2**32, st.sampled_from(_ANCHORS), st.integers(-300, 300)),
).map(IPv4Address)
"""Any address, but often one beside the client range or another place where something changes."""

networks = st.builds(lambda address, bits: IPv4Network((address, bits), strict=False), addresses, st.integers(0, 32))
"""Prefixes that often nest, because their addresses cluster."""

group_sets = st.frozensets(st.sampled_from(GROUPS))

endpoints = st.builds(
    lambda client_range, routes, rules: endpoint(
        client_cidr_block=client_range, routes=tuple(routes), authorization_rules=tuple(rules)
    ),
    st.sampled_from(
        [IPv4Network("10.80.0.0/22"), IPv4Network("10.80.0.0/29"), IPv4Network("10.80.0.0/12", strict=False)]
    ),
    st.lists(st.builds(Route, networks, st.sampled_from(["office", "dmz", LOCAL])), max_size=12),
    st.lists(st.builds(AuthorizationRule, networks, st.sampled_from([None, *GROUPS])), max_size=16),
)
"""Endpoints with random routes and rules; not all of them would validate, and the engine must not care."""


def edges(spec: EndpointSpec) -> list[IPv4Address]:
    """The first and last address of everything in a spec and their neighbours: where a verdict may change."""
    routes = [route.destination for route in spec.routes]
    rules = [rule.destination for rule in spec.authorization_rules]
    prefixes = [spec.client_cidr_block, *routes, *rules]
    ends = {int(p.network_address) for p in prefixes} | {int(p.broadcast_address) for p in prefixes}
    return [IPv4Address(near % 2**32) for end in ends for near in (end - 1, end, end + 1)]
