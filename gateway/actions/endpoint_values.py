"""What a caller says of an endpoint: checked member by member, and turned into columns of its row.

Owns AWS's meaning of each member, its default, and what of it there is here. Must not know other endpoints: how an
endpoint gets along with them is `endpoint_conflicts`' business.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, Any, Final

from gateway.actions.call import ActionError, Call
from gateway.actions.certificate_store import find_client_root, find_server_certificate
from gateway.actions.objects import canonical_cidr, description_of
from policy import MAX_BANNER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["CERTIFICATE_AUTHENTICATION", "read_changes", "read_given", "read_new"]

CERTIFICATE_AUTHENTICATION: Final = "certificate-authentication"

_MAX_LOG_NAME = 512

_DEFAULTS: Final[Mapping[str, Any]] = {
    "description": "",
    "transport_protocols": ["udp"],
    "vpn_port": 443,
    "dns_servers": [],
    "split_tunnel": False,
    "session_timeout_hours": 24.0,
    "disconnect_on_session_timeout": True,
    "vpc_id": None,
    "default_security_group_ids": [],
    "client_connect_options": {"Enabled": False},
    "client_login_banner_options": {"Enabled": False},
    "client_route_enforcement_options": {"Enforced": False},
    "self_service_portal": False,
    "endpoint_ip_address_type": "ipv4",
    "traffic_ip_address_type": "ipv4",
}
"""AWS's, but for the portal, which is off until somebody asks for it."""


def read_new(call: Call) -> dict[str, Any]:
    """The columns of a new endpoint, but for VPC and security groups. Raises `ActionError` for what cannot be."""
    if not call.parameters.get("ClientCidrBlock"):
        raise ActionError("MissingParameter", "ClientCidrBlock is missing: the range of the clients' addresses.")
    return {**_DEFAULTS, **read_given(call)}


def read_given(call: Call) -> dict[str, Any]:
    """The columns that members of a creation name, whichever there are. Raises `ActionError`."""
    return _read(call, _OF_NEW)


def read_changes(call: Call) -> dict[str, Any]:
    """The columns that a modification names, but for VPC and security groups. Raises `ActionError`."""
    return _read(call, _OF_CHANGES)


