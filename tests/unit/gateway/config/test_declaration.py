from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.config.declaration import Declaration, Endpoint, SecurityGroup, parse_declaration, settings_of
from gateway.config.endpoint_options import EndpointOptions
from gateway.config.models import Endpoint as FileEndpoint
from gateway.config.problems import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def endpoint(**changes: Any) -> dict[str, Any]:
    return {
        "name": "staff",
        "client_cidr_block": "10.90.0.0/22",
        "server_certificate": "server",
        "authentication": {"client_root_certificate_chain": "ca"},
    } | changes


def parse(**changes: Any) -> Endpoint:
    (parsed,) = parse_declaration({"endpoint": [endpoint(**changes)]}).endpoint
    return parsed


def sentences(raw: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_declaration(raw)
    return [str(problem) for problem in caught.value.problems]


def test_keys_are_those_of_config_toml() -> None:
    """Whoever moves an endpoint from there has to change as little as can be."""
    missing = FileEndpoint.model_fields.keys() - Endpoint.model_fields.keys()
    assert missing == set()


@pytest.mark.parametrize(
    "key",
    [
        key
        for key, field in FileEndpoint.model_fields.items()
        if not field.is_required() and Endpoint.model_fields[key].default is not None
    ],
)
def test_defaults_are_those_of_config_toml(key: str) -> None:
    ours, theirs = Endpoint.model_fields[key].default, FileEndpoint.model_fields[key].default
    if key == "connection_log":  # has what AWS has beside
        assert ours.model_dump().items() >= theirs.model_dump().items()
    else:
        assert ours == theirs


def test_every_setting_of_portway_s_own_can_be_declared() -> None:
    declared = endpoint(
        listen="192.0.2.1",
        public_hostname="vpn.example.com",
        control_channel={"accept": ["none"]},
        sessions_per_client=2,
        search_domains=["corp.example.com"],
        tls_version_min="1.3",
        max_clients=9,
        clients_reachable=True,
        data_channel={"mtu": 1400},
        keepalive={"interval_s": 5},
        handshake={"timeout_s": 30},
        authentication={"client_root_certificate_chain": "ca", "groups_from": "subject.O"},
    )
    settings = settings_of(parse_declaration({"endpoint": [declared]}).endpoint[0])
    assert settings.keys() == EndpointOptions.model_fields.keys()
    assert EndpointOptions.model_validate(settings).model_dump(mode="json", exclude_defaults=True) == settings


def test_what_is_at_its_default_is_no_setting() -> None:
    assert settings_of(parse(max_clients=0, data_channel={"mtu": 1500})) == {}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"server_certificate": PEM}, "no server_key"),
        ({"server_key": PEM}, "no server_certificate in a file"),
        ({"control_channel": {"accept": ["tls-crypt-v2"]}}, "control_channel.accept[0]"),
        ({"control_channel": {"accept": ["tls-crypt", "none"]}}, "control_channel.accept"),
        ({"target_network": [{"name": "a"}, {"name": "a"}]}, "Has the network a twice"),
        ({"route": [{"destination": "10.0.0.0/8", "target": "a"}] * 2}, "route"),
        ({"authorization_rule": [{"destination": "10.0.0.0/8", "all": True}] * 2}, "authorization_rule"),
        ({"authorization_rule": [{"destination": "10.0.0.0/8"}]}, "Must say who"),
        ({"authorization_rule": [{"destination": "10.0.0.1/8", "all": True}]}, '"10.0.0.0/8"'),
        ({"security_groups": []}, "security_groups"),
        ({"name": " staff"}, "without blanks around it"),
        ({"vpn_prot": 443}, 'did you mean "vpn_port"?'),
        ({"keepalive": {"interval_s": 5, "timeout_s": 6}}, "keepalive.timeout_s"),
    ],
)
def test_what_is_wrong_is_said_by_its_key(changes: dict[str, Any], sentence: str) -> None:
    (found,) = sentences({"endpoint": [endpoint(**changes)]})
    assert found.startswith("endpoint[0]")
    assert sentence in found


def test_everything_that_is_wrong_is_said_at_once() -> None:
    assert len(sentences({"endpoint": [endpoint(vpn_port=0), {"name": "other"}], "gatway": {}})) == 5


@pytest.mark.parametrize("kind", ["endpoint", "security_group"])
def test_nothing_is_declared_twice(kind: str) -> None:
    one = endpoint() if kind == "endpoint" else {"name": "web"}
    (found,) = sentences({kind: [one, one]})
    assert "twice" in found


def test_groups_of_two_vpcs_may_have_one_name() -> None:
    declared = parse_declaration({"security_group": [{"name": "web"}, {"name": "web", "vpc": "lab"}]})
    assert [group.vpc for group in declared.security_group] == ["main", "lab"]


@pytest.mark.parametrize(
    "rule", [{}, {"cidr": "10.0.0.0/8", "group": "web"}, {"cidr": "10.0.0.0/8", "to_port": 5}, {"group": ""}]
)
def test_a_security_group_s_rule_has_one_other_side_and_whole_ports(rule: dict[str, Any]) -> None:
    (found,) = sentences({"security_group": [{"name": "web", "egress": [rule]}]})
    assert found.startswith("security_group[0].egress[0]")


@pytest.mark.parametrize("model", [Declaration, Endpoint, SecurityGroup])
def test_every_key_says_what_it_is_for(model: type[BaseModel]) -> None:
    assert all(field.description for field in model.model_fields.values())
