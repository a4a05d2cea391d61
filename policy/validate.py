"""Everything that can be wrong with a spec and that can be known without running it.

The checks stand by what they look at: `policy.validate_settings` at the values of one endpoint,
`policy.validate_network` at how its networks fit together, and this module at endpoints beside each other and on
their host. What is inside certificates, keys and CRLs is for whoever reads those files.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import combinations
from typing import TYPE_CHECKING

from policy.problems import Problem, error, warning
from policy.spec import LOCAL
from policy.validate_network import check_network, is_overlap
from policy.validate_settings import check_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policy.host_facts import HostFacts
    from policy.spec import EndpointSpec, GatewaySpec, TargetNetwork

__all__ = ["check_target_on_host", "validate", "validate_endpoint"]


def validate(spec: GatewaySpec, facts: HostFacts | None = None) -> tuple[Problem, ...]:
    """All problems of a spec, endpoint by endpoint; without `facts` the host is not looked at.

    A spec may be applied when none of them is an error.
    """
    return tuple(_problems(spec, facts))


def validate_endpoint(
    endpoint: EndpointSpec, others: Sequence[EndpointSpec], facts: HostFacts | None = None
) -> tuple[Problem, ...]:
    """All problems of one endpoint beside others, which are not judged; it is `endpoint` in the key paths."""
    return tuple(_problems_beside("endpoint", endpoint, others, facts))


def _problems_beside(
    path: str, endpoint: EndpointSpec, others: Sequence[EndpointSpec], facts: HostFacts | None
) -> Iterator[Problem]:
    yield from check_settings(path, endpoint)
    yield from check_network(path, endpoint)
    if facts is not None:
        yield from _check_on_host(path, endpoint, facts)
    for other in others:
        yield from _check_beside(path, endpoint, other)
        yield from _check_paths_into(path, endpoint, other)
        for problem in _check_paths_into("", other, endpoint):
            yield error(f"{path}.client_cidr_block", f'The endpoint "{other.name}" leads into it: {problem.text}')


def _problems(spec: GatewaySpec, facts: HostFacts | None) -> Iterator[Problem]:
    for path, endpoint in _with_paths(spec):
        yield from check_settings(path, endpoint)
        yield from check_network(path, endpoint)
        if facts is not None:
            yield from _check_on_host(path, endpoint, facts)
    for (_, first), (path, second) in combinations(_with_paths(spec), 2):
        yield from _check_beside(path, second, first)
    for path, endpoint in _with_paths(spec):
        for other in spec.endpoints:
            if other is not endpoint:
                yield from _check_paths_into(path, endpoint, other)


def _with_paths(spec: GatewaySpec) -> Iterator[tuple[str, EndpointSpec]]:
    for index, endpoint in enumerate(spec.endpoints):
        yield f"endpoint[{index}]", endpoint


def _check_beside(path: str, endpoint: EndpointSpec, earlier: EndpointSpec) -> Iterator[Problem]:
    """Two endpoints of one daemon, told of the later one."""
    if endpoint.name == earlier.name:
        yield error(f"{path}.name", f'Another endpoint is called "{endpoint.name}" too. Give each a name of its own.')
    if is_overlap(endpoint.client_cidr_block, earlier.client_cidr_block):
        yield error(
            f"{path}.client_cidr_block",
            f'{endpoint.client_cidr_block} overlaps {earlier.client_cidr_block} of the endpoint "{earlier.name}". '
            "Give each endpoint a range of its own.",
        )
    shared = [protocol for protocol in endpoint.transport_protocol if protocol in earlier.transport_protocol]
    if shared and endpoint.vpn_port == earlier.vpn_port and _listen_overlap(endpoint, earlier):
        yield error(
            f"{path}.vpn_port",
            f'The endpoint "{earlier.name}" listens on {" and ".join(shared)} port {earlier.vpn_port} too. '
            "Change the port, the address or the transport of one of them.",
        )


def _listen_overlap(endpoint: EndpointSpec, other: EndpointSpec) -> bool:
    """Whether two sockets would want the same address; `::` takes IPv4 as well, as Linux does by default."""
    one, two = endpoint.listen, other.listen
    if one.version == two.version:
        return one == two or one.is_unspecified or two.is_unspecified
    return (one if one.version == 6 else two).is_unspecified


def _check_paths_into(path: str, endpoint: EndpointSpec, other: EndpointSpec) -> Iterator[Problem]:
    """Ways out of one endpoint that would lead into the client range of another."""
    advice = f'the client range of the endpoint "{other.name}". Choose ranges that do not meet.'
    for index, target in enumerate(endpoint.target_networks):
        if is_overlap(target.cidr, other.client_cidr_block):
            key = f"{path}.target_network[{index}].cidr"
            yield error(key, f"{target.cidr} overlaps {other.client_cidr_block}, {advice}")
    for index, route in enumerate(endpoint.routes):
        if route.target != LOCAL and is_overlap(route.destination, other.client_cidr_block):
            key = f"{path}.route[{index}].destination"
            yield error(key, f"{route.destination} overlaps {other.client_cidr_block}, {advice}")


def _check_on_host(path: str, endpoint: EndpointSpec, facts: HostFacts) -> Iterator[Problem]:
    yield from _check_range_on_host(path, endpoint.client_cidr_block, facts)
    own = {address.ip for interface in facts.interfaces for address in interface.addresses}
    if not (endpoint.listen.is_unspecified or endpoint.listen.is_loopback or endpoint.listen in own):
        yield error(
            f"{path}.listen",
            f'This host does not have the address {endpoint.listen}. Listen on one that it has, or on "0.0.0.0".',
        )
    for index, target in enumerate(endpoint.target_networks):
        yield from check_target_on_host(f"{path}.target_network[{index}]", target, facts)


def _check_range_on_host(path: str, client_range: IPv4Network, facts: HostFacts) -> Iterator[Problem]:
    for interface in facts.foreign:
        for address in interface.addresses:
            if isinstance(address.network, IPv4Network) and client_range.overlaps(address.network):
                yield error(
                    f"{path}.client_cidr_block",
                    f"{client_range} overlaps {address}, which this host has on {interface.name}. "
                    "Choose a range that the host's networks do not use.",
                )


def check_target_on_host(path: str, target: TargetNetwork, facts: HostFacts) -> Iterator[Problem]:
    """What a host lacks of a target network; `path` is the network's own key path."""
    interface = facts.interface(target.interface)
    if interface is None:
        foreign = ", ".join(sorted(known.name for known in facts.foreign)) or "none"
        yield error(
            f"{path}.interface", f'This host has no interface "{target.interface}". Its interfaces are: {foreign}.'
        )
        return
    if interface.is_own:
        yield error(
            f"{path}.interface",
            f'"{target.interface}" is a tunnel device of this gateway. Name the interface that leads to the target.',
        )
    addresses = [address.ip for address in interface.addresses]
    if target.gateway in addresses:
        yield error(
            f"{path}.gateway",
            f"{target.gateway} is this host's own address. Name the router that leads on from {target.cidr}.",
        )
    if not any(address in target.cidr for address in addresses):
        yield warning(
            f"{path}.interface",
            f"{target.interface} has no address in {target.cidr}, so its hosts may be out of reach. "
            "Give the interface one, or correct the cidr.",
        )
