from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest

from policy.problems import Severity
from policy.spec import LOCAL, GatewaySpec, TargetNetwork
from policy.validate_networks import validate_networks
from tests.unit.policy.specs import OFFICE, gateway, ip
from tests.unit.policy.test_validate import HOST

if TYPE_CHECKING:
    from policy.host_facts import HostFacts

LAB = TargetNetwork("lab", "eth2", IPv4Network("10.30.0.0/24"))
NOTHING = GatewaySpec(())


def said(
    *networks: TargetNetwork, spec: GatewaySpec = NOTHING, facts: HostFacts | None = None
) -> list[tuple[str, str]]:
    return [(problem.key_path, problem.text) for problem in validate_networks(networks, spec, facts)]


def test_networks_that_fit_together_have_no_problem() -> None:
    assert said() == []
    assert said(OFFICE, LAB, spec=gateway()) == []


def test_two_networks_may_not_share_a_name() -> None:
    ((key, text),) = said(LAB, replace(OFFICE, name="lab"))
    assert key == "network[1].name"
    assert 'Another network is called "lab" too.' in text


@pytest.mark.parametrize("cidr", ["10.30.0.0/24", "10.30.0.128/25", "10.0.0.0/8"])
def test_two_networks_may_not_overlap(cidr: str) -> None:
    ((key, text),) = said(LAB, TargetNetwork("other", "eth3", IPv4Network(cidr)))
    assert key == "network[1].cidr"
    assert f'{cidr} overlaps 10.30.0.0/24 of the network "lab".' in text


def test_a_network_may_not_reach_into_a_client_range() -> None:
    ((key, text),) = said(replace(LAB, cidr=IPv4Network("10.80.0.0/16")), spec=gateway())
    assert key == "network[0].cidr"
    assert '10.80.0.0/22, the client range of the endpoint "main"' in text


def test_a_network_is_neither_everything_nor_called_like_the_clients() -> None:
    assert [key for key, _ in said(TargetNetwork(LOCAL, "eth1", IPv4Network("0.0.0.0/0")))] == [
        "network[0].name",
        "network[0].cidr",
    ]


def test_a_next_hop_is_on_the_network() -> None:
    ((key, _),) = said(replace(LAB, gateway=ip("10.31.0.1")))
    assert key == "network[0].next_hop"


def test_what_this_host_does_not_have_is_a_warning() -> None:
    """Other endpoints go on without it; one that wants it cannot be applied."""
    (problem,) = validate_networks([LAB], NOTHING, HOST)
    assert problem.severity is Severity.WARNING
    assert (problem.key_path, problem.text.partition(".")[0]) == (
        "network[0].interface",
        'This host has no interface "eth2"',
    )
