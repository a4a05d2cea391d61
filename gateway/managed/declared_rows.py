"""Rows for what configuration files declare: an endpoint of a file, in the words of the API.

Pure: specs in, rows without secrets out. What has no word there and is in no profile (keepalive, …) is left out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.config.endpoint_options import EndpointOptions
from gateway.object_ids import endpoint_id, subnet_id, vpc_id
from policy import LOCAL, ControlChannelProtection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config import Network
    from policy import EndpointSpec, LogDestination, TargetNetwork

__all__ = ["DeclaredEndpoint", "EndpointRows", "endpoint_rows", "network_rows"]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeclaredEndpoint:
    """An endpoint of the configuration file, and how it fares."""

    spec: EndpointSpec
    problem: str = ""
    """Why it does not run; empty while it does."""
    network_problems: tuple[tuple[str, str], ...] = ()
    """What is wrong with target networks, by their names."""

    @property
    def id(self) -> str:
        """Its id in the API."""
        return endpoint_id(self.spec.name)

    def full_name(self, target: str) -> str:
        """What one of its target networks is called among all networks."""
        return f"{self.spec.name}/{target}"

    def subnet_id(self, target: str) -> str:
        """The id of one of its target networks."""
        return subnet_id(self.full_name(target))


@dataclass(frozen=True, slots=True)
class EndpointRows:
    """An endpoint of the file as rows."""

    endpoint: Row
    associations: list[Row] = field(default_factory=list)
    routes: list[Row] = field(default_factory=list)
    rules: list[Row] = field(default_factory=list)
    crls: list[Row] = field(default_factory=list)


def network_rows(node: str, networks: tuple[Network, ...], endpoints: tuple[DeclaredEndpoint, ...]) -> Iterator[Row]:
    """What this host offers to all endpoints, and the target networks that only one endpoint of the file knows."""
    for network in networks:
        yield {
            "subnet_id": network.subnet_id,
            "vpc_id": network.vpc_id,
            "vpc_name": network.vpc,
            "name": network.name,
            "cidr": str(network.cidr),
            "interface": network.interface,
            "next_hop": str(network.next_hop) if network.next_hop else None,
            "zone": network.zone,
            "nat": network.nat,
            "node": node,
            "file_endpoint_id": None,
        }
    for endpoint in endpoints:
        for target in endpoint.spec.target_networks:
            yield _target_row(node, endpoint, target)


def _target_row(node: str, endpoint: DeclaredEndpoint, target: TargetNetwork) -> Row:
    name = endpoint.full_name(target.name)
    return {
        "subnet_id": endpoint.subnet_id(target.name),
        "vpc_id": _vpc_id(endpoint),
        "vpc_name": _vpc_name(endpoint),
        "name": name,
        "cidr": str(target.cidr),
        "interface": target.interface,
        "next_hop": str(target.gateway) if target.gateway else None,
        "zone": name,
        "nat": target.nat,
        "node": node,
        "file_endpoint_id": endpoint.id,
    }


def endpoint_rows(
    endpoint: DeclaredEndpoint,
    place: str,
    arns: Mapping[bytes, str],
    associations: Mapping[str, str],
    now: float,
) -> EndpointRows:
    """An endpoint with everything that is its own.

    `place` is where it is declared, `arns` are those of certificate chains, `associations` the ids of those with target
    networks, by their names.
    """
    spec, problems = endpoint.spec, dict(endpoint.network_problems)
    crl = spec.authentication.certificate_revocation_list
    return EndpointRows(
        endpoint=_endpoint_row(endpoint, place, arns, now),
        associations=[
            _association_row(endpoint, target, associations[target.name], problems, now)
            for target in spec.target_networks
        ],
        routes=list(_route_rows(endpoint, associations, problems, now)),
        rules=list(_rule_rows(endpoint, now)),
        crls=[{"endpoint_id": endpoint.id, "pem": crl.decode(), "status_code": "active", "imported_at": now}]
        if crl
        else [],
    )


def _endpoint_row(endpoint: DeclaredEndpoint, place: str, arns: Mapping[bytes, str], now: float) -> Row:
    spec = endpoint.spec
    root = arns[spec.authentication.client_root_certificate_chain]
    return {
        "id": endpoint.id,
        "origin": "file",
        "name": spec.name,
        "declared_in": place,
        "description": spec.description,
        "status_code": "pending-associate" if endpoint.problem else "available",
        "status_message": endpoint.problem,
        "created_at": now,
        "ended_at": None,
        "client_cidr_block": str(spec.client_cidr_block),
        "server_certificate_arn": arns[spec.server_certificate.certificate_chain],
        "authentication_options": [
            {"Type": "certificate-authentication", "MutualAuthentication": {"ClientRootCertificateChainArn": root}}
        ],
        "transport_protocols": list(spec.transport_protocol),
        "vpn_port": spec.vpn_port,
        "dns_servers": [str(server) for server in spec.dns_servers],
        "split_tunnel": spec.split_tunnel,
        "session_timeout_hours": spec.session_timeout_hours,
        "disconnect_on_session_timeout": spec.disconnect_on_session_timeout,
        "vpc_id": _vpc_id(endpoint),
        "default_security_group_ids": [],
        "connection_log_options": _log_options(spec.connection_log),
        "client_connect_options": {"Enabled": False},
        "client_login_banner_options": {"Enabled": bool(spec.login_banner)}
        | ({"BannerText": spec.login_banner} if spec.login_banner else {}),
        "client_route_enforcement_options": {"Enforced": spec.client_route_enforcement},
        "self_service_portal": False,
        "endpoint_ip_address_type": "ipv4",
        "traffic_ip_address_type": "ipv4",
        "settings": _settings(spec),
        "control_channel_keys": None,
    }


def _settings(spec: EndpointSpec) -> dict[str, Any]:
    """What exported profiles follow from, and where it listens; a key that all clients share can be in a profile."""
    shared = (ControlChannelProtection.TLS_CRYPT, ControlChannelProtection.NONE)
    protection = next((one for one in shared if one in spec.control_channel.accept), None)
    options = EndpointOptions.model_validate(
        {
            "listen": str(spec.listen),
            "public_hostname": spec.public_hostname,
            "control_channel": protection.value if protection else None,
            "tls_version_min": spec.tls_version_min,
            "data_channel": asdict(spec.data_channel),
        }
    )
    return options.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


def _log_options(destination: LogDestination | None) -> dict[str, Any]:
    if destination is None:
        return {"Enabled": False}
    stream = {"CloudwatchLogStream": destination.stream} if destination.stream else {}
    return {"Enabled": True, "CloudwatchLogGroup": destination.group, **stream}


def _association_row(
    endpoint: DeclaredEndpoint, target: TargetNetwork, association_id: str, problems: Mapping[str, str], now: float
) -> Row:
    name = endpoint.full_name(target.name)
    problem = endpoint.problem or problems.get(target.name, "")
    return _its(endpoint, now) | {
        "id": association_id,
        "subnet_id": endpoint.subnet_id(target.name),
        "vpc_id": _vpc_id(endpoint),
        "zone": name,
        "status_code": "association-failed" if problem else "associated",
        "status_message": problem,
        "ended_at": None,
    }


def _rule_rows(endpoint: DeclaredEndpoint, now: float) -> Iterator[Row]:
    for rule in endpoint.spec.authorization_rules:
        yield _its(endpoint, now) | {
            "destination_cidr": str(rule.destination),
            "group_id": rule.group or "",
            "description": rule.description,
            "status_code": "active",
        }


def _route_rows(
    endpoint: DeclaredEndpoint, associations: Mapping[str, str], problems: Mapping[str, str], now: float
) -> Iterator[Row]:
    for route in endpoint.spec.routes:
        is_local = route.target == LOCAL
        problem = endpoint.problem or problems.get(route.target, "")
        yield _its(endpoint, now) | {
            "destination_cidr": str(route.destination),
            "subnet_id": LOCAL if is_local else endpoint.subnet_id(route.target),
            "association_id": None if is_local else associations[route.target],
            "origin": "add-route",
            "description": route.description,
            "status_code": "failed" if problem else "active",
            "status_message": problem,
        }


def _its(endpoint: DeclaredEndpoint, now: float) -> Row:
    return {"endpoint_id": endpoint.id, "created_at": now}


def _vpc_name(endpoint: DeclaredEndpoint) -> str:
    """A VPC of its own: nobody else may have these networks."""
    return f"{endpoint.spec.name}/"


def _vpc_id(endpoint: DeclaredEndpoint) -> str:
    return vpc_id(_vpc_name(endpoint))