def _read(call: Call, members: Mapping[str, Callable[[Call, Any], dict[str, Any]]]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for member, read in members.items():
        if call.parameters.get(member) is not None:
            columns.update(read(call, call.parameters[member]))
    return columns


def _as(column: str) -> Callable[[Call, Any], dict[str, Any]]:
    """A member whose value is the column's."""
    return lambda _, value: {column: value}


def _description(call: Call, _value: str) -> dict[str, Any]:
    return {"description": description_of(call)}


def _client_range(_: Call, value: str) -> dict[str, Any]:
    return {"client_cidr_block": canonical_cidr(value)}


def _server_certificate(call: Call, value: str) -> dict[str, Any]:
    return {"server_certificate_arn": find_server_certificate(call, value, "ServerCertificateArn").arn}


def _authentication(call: Call, value: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Certificates only; that there may be one option of a type is AWS's rule."""
    types = [option.get("Type") for option in value]
    others = sorted({str(kind) for kind in types if kind != CERTIFICATE_AUTHENTICATION})
    if others:
        raise ActionError(
            "UnsupportedOperation",
            f"AuthenticationOptions: clients cannot log in by {others[0]} here. Use {CERTIFICATE_AUTHENTICATION}.",
        )
    if len(types) != 1:
        raise ActionError(
            "InvalidParameterValue",
            f"AuthenticationOptions: there has to be one option of the type {CERTIFICATE_AUTHENTICATION}, "
            f"and there are {len(types)}.",
        )
    arn = (value[0].get("MutualAuthentication") or {}).get("ClientRootCertificateChainArn")
    if not arn:
        raise ActionError(
            "MissingParameter",
            "ClientRootCertificateChainArn is missing: the authority that client certificates chain to.",
        )
    find_client_root(call, arn, "ClientRootCertificateChainArn")
    option = {"Type": CERTIFICATE_AUTHENTICATION, "MutualAuthentication": {"ClientRootCertificateChainArn": arn}}
    return {"authentication_options": [option]}


def _connection_log(call: Call, value: Mapping[str, Any]) -> dict[str, Any]:
    """A log group is one of the configuration file's; any stream will do, since records only name it."""
    if not value.get("Enabled"):
        return {"connection_log_options": {"Enabled": False}}
    group, known = value.get("CloudwatchLogGroup"), call.settings.log_groups
    if not group:
        raise ActionError("MissingParameter", "CloudwatchLogGroup is missing, and connection logging is enabled.")
    for member in ("CloudwatchLogGroup", "CloudwatchLogStream"):
        _check_length(member, value.get(member) or "", _MAX_LOG_NAME)
    if group not in known:
        raise ActionError(
            "InvalidParameterValue",
            f"CloudwatchLogGroup: there is no log group {group!r}. Use one of these: {', '.join(known)}. Others are "
            "declared as [[log_group]] in the configuration file.",
        )
    return {"connection_log_options": dict(value)}


def _dns_servers(_: Call, value: Sequence[str]) -> dict[str, Any]:
    return {"dns_servers": [_address(text) for text in value]}


def _changed_dns_servers(call: Call, value: Mapping[str, Any]) -> dict[str, Any]:
    """`Enabled` says whether there are any; where it is left out, the list does."""
    servers = value.get("CustomDnsServers") or []
    if not value.get("Enabled", bool(servers)):
        return {"dns_servers": []}
    if not servers:
        raise ActionError("MissingParameter", "CustomDnsServers is missing, and DnsServers are enabled.")
    return _dns_servers(call, servers)


def _address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        raise ActionError("InvalidParameterValue", f"DnsServers: {text!r} is no IPv4 address.") from None


def _transport(_: Call, value: str) -> dict[str, Any]:
    return {"transport_protocols": [value]}


def _portal(_: Call, value: str) -> dict[str, Any]:
    return {"self_service_portal": value == "enabled"}


def _session_hours(_: Call, value: int) -> dict[str, Any]:
    return {"session_timeout_hours": float(value)}


def _connect_handler(_: Call, value: Mapping[str, Any]) -> dict[str, Any]:
    if value.get("Enabled"):
        raise ActionError(
            "UnsupportedOperation", "ClientConnectOptions: no function can be asked about connections. Disable it."
        )
    return {"client_connect_options": {"Enabled": False}}


def _banner(_: Call, value: Mapping[str, Any]) -> dict[str, Any]:
    if not value.get("Enabled"):
        return {"client_login_banner_options": {"Enabled": False}}
    text = value.get("BannerText") or ""
    if not text:
        raise ActionError("MissingParameter", "BannerText is missing, and the login banner is enabled.")
    _check_length("BannerText", text, MAX_BANNER)
    return {"client_login_banner_options": {"Enabled": True, "BannerText": text}}


def _route_enforcement(_: Call, value: Mapping[str, Any]) -> dict[str, Any]:
    return {"client_route_enforcement_options": {"Enforced": bool(value.get("Enforced"))}}


def _address_type(member: str, column: str) -> Callable[[Call, Any], dict[str, Any]]:
    def read(_: Call, value: str) -> dict[str, Any]:
        if value != "ipv4":
            raise ActionError("UnsupportedOperation", f"{member}: there is no {value} here. Use ipv4.")
        return {column: value}

    return read


def _transit_gateway(_: Call, _value: object) -> dict[str, Any]:
    raise ActionError(
        "UnsupportedOperation",
        "TransitGatewayConfiguration: there are no Transit Gateways here. Associate subnets; a [[network]] with "
        "nat = false shows targets the clients' own addresses.",
    )


def _device_posture(_: Call, value: Mapping[str, Any]) -> dict[str, Any]:
    if value.get("Enabled") or value.get("TrustProviders"):
        raise ActionError(
            "UnsupportedOperation", "DevicePostureOptions: no trust provider can vouch for devices here. Disable it."
        )
    return {}


def _check_length(member: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise ActionError("InvalidParameterValue", f"{member} has {len(text)} characters; it can have {limit}.")


_OF_BOTH: Final[Mapping[str, Callable[[Call, Any], dict[str, Any]]]] = {
    "ServerCertificateArn": _server_certificate,
    "ConnectionLogOptions": _connection_log,
    "VpnPort": _as("vpn_port"),
    "Description": _description,
    "SplitTunnel": _as("split_tunnel"),
    "SelfServicePortal": _portal,
    "ClientConnectOptions": _connect_handler,
    "SessionTimeoutHours": _session_hours,
    "ClientLoginBannerOptions": _banner,
    "ClientRouteEnforcementOptions": _route_enforcement,
    "DisconnectOnSessionTimeout": _as("disconnect_on_session_timeout"),
    "TransitGatewayConfiguration": _transit_gateway,
    "DevicePostureOptions": _device_posture,
}
_OF_NEW: Final[Mapping[str, Callable[[Call, Any], dict[str, Any]]]] = {
    **_OF_BOTH,
    "ClientCidrBlock": _client_range,
    "AuthenticationOptions": _authentication,
    "DnsServers": _dns_servers,
    "TransportProtocol": _transport,
    "EndpointIpAddressType": _address_type("EndpointIpAddressType", "endpoint_ip_address_type"),
    "TrafficIpAddressType": _address_type("TrafficIpAddressType", "traffic_ip_address_type"),
}
_OF_CHANGES: Final[Mapping[str, Callable[[Call, Any], dict[str, Any]]]] = {
    **_OF_BOTH,
    "DnsServers": _changed_dns_servers,
}
