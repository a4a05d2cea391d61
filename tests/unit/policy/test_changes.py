from __future__ import annotations

from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from policy.changes import TOUCHES, Aspect, EndpointChange, compare
from policy.spec import (
    LOCAL,
    CertificateAuthentication,
    ControlChannel,
    DataChannel,
    EndpointSpec,
    HandshakeLimits,
    Keepalive,
    ServerCertificate,
)
from tests.unit.policy.specs import ENDPOINT, OFFICE, allow, endpoint, filtered, gateway, group, ip, route, rule


def change(new: EndpointSpec, old: EndpointSpec = ENDPOINT) -> EndpointChange:
    (only,) = compare(gateway(old), gateway(new)).changed
    return only


def test_every_field_of_a_spec_has_its_place_in_the_table() -> None:
    parts = {"data_channel": DataChannel, "handshake": HandshakeLimits}
    whole = {field.name for field in fields(EndpointSpec)} - set(parts)
    inner = {f"{name}.{field.name}" for name, part in parts.items() for field in fields(part)}
    assert set(TOUCHES) == whole | inner


def test_equal_specs_have_no_difference() -> None:
    assert compare(gateway(), gateway()).is_empty


def test_endpoints_are_matched_by_name_not_by_place() -> None:
    second = endpoint(name="second", vpn_port=1194)
    assert compare(gateway(ENDPOINT, second), gateway(second, ENDPOINT)).is_empty


def test_a_renamed_endpoint_is_another_one() -> None:
    renamed = endpoint(name="other")
    difference = compare(gateway(), gateway(renamed))
    assert (difference.removed, difference.added, difference.changed) == ((ENDPOINT,), (renamed,), ())
    assert not difference.is_empty


def test_a_change_carries_the_endpoint_before_and_after() -> None:
    new = endpoint(vpn_port=1194)
    assert (change(new).old, change(new).new) == (ENDPOINT, new)


CHANGES: list[tuple[dict[str, object], set[Aspect]]] = [
    ({"listen": IPv4Address("192.0.2.1")}, {Aspect.RESTART}),
    ({"vpn_port": 1194}, {Aspect.RESTART}),
    ({"transport_protocol": ("udp",)}, {Aspect.RESTART}),
    ({"client_cidr_block": IPv4Network("10.90.0.0/22")}, {Aspect.RESTART}),
    ({"data_channel": DataChannel(mtu=1400)}, {Aspect.RESTART}),
    ({"data_channel": DataChannel(mssfix=1300)}, {Aspect.DATA_CHANNEL}),
    ({"data_channel": DataChannel(renegotiate_after_bytes=1 << 30)}, {Aspect.RESTART}),
    ({"data_channel": DataChannel(renegotiate_after_packets=1 << 20)}, {Aspect.RESTART}),
    ({"data_channel": DataChannel(renegotiate_after_s=60, mtu=1400)}, {Aspect.DATA_CHANNEL, Aspect.RESTART}),
    ({"server_certificate": ServerCertificate(b"new", b"key")}, {Aspect.CREDENTIALS}),
    ({"authentication": CertificateAuthentication(b"ca", b"crl", "subject.OU")}, {Aspect.TRUST}),
    ({"authentication": CertificateAuthentication(b"ca")}, {Aspect.TRUST}),
    ({"control_channel": ControlChannel(())}, {Aspect.CONTROL_CHANNEL}),
    ({"tls_version_min": "1.3"}, {Aspect.CONTROL_CHANNEL}),
    ({"split_tunnel": False}, {Aspect.PUSHED}),
    ({"dns_servers": (ip("10.20.0.53"),)}, {Aspect.PUSHED}),
    ({"search_domains": ("corp.example",)}, {Aspect.PUSHED}),
    ({"keepalive": Keepalive(5, 30)}, {Aspect.PUSHED}),
    ({"session_timeout_hours": 8}, {Aspect.LIMITS}),
    ({"disconnect_on_session_timeout": False}, {Aspect.LIMITS}),
    ({"login_banner": "For work only."}, set()),
    ({"connection_log": None}, set()),
    ({"client_route_enforcement": True}, set()),
    ({"max_clients": 7}, {Aspect.LIMITS}),
    ({"sessions_per_client": 0}, {Aspect.LIMITS}),
    ({"handshake": HandshakeLimits(timeout_s=30)}, {Aspect.LIMITS}),
    ({"handshake": HandshakeLimits(max_stateless_replies=30)}, {Aspect.LIMITS}),
    ({"handshake": HandshakeLimits(stateless_reply_window_s=30)}, {Aspect.LIMITS}),
    ({"handshake": HandshakeLimits(max_half_open=30)}, {Aspect.RESTART}),
    ({"handshake": HandshakeLimits(max_half_open_per_prefix=30)}, {Aspect.RESTART}),
    ({"clients_reachable": True}, {Aspect.HOST}),
    ({"target_networks": (replace(OFFICE, nat=False),)}, {Aspect.HOST}),
    ({"target_networks": (replace(OFFICE, security_groups=()),)}, {Aspect.HOST}),
    ({"routes": (*ENDPOINT.routes, route("10.21.0.0/24"))}, {Aspect.ACCESS, Aspect.HOST, Aspect.PUSHED}),
    ({"routes": (route("10.20.0.0/24", LOCAL),)}, {Aspect.ACCESS, Aspect.HOST}),
    ({"authorization_rules": (rule("10.20.0.0/24"),)}, {Aspect.ACCESS}),
    ({"description": "new", "public_hostname": "vpn.example"}, set()),
]


