from __future__ import annotations

import math
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Network
from operator import attrgetter

import pytest

from policy.problems import Problem, Severity
from policy.spec import (
    CertificateAuthentication,
    ControlChannel,
    ControlChannelProtection,
    DataChannel,
    HandshakeLimits,
    Keepalive,
)
from policy.validate_settings import _BOUNDS, _CHOICES, DATA_CIPHERS, check_settings
from tests.unit.policy.specs import ENDPOINT, OFFICE, endpoint, ip
from tunnel.data_keys import Cipher

TLS_CRYPT = ControlChannelProtection.TLS_CRYPT
KEYED = ControlChannel((TLS_CRYPT,), tls_crypt_key=bytes(256))


def problems(**changes: object) -> list[Problem]:
    return list(check_settings("endpoint[0]", endpoint(**changes)))


def test_the_defaults_have_no_problem() -> None:
    assert problems() == []


ERRORS: list[tuple[dict[str, object], str, str]] = [
    ({"vpn_port": 0}, "vpn_port", "0 is out of range. Use 1 to 65535."),
    ({"vpn_port": 65536}, "vpn_port", "Use 1 to 65535."),
    ({"max_clients": -1}, "max_clients", "-1 is out of range. Use 0 or more."),
    ({"sessions_per_client": -1}, "sessions_per_client", "Use 0 or more."),
    ({"data_channel": DataChannel(mtu=575)}, "data_channel.mtu", "Use 576 to 9000."),
    ({"data_channel": DataChannel(mtu=9001)}, "data_channel.mtu", "Use 576 to 9000."),
    ({"data_channel": DataChannel(mssfix=100)}, "data_channel.mssfix", "Use 0 or 576 to 9000."),
    ({"data_channel": DataChannel(renegotiate_after_s=-1)}, "data_channel.renegotiate_after_s", "Use 0 or more."),
    ({"keepalive": Keepalive(0, 60)}, "keepalive.interval_s", "Use 1 or more."),
    ({"keepalive": Keepalive(10, 19)}, "keepalive.timeout_s", "one lost ping would end the session. Use 20 or more."),
    ({"handshake": HandshakeLimits(timeout_s=0)}, "handshake.timeout_s", "Use 1 or more."),
    ({"login_banner": 1401 * "é"}, "login_banner", "It has 1401 characters. Use at most 1400."),
    ({"session_timeout_hours": 0}, "session_timeout_hours", "Use more than 0 and at most 8760 hours."),
    ({"session_timeout_hours": math.inf}, "session_timeout_hours", "inf is out of range."),
    ({"session_timeout_hours": math.nan}, "session_timeout_hours", "nan is out of range."),
    ({"transport_protocol": ()}, "transport_protocol", "The list is empty"),
    ({"transport_protocol": ("upd",)}, "transport_protocol", '"upd" is unknown. Did you mean "udp"?'),
    ({"transport_protocol": ("udp", "udp")}, "transport_protocol[1]", "udp stands in the list twice."),
    ({"transport_protocol": ("sctp",)}, "transport_protocol", "Use one of: udp, tcp."),
    ({"tls_version_min": "1.1"}, "tls_version_min", '"1.1" is unknown.'),
    (
        {"authentication": CertificateAuthentication(b"ca", groups_from="subject.ou")},
        "authentication.groups_from",
        'Did you mean "subject.OU"?',
    ),
    (
        {"data_channel": DataChannel(("AES-256-GCM", "BF-CBC"))},
        "data_channel.data_ciphers",
        '"BF-CBC" is unknown.',
    ),
    ({"data_channel": DataChannel(auth="MD5")}, "data_channel.auth", '"MD5" is unknown.'),
    ({"control_channel": ControlChannel(())}, "control_channel.accept", "nobody could connect"),
    (
        {"control_channel": ControlChannel((TLS_CRYPT,))},
        "control_channel.tls_crypt_key",
        '"tls-crypt" is accepted, but its key is missing.',
    ),
    (
        {"control_channel": replace(KEYED, accept=(TLS_CRYPT, TLS_CRYPT))},
        "control_channel.accept[1]",
        "tls-crypt stands in the list twice.",
    ),
    ({"control_channel": replace(KEYED, tls_auth_direction=2)}, "control_channel.tls_auth_direction", "no direction"),
    ({"control_channel": replace(KEYED, tls_auth_digest="MD5")}, "control_channel.tls_auth_digest", "unknown"),
    (
        {"control_channel": replace(KEYED, tls_crypt_v2_max_age_days=0)},
        "control_channel.tls_crypt_v2_max_age_days",
        "Use 1 or more.",
    ),
    ({"dns_servers": tuple(IPv4Address(i) for i in range(5))}, "dns_servers", "clients on Windows take at most 4"),
    ({"dns_servers": (ip("10.20.0.53"),) * 2}, "dns_servers[1]", "10.20.0.53 stands in the list twice."),
    ({"search_domains": tuple(f"d{i}.example" for i in range(11))}, "search_domains", "take at most 10"),
    ({"name": ""}, "name", "'' is no name."),
    ({"name": "a b"}, "name", "'a b' is no name."),
    ({"name": "x" * 64}, "name", "up to 63 letters"),
    ({"target_networks": (replace(OFFICE, name="-"),)}, "target_network[0].name", "'-' is no name."),
]


