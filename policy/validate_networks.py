"""The networks that a host offers to whichever endpoint may come: how they fit together, and what the host has of them.

What an endpoint does with one is judged with the endpoint. So a network that the host does not have (yet) keeps nothing
else from running: it is a warning here, and an error there.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from policy.problems import Problem, Severity, error, repeats
from policy.spec import LOCAL
from policy.validate import check_target_on_host
from policy.validate_network import check_next_hop, is_overlap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policy.host_facts import HostFacts
    from policy.spec import GatewaySpec, TargetNetwork

__all__ = ["validate_networks"]


def validate_networks(
    networks: Sequence[TargetNetwork], spec: GatewaySpec, facts: HostFacts | None = None
) -> tuple[Problem, ...]:
    """All problems of what a host offers beside the endpoints of `spec`; without `facts` the host is not looked at."""
    return tuple(_problems(networks, spec, facts))


def _problems(networks: Sequence[TargetNetwork], spec: GatewaySpec, facts: HostFacts | None) -> Iterator[Problem]:
    repeated = repeats(network.name for network in networks)
    for index, network in enumerate(networks):
        path = f"network[{index}]"
        if index in repeated:
            yield error(f"{path}.name", f'Another network is called "{network.name}" too. Give each a name of its own.')
        if network.name == LOCAL:
            yield error(f"{path}.name", f'"{LOCAL}" stands for the clients themselves. Choose another name.')
        if network.cidr.prefixlen == 0:
            yield error(f"{path}.cidr", f"{network.cidr} is everything. Name the network that the interface leads to.")
        yield from check_next_hop(f"{path}.next_hop", network)
        yield from _check_ranges(path, network, spec)
        if facts is not None:
            for problem in check_target_on_host(path, network, facts):
                yield replace(problem, severity=Severity.WARNING)
    for (_, first), (index, second) in combinations(enumerate(networks), 2):
        if first.cidr.overlaps(second.cidr):
            yield error(
                f"network[{index}].cidr",
                f'{second.cidr} overlaps {first.cidr} of the network "{first.name}". Declare each address once.',
            )


def _check_ranges(path: str, network: TargetNetwork, spec: GatewaySpec) -> Iterator[Problem]:
    for endpoint in spec.endpoints:
        if is_overlap(network.cidr, endpoint.client_cidr_block):
            yield error(
                f"{path}.cidr",
                f"{network.cidr} overlaps {endpoint.client_cidr_block}, the client range of the endpoint "
                f'"{endpoint.name}". Choose ranges that do not meet.',
            )
