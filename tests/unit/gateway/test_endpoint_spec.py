from __future__ import annotations

from dataclasses import fields
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any

from gateway.actions import EndpointDefaults
from gateway.config.endpoint_options import EndpointOptions
from gateway.endpoint_spec import endpoint_spec
from policy import ControlChannelProtection, EndpointSpec, LogDestination

COLUMNS: dict[str, Any] = {
    "description": "for everyone",
    "client_cidr_block": "10.90.0.0/22",
    "transport_protocols": ["tcp"],
    "vpn_port": 1194,
    "dns_servers": ["192.0.2.53"],
    "split_tunnel": False,
    "session_timeout_hours": 8.5,
    "disconnect_on_session_timeout": False,
    "client_login_banner_options": {"Enabled": True, "BannerText": "For work only."},
    "client_route_enforcement_options": {"Enforced": True},
    "connection_log_options": {"Enabled": True, "CloudwatchLogGroup": "vpn", "CloudwatchLogStream": "staff"},
}
FIELDS = {
    "transport_protocols": "transport_protocol",
    "client_login_banner_options": "login_banner",
    "client_route_enforcement_options": "client_route_enforcement",
    "connection_log_options": "connection_log",
}
"""What columns with other names become."""
OPTIONS: dict[str, Any] = {
    "listen": "192.0.2.1",
    "public_hostname": "vpn.example.com",
    "control_channel": "none",
    "groups_from": "subject.O",
    "sessions_per_client": 3,
    "search_domains": ["example.com"],
    "tls_version_min": "1.3",
    "max_clients": 7,
    "clients_reachable": True,
    "data_channel": {"mtu": 1400},
    "keepalive": {"interval_s": 5},
    "handshake": {"timeout_s": 30},
}
ELSEWHERE = {"server_certificate", "target_networks", "routes", "authorization_rules"}
"""What an endpoint has in other tables."""


def made(options: dict[str, Any], defaults: EndpointDefaults = EndpointDefaults()) -> EndpointSpec:  # noqa: B008
    return endpoint_spec("staff", COLUMNS, EndpointOptions.model_validate(options), defaults)


def test_all_columns_are_in_it() -> None:
    spec = made({})
    assert (spec.name, spec.description) == ("staff", "for everyone")
    assert (spec.client_cidr_block, spec.dns_servers) == (
        IPv4Network("10.90.0.0/22"),
        (IPv4Address("192.0.2.53"),),
    )
    assert (spec.transport_protocol, spec.vpn_port) == (("tcp",), 1194)
    assert (spec.split_tunnel, spec.session_timeout_hours) == (False, 8.5)
    assert (spec.disconnect_on_session_timeout, spec.client_route_enforcement) == (False, True)
    assert spec.login_banner == "For work only."
    assert spec.connection_log == LogDestination("vpn", "staff")


def test_what_is_not_enabled_is_not_in_it() -> None:
    off = {
        "client_login_banner_options": {"Enabled": False},
        "client_route_enforcement_options": {"Enforced": False},
        "connection_log_options": {"Enabled": False},
    }
    spec = endpoint_spec("staff", COLUMNS | off, EndpointOptions(), EndpointDefaults())
    assert (spec.login_banner, spec.client_route_enforcement, spec.connection_log) == ("", False, None)


def test_columns_and_options_decide_about_everything_that_is_not_in_other_tables() -> None:
    usual, other = made({}), made(OPTIONS)
    assert OPTIONS.keys() == EndpointOptions.model_fields.keys()
    same = {each.name for each in fields(EndpointSpec) if getattr(usual, each.name) == getattr(other, each.name)}
    assert same == {"name", *(FIELDS.get(column, column) for column in COLUMNS)} | ELSEWHERE


def test_what_options_leave_open_is_what_the_defaults_say() -> None:
    defaults = EndpointDefaults(
        ip_address("192.0.2.9"), "gate.example.com", "none", groups_from="subject.OU", sessions_per_client=2
    )
    spec = made({}, defaults)
    assert (spec.listen, spec.public_hostname) == (defaults.listen, defaults.public_hostname)
    assert spec.control_channel.accept == (ControlChannelProtection.NONE,)
    assert (spec.authentication.groups_from, spec.sessions_per_client) == ("subject.OU", 2)
    own = made(OPTIONS, defaults)
    assert (str(own.listen), own.public_hostname) == (OPTIONS["listen"], OPTIONS["public_hostname"])
    assert (own.authentication.groups_from, own.sessions_per_client) == ("subject.O", 3)


def test_no_limit_of_one_s_own_is_not_the_default_s() -> None:
    assert made({"sessions_per_client": 0}, EndpointDefaults(sessions_per_client=2)).sessions_per_client == 0


def test_settings_that_this_release_cannot_read_count_as_none() -> None:
    assert EndpointOptions.readable({"tls_version_min": "1.1"}) == EndpointOptions()
    assert EndpointOptions.readable({"max_clients": 3}).max_clients == 3