@pytest.mark.parametrize(("changes", "key", "text"), ERRORS, ids=[f"{key}-{i}" for i, (_, key, _) in enumerate(ERRORS)])
def test_a_wrong_value_is_one_error_at_its_key(changes: dict[str, object], key: str, text: str) -> None:
    found = [problem for problem in problems(**changes) if problem.severity is Severity.ERROR]
    assert [problem.key_path for problem in found] == [f"endpoint[0].{key}"]
    assert text in found[0].text


@pytest.mark.parametrize(
    "protection", [one for one in ControlChannelProtection if one is not ControlChannelProtection.NONE]
)
def test_each_protection_needs_its_key(protection: ControlChannelProtection) -> None:
    (problem,) = problems(control_channel=ControlChannel((protection,)))
    assert f'"{protection.value}" is accepted' in problem.text
    key = problem.key_path.removeprefix("endpoint[0].control_channel.")
    assert problems(control_channel=replace(ControlChannel((protection,)), **{key: bytes(256)})) == []  # type: ignore[arg-type]


def test_no_protection_needs_no_key() -> None:
    assert problems(control_channel=ControlChannel((ControlChannelProtection.NONE,))) == []


@pytest.mark.parametrize("domain", ["corp.example", "corp", "_sites.corp.example", "a-b.example", "example."])
def test_domain_names_are_taken(domain: str) -> None:
    assert problems(search_domains=(domain,)) == []


@pytest.mark.parametrize(
    "domain", ["", ".", "a..b", "-a.example", "a-.example", "a b", 'a"b', "a,b", "a\n", "x" * 64, "a." * 127 + "aa"]
)
def test_what_is_no_domain_name_is_refused(domain: str) -> None:
    (problem,) = problems(search_domains=(domain,))
    assert problem.key_path == "endpoint[0].search_domains[0]"


def test_only_cbc_ciphers_draw_a_warning() -> None:
    (problem,) = problems(data_channel=DataChannel(("AES-256-CBC",)))
    assert (problem.severity, problem.key_path) == (Severity.WARNING, "endpoint[0].data_channel.data_ciphers")


def test_more_clients_than_addresses_draw_a_warning() -> None:
    pool = IPv4Network("10.80.0.0/29")
    assert problems(client_cidr_block=pool, max_clients=5) == []
    (problem,) = problems(client_cidr_block=pool, max_clients=6)
    assert problem.severity is Severity.WARNING
    assert "has addresses for 5 clients only" in problem.text


def test_a_limit_that_another_one_undercuts_draws_a_warning() -> None:
    (problem,) = problems(handshake=HandshakeLimits(max_half_open=10, max_half_open_per_prefix=11))
    assert problem.severity is Severity.WARNING


def test_enforced_routes_without_effect_draw_a_warning() -> None:
    (problem,) = problems(client_route_enforcement=True)
    assert (problem.severity, problem.key_path) == (Severity.WARNING, "endpoint[0].client_route_enforcement")
    assert problems(client_route_enforcement=True, split_tunnel=False) == []


def test_zero_turns_the_clamp_off() -> None:
    assert problems(data_channel=DataChannel(mssfix=0)) == []


def test_the_known_ciphers_are_the_data_channels() -> None:
    assert set(DATA_CIPHERS) == {cipher.value for cipher in Cipher}


def test_every_whole_number_of_a_spec_is_bounded_or_checked_otherwise() -> None:
    keys = [field.name for field in fields(ENDPOINT)]
    for section in ("control_channel", "data_channel", "keepalive", "handshake"):
        keys += [f"{section}.{field.name}" for field in fields(attrgetter(section)(ENDPOINT))]
    numbers = {key for key in keys if type(attrgetter(key)(ENDPOINT)) is int}
    elsewhere = {"control_channel.tls_auth_direction", "keepalive.timeout_s", "session_timeout_hours"}
    assert numbers - elsewhere <= {bounds.key for bounds in _BOUNDS}
    assert {choice.key for choice in _CHOICES}.isdisjoint(numbers)
