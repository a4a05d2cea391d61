from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from policy.routes import blocks_local_networks, pushed_routes, redirects_gateway
from policy.spec import LOCAL
from tests.unit.policy.specs import endpoint, route

ROUTES = (
    route("10.30.0.0/24"),
    route("10.20.0.0/24"),
    route("10.20.0.0/24", "other"),
    route("10.80.0.0/22", LOCAL),
    route("10.20.0.0/16"),
)


def test_split_tunnel_pushes_every_distinct_destination_in_order() -> None:
    assert [str(network) for network in pushed_routes(endpoint(routes=ROUTES))] == [
        "10.20.0.0/16",
        "10.20.0.0/24",
        "10.30.0.0/24",
        "10.80.0.0/22",
    ]


def test_full_tunnel_pushes_the_default_route_alone() -> None:
    spec = endpoint(routes=ROUTES, split_tunnel=False)
    assert pushed_routes(spec) == ()
    assert redirects_gateway(spec)


@pytest.mark.parametrize("routes", [(), ROUTES])
def test_split_tunnel_leaves_the_default_route_alone(routes: tuple) -> None:  # type: ignore[type-arg]
    assert not redirects_gateway(endpoint(routes=routes))


def test_a_default_route_in_the_table_redirects_even_with_split_tunnel() -> None:
    spec = endpoint(routes=(route("0.0.0.0/0"), route("10.20.0.0/24")))
    assert redirects_gateway(spec)
    assert pushed_routes(spec) == (IPv4Network("10.20.0.0/24"),)


@pytest.mark.parametrize(
    ("split_tunnel", "enforced", "blocked"),
    [(False, True, True), (False, False, False), (True, True, False), (True, False, False)],
)
def test_only_a_full_tunnel_can_enforce_routes(split_tunnel: bool, enforced: bool, blocked: bool) -> None:
    spec = endpoint(split_tunnel=split_tunnel, client_route_enforcement=enforced)
    assert blocks_local_networks(spec) is blocked
