"""What a deployment decides about its API: plain values, from the configuration file."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from policy import DEFAULT_LOG_GROUP

__all__ = ["EndpointDefaults", "Quotas", "ServiceSettings"]


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many there may be; AWS's numbers, and 0 for no limit."""

    endpoints: int = 5
    authorization_rules_per_endpoint: int = 200
    routes_per_association: int = 100
    crl_entries: int = 20_000
    security_groups_per_association: int = 5
    security_groups: int = 2500
    rules_per_security_group: int = 60
    sessions_per_terminated_user: int = 0
    """AWS has 5; here a user's sessions end together."""
    tags_per_resource: int = 50


@dataclass(frozen=True, slots=True)
class EndpointDefaults:
    """The `[endpoint_defaults]` section: what endpoints made at run time get where the API has no word for it."""

    listen: IPv4Address | IPv6Address = IPv4Address("0.0.0.0")  # noqa: S104 - a gateway is there to be reached
    public_hostname: str = ""
    """What exported profiles connect to."""
    control_channel: Literal["tls-crypt", "none"] = "tls-crypt"
    """How their control packets are protected before TLS begins; exported profiles say the same."""
    groups_from: str | None = None
    sessions_per_client: int = 0


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Names that ARNs and replies carry, and quotas."""

    region: str = "on-premises-1"
    """In the form of AWS's: Terraform refuses ARNs with another."""
    account_id: str = "000000000000"
    dns_suffix: str = ""
    """The domain under which clients find endpoints, as `vpn.example.com`: an endpoint's `dnsName`. Where there is
    none, the `public_hostname` of endpoints stands there."""
    endpoint_defaults: EndpointDefaults = field(default_factory=EndpointDefaults)
    quotas: Quotas = field(default_factory=Quotas)
    log_groups: tuple[str, ...] = (DEFAULT_LOG_GROUP,)
    """Where the records of connections can go."""