@pytest.mark.parametrize(("fields_changed", "aspects"), CHANGES, ids=lambda value: "-".join(sorted(map(str, value))))
def test_a_change_touches_exactly_this(fields_changed: dict[str, object], aspects: set[Aspect]) -> None:
    assert change(endpoint(**fields_changed)).aspects == aspects


def test_with_full_tunnel_a_new_route_tells_clients_nothing() -> None:
    old = endpoint(split_tunnel=False)
    new = replace(old, routes=(*old.routes, route("10.21.0.0/24")))
    assert change(new, old).aspects == {Aspect.ACCESS, Aspect.HOST}


def test_with_full_tunnel_clients_are_told_of_the_enforcement_of_routes() -> None:
    old = endpoint(split_tunnel=False)
    assert change(replace(old, client_route_enforcement=True), old).aspects == {Aspect.PUSHED}


def test_order_and_descriptions_touch_nothing() -> None:
    old = endpoint(
        routes=(route("10.20.0.0/24"), route("10.21.0.0/24")),
        authorization_rules=(rule("10.20.0.0/24", "sales"), rule("10.20.0.0/24", "ops")),
    )
    new = replace(
        old,
        routes=tuple(replace(each, description="new") for each in reversed(old.routes)),
        authorization_rules=tuple(replace(each, description="new") for each in reversed(old.authorization_rules)),
    )
    assert not change(new, old).fields
    assert not change(new, old).aspects


def test_rules_of_security_groups_touch_the_host_and_their_names_nothing() -> None:
    old = filtered(group(allow("tcp", (443, 443)), name="web"), group(allow("udp"), name="dns"))
    renamed = filtered(group(replace(allow("udp"), id="sgr-new"), name="names"), group(allow("tcp", (443, 443))))
    assert not change(renamed, old).aspects
    other_port = filtered(group(allow("tcp", (444, 444))), group(allow("udp")))
    turned = filtered(group(allow("tcp", (443, 443)), ingress=(allow("udp"),)))
    assert change(other_port, old).aspects == change(turned, old).aspects == {Aspect.HOST}


def test_the_changed_fields_are_named() -> None:
    new = endpoint(vpn_port=1194, data_channel=DataChannel(mtu=1400), description="new")
    assert change(new).fields == {"vpn_port", "data_channel.mtu", "description"}


@pytest.mark.parametrize("aspect", Aspect)
def test_each_aspect_has_its_property(aspect: Aspect) -> None:
    names = {each: f"{each.name.lower()}_changed" for each in Aspect} | {Aspect.RESTART: "needs_restart"}
    touched = EndpointChange(ENDPOINT, ENDPOINT, frozenset(), frozenset({aspect}))
    assert [each for each, name in names.items() if getattr(touched, name)] == [aspect]
