"""Which routes clients are told: what split tunnel pushes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from policy.spec import EndpointSpec

__all__ = ["blocks_local_networks", "pushed_routes", "redirects_gateway"]


def redirects_gateway(spec: EndpointSpec) -> bool:
    """Whether clients send everything into the tunnel: without split tunnel, or where a route leads everywhere."""
    return not spec.split_tunnel or any(route.destination.prefixlen == 0 for route in spec.routes)


def blocks_local_networks(spec: EndpointSpec) -> bool:
    """Whether clients have to leave their own local networks alone: only a full tunnel can ask that of them."""
    return spec.client_route_enforcement and redirects_gateway(spec)


def pushed_routes(spec: EndpointSpec) -> tuple[IPv4Network, ...]:
    """The routes to push besides `redirect-gateway`: every distinct destination, `local` ones included, in order.

    Without split tunnel there are none: the default route covers them all, as with AWS.
    """
    if not spec.split_tunnel:
        return ()
    return tuple(sorted({route.destination for route in spec.routes if route.destination.prefixlen}))
