from __future__ import annotations

import re
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from gateway.actions import ServiceSettings
from gateway.config import check_config, load_config
from gateway.config.models_service import Api
from gateway.object_ids import subnet_id, vpc_id
from policy import HostFacts, TargetNetwork
from tests.unit.gateway.config_files import write_config


def sentences(home: Path, section: str, **values: Any) -> list[str]:
    """What is said of a file where a section has other values."""
    path = write_config(home, lambda config: config[section].update(values))
    return [str(problem) for problem in check_config(path)]


def with_networks(home: Path, *networks: dict[str, Any]) -> Path:
    return write_config(home, lambda config: config.update(network=list(networks)))


OFFICE = {"name": "office", "cidr": "10.20.0.0/24", "interface": "eth1"}
LAB = {"name": "lab", "cidr": "10.30.0.0/24", "interface": "eth1", "zone": "office", "vpc": "research"}


def test_the_store_is_a_file_in_the_state_directory_by_default(home: Path) -> None:
    store = load_config(write_config(home)).settings.store
    assert store.url == "sqlite:////var/lib/portway/portway.db"
    assert store.key_file == Path("/var/lib/portway/store.key")


def test_the_store_can_be_a_postgresql_whose_password_is_in_no_repr(home: Path) -> None:
    url = "postgresql://portway:secret@db.example.com/portway"
    settings = load_config(write_config(home, lambda config: config["store"].update(url=url))).settings
    assert settings.store.url == url
    assert "secret" not in repr(settings)


def test_another_database_is_refused_without_repeating_the_url(home: Path) -> None:
    (sentence,) = sentences(home, "store", url="mysql://portway:secret@db/portway")
    assert sentence.startswith("store.url: Must begin with")
    assert "secret" not in sentence


@pytest.mark.parametrize("listen", ["127.0.0.1:8443", "[::1]:1", "0.0.0.0:65535"])
def test_the_api_listens_on_addresses_with_ports(home: Path, listen: str) -> None:
    assert sentences(home, "api", listen=[listen]) == []


@pytest.mark.parametrize(
    "listen",
    ["8443", ":8443", "localhost:8443", "::1:8443", "[127.0.0.1]:8443", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:"],
)
def test_what_is_no_address_with_a_port_is_refused(home: Path, listen: str) -> None:
    (sentence,) = sentences(home, "api", listen=[listen])
    assert "must be an address and a port" in sentence.lower()


@pytest.mark.parametrize("key", ["certificate", "private_key"])
def test_certificate_and_key_of_the_api_go_together(home: Path, key: str) -> None:
    (sentence,) = sentences(home, "api", **{key: "pki/server.crt" if key == "certificate" else "pki/server.key"})
    assert sentence.startswith("api.certificate: Goes with private_key")


def test_the_api_s_certificate_is_looked_into(home: Path) -> None:
    assert sentences(home, "api", certificate="pki/server.crt", private_key="pki/server.key") == []
    (sentence,) = sentences(home, "api", certificate="pki/server.crt", private_key="pki/alice.key")
    assert "does not belong to the key in private_key" in sentence


def test_the_api_s_files_are_among_those_to_be_watched(home: Path) -> None:
    pair = {"certificate": "pki/server.crt", "private_key": "pki/server.key"}
    config = load_config(write_config(home, lambda config: config["api"].update(pair)))
    assert config.settings.api.certificate == home / "pki/server.crt"
    assert config.files.count(home / "pki/server.crt") == 2


@pytest.mark.parametrize(
    ("key", "value"), [("region", "EU"), ("region", ""), ("account_id", "12"), ("account_id", "x" * 12)]
)
def test_names_in_arns_have_their_form(home: Path, key: str, value: str) -> None:
    assert [sentence.partition(":")[0] for sentence in sentences(home, "api", **{key: value})] == [f"api.{key}"]


def test_the_region_has_the_form_that_terraform_wants_in_arns() -> None:
    assert re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}", Api().region)
    assert Api().region == ServiceSettings().region


@pytest.mark.parametrize(
    ("of_endpoints", "of_api", "in_file", "name"),
    [
        ("vpn.example.com", "api.example.com", ["main.example.com"], "vpn.example.com"),
        ("", "api.example.com", ["main.example.com"], "api.example.com"),
        ("", "", ["main.example.com"], "main.example.com"),
        ("", "", ["main.example.com", "main.example.com"], "main.example.com"),
        ("", "", ["main.example.com", "other.example.com"], ""),
        ("", "", ["main.example.com", ""], ""),
        ("", "", [], ""),
    ],
)
def test_exported_profiles_lead_where_the_file_says_that_clients_find_the_host(
    home: Path, of_endpoints: str, of_api: str, in_file: list[str], name: str
) -> None:
    def change(config: dict[str, Any]) -> None:
        config["api"]["public_hostname"] = of_api
        config["endpoint_defaults"]["public_hostname"] = of_endpoints
        config["endpoint"] = [
            config["endpoint"][0] | {"name": f"e{number}", "public_hostname": host}
            for number, host in enumerate(in_file)
        ]

    service = load_config(write_config(home, change)).settings.api.service
    assert service.endpoint_defaults.public_hostname == name


def test_networks_have_ids_that_follow_from_their_names(home: Path) -> None:
    office, lab = load_config(with_networks(home, OFFICE, LAB)).networks
    assert (office.subnet_id, office.vpc_id) == (subnet_id("office"), vpc_id("main"))
    assert (lab.subnet_id, lab.vpc_id) == (subnet_id("lab"), vpc_id("research"))
    assert office.target("it") == TargetNetwork("it", "eth1", IPv4Network("10.20.0.0/24"))


def test_a_network_is_a_zone_of_its_own_and_a_zone_may_have_several(home: Path) -> None:
    path = with_networks(home, OFFICE, LAB)
    assert [network.zone for network in load_config(path).networks] == ["office", "office"]
    assert check_config(path) == ()


def test_what_is_wrong_with_networks_is_said_with_their_place(home: Path) -> None:
    problems = check_config(with_networks(home, OFFICE, LAB | {"cidr": "10.80.1.0/24"}))
    assert [problem.key_path for problem in problems] == ["network[1].cidr"]
    assert 'the client range of the endpoint "main"' in str(problems[0])


def test_this_host_is_looked_at_for_networks_too(home: Path) -> None:
    path = with_networks(home, LAB)
    assert "network[0].interface" in [problem.key_path for problem in check_config(path, lambda _: HostFacts(()))]


def test_a_file_that_declares_neither_endpoints_nor_networks_is_refused(home: Path) -> None:
    (problem,) = check_config(write_config(home, lambda config: (config.pop("endpoint"), config.pop("network"))))
    assert problem.key_path == "endpoint"
    assert "no [[network]] either" in problem.text


def test_a_file_may_declare_no_endpoint(home: Path) -> None:
    path = write_config(home, lambda config: config.pop("endpoint"))
    assert check_config(path) == ()
    assert load_config(path).spec.endpoints == ()
